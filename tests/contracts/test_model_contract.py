"""What every model kind promises (`seams.ModelKind`): a new file in `models` is tested too."""

from __future__ import annotations

import dataclasses
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.dataset import Bars, lay_out
from cryptocast.errors import ConfigError
from cryptocast.models._quantiles import MIN_STEP
from cryptocast.seams import Params, TrainingRun
from cryptocast.values import Epoch, Fitted, Windows
from support.synthetic import BAR, LEVELS, MARKET, START, bars, candles, windows

KINDS = models.kinds()
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


class FakeTrial:
    """Answers each question at the same share of the way from low to high."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.asked: list[str] = []

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert low < high
        self.asked.append(name)
        return float(low * (high / low) ** self.share if log else low + self.share * (high - low))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        assert low < high
        self.asked.append(name)
        return low + round(self.share * (high - low) / step) * step


def test_there_are_the_kinds_that_settings_name() -> None:
    assert {"lstm", *BASELINES} <= set(KINDS)
    assert {"ar1", "constant", "garch", "har", "random_walk", "seasonal"} <= set(BASELINES)


@every_kind
def test_a_kind_is_named_after_its_file(kind: str) -> None:
    assert models.get(kind).kind == kind
    assert fitted(kind).kind == kind


@every_kind
def test_the_graph_runs_in_the_forecaster_and_answers_every_window(kind: str) -> None:
    forecaster = Forecaster(fitted(kind).onnx)
    unseen = material()[2]
    found = forecaster(unseen.inputs)
    assert found.shape == (len(unseen), HORIZON, len(LEVELS))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(forecaster(unseen.inputs[7:8])[0], found[7], atol=1e-6)
    assert forecaster(unseen.inputs[:0]).shape == (0, HORIZON, len(LEVELS))


@every_kind
def test_quantiles_rise_strictly_in_the_level(kind: str) -> None:
    random_state = np.random.default_rng(1)
    wild = random_state.uniform(-8, 8, size=(500, *material()[0].inputs.shape[1:]))
    forecaster = Forecaster(fitted(kind).onnx)
    for inputs in (material()[2].inputs, wild):
        # Stretched by as much as a model may, they are a good part of the least step apart.
        assert (np.diff(forecaster(inputs), axis=-1) >= MIN_STEP / 2).all()


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
def test_the_same_data_and_seed_give_the_same_bytes(kind: str) -> None:
    torch.manual_seed(12345)
    np.random.seed(12345)
    random.seed(12345)
    again = fit(kind)
    assert again.onnx == fitted(kind).onnx
    assert [e.validation_loss for e in again.history] == [
        e.validation_loss for e in fitted(kind).history
    ]


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


@every_kind
def test_targets_that_never_came_are_tolerated(kind: str) -> None:
    train, validation, unseen = material(tuple(range(30, 410, 9)))
    assert np.isnan(train.targets).any()
    found = Forecaster(fit(kind, train=train, validation=validation).onnx)(unseen.inputs)
    assert np.isfinite(found).all()


@every_kind
def test_a_step_that_was_never_seen_is_forecast_all_the_same(kind: str) -> None:
    train, validation, unseen = material()
    train, validation = (
        dataclasses.replace(w, targets=np.where(np.arange(HORIZON) == 3, np.nan, w.targets))
        for w in (train, validation)
    )
    found = Forecaster(fit(kind, train=train, validation=validation).onnx)(unseen.inputs)
    assert np.isfinite(found).all()


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
def test_the_defaults_are_accepted_and_kept(kind: str) -> None:
    defaults = models.get(kind).defaults()
    assert dict(fit(kind, params=defaults).params) == dict(defaults)


@every_kind
def test_a_parameter_that_it_does_not_have_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(kind, params=quick(kind, no_such=1))
    assert caught.value.code == "config.params"
    assert caught.value.message == f"the {kind} has no parameter 'no_such'"


@every_kind
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_every_corner_of_the_search_space_is_accepted(kind: str, share: float) -> None:
    trial = FakeTrial(share)
    suggested = models.get(kind).suggest(trial)
    assert set(trial.asked) <= set(suggested)
    assert len(trial.asked) == len(set(trial.asked))
    params = {**suggested, **({"epochs": 1} if "epochs" in suggested else {})}
    assert dict(fit(kind, params=params).params) == params


@every_kind
def test_the_search_can_start_at_the_defaults(kind: str) -> None:
    trial = FakeTrial(0.5)
    models.get(kind).suggest(trial)
    assert set(trial.asked) <= set(models.get(kind).defaults())


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
