"""What every model kind promises (`seams.ModelKind`): a new file in `models` is tested too."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryptocast import models, plugins
from cryptocast.bundles import Forecaster
from cryptocast.dataset import Bars, lay_out
from cryptocast.errors import ConfigError
from cryptocast.models._quantiles import MIN_STEP
from cryptocast.seams import Params, TrainingRun
from cryptocast.testing import check_model
from cryptocast.values import Epoch, Fitted, Windows
from support.synthetic import BAR, LEVELS, MARKET, START, bars, candles, windows

KINDS = plugins.built_in(plugins.MODELS)
BASELINES = models.baseline_kinds()
LOOKBACK, HORIZON = 16, 6
TRAINED, VALIDATED, N = 340, 420, 480

every_kind = pytest.mark.parametrize("kind", KINDS)
every_baseline = pytest.mark.parametrize("kind", BASELINES)


@cache
def material(gaps: tuple[int, ...] = ()) -> tuple[Windows, Windows, Windows]:
    laid = bars(N, 11, gaps)
    return (
        windows(laid, LOOKBACK, TRAINED),
        windows(laid, TRAINED, VALIDATED),
        windows(laid, VALIDATED, N),
    )


def quick(kind: str, **more: float | int | str) -> Params:
    """The defaults, with few epochs where there are any."""
    defaults = models.get(kind).defaults()
    return {**defaults, **({"epochs": 3} if "epochs" in defaults else {}), **more}


def fit(kind: str, seed: int = 3, params: Params | None = None, **more: Any) -> Fitted:
    train, validation, _ = material()
    return models.get(kind).fit(
        more.pop("train", train),
        more.pop("validation", validation),
        levels=more.pop("levels", LEVELS),
        params=quick(kind) if params is None else params,
        run=TrainingRun(seed, **more),
    )


@cache
def fitted(kind: str) -> Fitted:
    return fit(kind)


def test_there_are_the_kinds_that_settings_name() -> None:
    assert {"lstm", *BASELINES} <= set(KINDS)
    assert {"ar1", "constant", "garch", "har", "random_walk", "seasonal"} <= set(BASELINES)


@every_kind
def test_a_kind_keeps_what_packages_must_promise_too(kind: str) -> None:
    check_model(models.get(kind), quick(kind))


@every_kind
def test_a_kind_is_named_after_its_file(kind: str) -> None:
    assert models.get(kind).kind == kind
    assert fitted(kind).kind == kind


@every_kind
@pytest.mark.parametrize("levels", [(0.25, 0.5, 0.75), tuple(k / 100 for k in range(1, 100))])
def test_any_levels_that_settings_allow_will_do(kind: str, levels: tuple[float, ...]) -> None:
    found = Forecaster(fit(kind, levels=levels).onnx)(material()[2].inputs)
    assert found.shape[2] == len(levels)
    assert (np.diff(found, axis=-1) > 0).all()


@every_kind
def test_one_step_is_a_horizon_too(kind: str) -> None:
    laid = bars(N, 11)
    train, validation, unseen = (
        windows(laid, a, b, horizon=1)
        for a, b in ((LOOKBACK, TRAINED), (TRAINED, VALIDATED), (VALIDATED, N))
    )
    found = Forecaster(fit(kind, train=train, validation=validation).onnx)(unseen.inputs)
    assert found.shape == (len(unseen), 1, len(LEVELS))


@every_kind
def test_a_training_leaves_the_random_numbers_of_others_alone(kind: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(kind)
    assert torch.equal(torch.rand(3), expected)


@every_kind
def test_nothing_after_the_parts_it_learns_from_changes_a_byte(kind: str) -> None:
    whole = candles(N, 11)
    later = whole.open_time >= START + VALIDATED * BAR
    factor = np.where(later, np.linspace(1, 3, N), 1.0)
    other = dataclasses.replace(
        whole,
        open=whole.open * factor,
        high=whole.high * factor,
        low=whole.low * factor,
        close=whole.close * factor,
        volume=whole.volume * factor,
    )
    laid = lay_out(other, MARKET, START, START + N * BAR)
    found = fit(
        kind,
        train=windows(laid, LOOKBACK, TRAINED),
        validation=windows(laid, TRAINED, VALIDATED),
    )
    assert found.onnx == fitted(kind).onnx


def spoilt(how: str) -> Bars:
    """Candles of a market where something went wrong, laid on the grid."""
    whole, at = candles(N, 11), np.arange(N)
    flat, fallen = np.full(N, 100.0), np.where(at >= 200, 0.6, 1.0)
    changes = {
        "constant prices": {"open": flat, "high": flat, "low": flat, "close": flat},
        "prices that stop": {
            name: np.where(at >= 150, whole.close[150], getattr(whole, name))
            for name in ("open", "high", "low", "close")
        },
        "a crash of 40 %": {
            name: getattr(whole, name) * (fallen if name != "open" else np.where(at > 200, 0.6, 1))
            for name in ("open", "high", "low", "close")
        },
        "no volume": {"volume": np.full(N, np.nan)},
        "volume of zero": {"volume": np.zeros(N)},
    }
    found = dataclasses.replace(whole, **changes[how])
    return lay_out(found, MARKET, START, START + N * BAR)


@every_kind
@pytest.mark.parametrize(
    "how",
    ["constant prices", "prices that stop", "a crash of 40 %", "no volume", "volume of zero"],
)
def test_a_market_that_misbehaves_is_learned_from_all_the_same(kind: str, how: str) -> None:
    laid = spoilt(how)
    train, validation = windows(laid, LOOKBACK, TRAINED), windows(laid, TRAINED, VALIDATED)
    forecaster = Forecaster(fit(kind, train=train, validation=validation).onnx)
    for inputs in (train.inputs, windows(laid, VALIDATED, N).inputs, material()[2].inputs):
        assert (np.diff(forecaster(inputs), axis=-1) >= MIN_STEP / 2).all()


@every_baseline
@pytest.mark.parametrize("count", [0, 1, 2, 24, 60])
def test_a_baseline_learns_from_any_number_of_windows(kind: str, count: int) -> None:
    laid = bars(N, 11)
    train, none = windows(laid, 20, 20 + count), windows(laid, 0, 0)
    for before, held_out in ((train, none), (none, train)):
        forecaster = Forecaster(fit(kind, train=before, validation=held_out).onnx)
        assert (np.diff(forecaster(material()[2].inputs), axis=-1) >= MIN_STEP / 2).all()


@every_baseline
def test_a_baseline_learns_from_several_markets(kind: str) -> None:
    train, validation, unseen = material()
    other = [dataclasses.replace(w, market=w.market + 1) for w in material((7, 8, 9))[:2]]
    found = fit(
        kind,
        train=Windows.concatenate([train, other[0]]),
        validation=Windows.concatenate([validation, other[1]]),
    )
    assert np.isfinite(Forecaster(found.onnx)(unseen.inputs)).all()


@every_kind
def test_each_epoch_is_told_as_it_ends_and_kept_as_history(kind: str) -> None:
    told: list[tuple[Epoch, int]] = []
    found = fit(kind, on_epoch=lambda epoch, most: told.append((epoch, most)))
    assert tuple(epoch for epoch, _ in told) == found.history
    assert [epoch.number for epoch, _ in told] == list(range(1, len(told) + 1))
    for epoch, most in told:
        assert epoch.number <= most
        assert np.isfinite([epoch.train_loss, epoch.validation_loss]).all()
        assert epoch.windows_per_second > 0


@every_kind
def test_a_parameter_that_it_does_not_have_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(kind, params=quick(kind, no_such=1))
    assert caught.value.code == "config.params"
    assert caught.value.message == f"the {kind} has no parameter 'no_such'"


@every_kind
def test_enough_bars_are_enough(kind: str) -> None:
    least = models.get(kind).least_bars(LOOKBACK, HORIZON)
    train = windows(bars(N, 11), LOOKBACK, max(least, LOOKBACK + 1))
    found = Forecaster(fit(kind, train=train).onnx)(material()[2].inputs)
    assert np.isfinite(found).all()


@every_kind
def test_a_training_prints_nothing_and_leaves_no_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(kind, checkpoint=tmp_path / "short.npz")
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert list(tmp_path.iterdir()) == []


@every_kind
def test_a_training_can_be_interrupted(kind: str) -> None:
    def interrupt(epoch: Epoch, most: int) -> None:
        raise KeyboardInterrupt

    if fitted(kind).history:
        with pytest.raises(KeyboardInterrupt):
            fit(kind, on_epoch=interrupt)
