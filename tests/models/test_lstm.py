from __future__ import annotations

import errno
import gc
import signal
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.errors import ConfigError, ModelError
from cryptocast.evaluation import crps_bp
from cryptocast.models import _fitting, _lightning
from cryptocast.models._network import pinball
from cryptocast.models.lstm import Model
from cryptocast.seams import Params, TrainingRun
from cryptocast.values import FEATURES, Epoch, Fitted, FloatArray, Windows
from support.synthetic import LEVELS, bars, windows

LAID = bars(420, 2)
TRAIN, VALIDATION, UNSEEN = (windows(LAID, a, b) for a, b in ((16, 260), (260, 340), (340, 420)))


def fit(
    params: Params,
    train: Windows = TRAIN,
    validation: Windows = VALIDATION,
    on_epoch: Callable[[Epoch, int], None] | None = None,
    checkpoint: Path | None = None,
) -> Fitted:
    return Model().fit(
        train,
        validation,
        levels=LEVELS,
        params=params,
        run=TrainingRun(1, on_epoch, checkpoint),
    )


@pytest.mark.parametrize("params", [{"learning_rate": 0.0}, {"learning_rate": 1e-12}])
def test_it_starts_at_har(params: Params) -> None:
    found = Forecaster(fit({"epochs": 1, **params}).onnx)(UNSEEN.inputs)
    start = models.get("har").fit(TRAIN, VALIDATION, levels=LEVELS, params={}, run=TrainingRun(0))
    np.testing.assert_allclose(found, Forecaster(start.onnx)(UNSEEN.inputs), atol=1e-4)


def test_the_median_stays_at_the_last_price() -> None:
    found = Forecaster(fit({"epochs": 2}).onnx)(UNSEEN.inputs)
    assert (found[..., 9] == 0).all()


def test_pure_noise_gives_back_the_random_walk() -> None:
    noise = bars(1_800, 4, clustering=False)
    train, validation, unseen = (
        windows(noise, a, b) for a, b in ((16, 700), (700, 900), (900, 1_800))
    )
    losses = [
        crps_bp(
            Forecaster(
                models.get(kind)
                .fit(train, validation, levels=LEVELS, params=params, run=TrainingRun(1))
                .onnx
            ).log_returns(unseen),
            unseen.targets,
            LEVELS,
        )
        for kind, params in (("lstm", {"epochs": 15}), ("random_walk", {}))
    ]
    ours, walk = (np.nanmean(loss) for loss in losses)
    assert ours == pytest.approx(walk, rel=0.01)


@cache
def told_world() -> tuple[list[Windows], np.ndarray]:
    """Volatility that the inputs tell and sigma does not: half the origins are twice as wide.

    What to learn from, to validate and to judge by; and which of the last are wide.
    """
    random = np.random.default_rng(1)
    told = random.integers(0, 2, 900)
    inputs = random.normal(size=(900, 16, len(FEATURES))) * 0.3
    inputs[:, -1, 0] = 2.0 * told - 1
    world = Windows(
        inputs=inputs,
        sigma=np.ones(900),
        log_close=np.zeros(900),
        origin=np.arange(900) * 300,
        targets=random.normal(size=(900, 6)) * np.where(told, 1.4, 0.7)[:, None],
        market=np.zeros(900, dtype=np.intp),
    )
    parts = [world.take(at) for at in (slice(0, 500), slice(500, 700), slice(700, 900))]
    return parts, told[700:] == 1


@pytest.mark.parametrize("kind", ["lstm", "gru", "tcn"])
def test_it_learns_what_can_be_learnt(kind: str) -> None:
    parts, loud = told_world()
    model = models.get(kind)
    params, run = {**model.defaults(), "epochs": 15}, TrainingRun(1)
    fitted = model.fit(parts[0], parts[1], levels=LEVELS, params=params, run=run)
    made = Forecaster(fitted.onnx)(parts[2].inputs)
    wide = made[:, 0, -1] - made[:, 0, 0]
    assert wide[loud].min() > wide[~loud].max()
    assert wide[loud].mean() > 1.3 * wide[~loud].mean()  # its bound allows exp(0.3): 1.35


def test_early_stopping_ends_a_training_without_progress() -> None:
    found = fit({"epochs": 9, "patience": 2, "learning_rate": 0.0})
    assert len(found.history) == 2


@pytest.mark.parametrize("params", [{"learning_rate": 1e38}, {"weight_decay": 1e38}])
def test_a_training_that_diverges_is_an_error_that_says_where(params: Params) -> None:
    with pytest.raises(ModelError) as caught:
        fit({"epochs": 4, **params})
    assert (caught.value.code, caught.value.exit_code) == ("model.diverged", 5)
    assert caught.value.message.startswith("the training diverged in epoch ")
    assert caught.value.hint == "lower learning_rate, or `cryptocast train --params default`"


@pytest.mark.parametrize("kind", ["gru", "tcn"])
def test_an_impossible_parameter_is_told_with_the_kind(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"the {kind} has no parameter 'hiden'"):
        models.get(kind).fit(
            TRAIN, VALIDATION, levels=LEVELS, params={"hiden": 8}, run=TrainingRun(0)
        )


def test_without_a_window_there_is_nothing_to_learn() -> None:
    with pytest.raises(ModelError) as caught:
        fit({}, train=windows(LAID, 0, 0))
    assert (caught.value.code, caught.value.exit_code) == ("model.no_windows", 5)
    assert caught.value.message == "there is no whole window to learn from"


def test_without_a_validation_part_it_stays_har() -> None:
    nothing = windows(LAID, 0, 0)
    found = Forecaster(fit({"epochs": 2}, validation=nothing).onnx)(UNSEEN.inputs)
    start = models.get("har").fit(TRAIN, nothing, levels=LEVELS, params={}, run=TrainingRun(0))
    np.testing.assert_allclose(found, Forecaster(start.onnx)(UNSEEN.inputs), atol=1e-4)


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        fit({"hiden": 32})
    assert caught.value.code == "config.params"
    assert caught.value.message == "the lstm has no parameter 'hiden'"
    assert caught.value.hint == (
        "known: hidden, layers, dropout, bound, learning_rate, weight_decay, batch_size, epochs, "
        "patience, features, start_at"
    )


@pytest.mark.parametrize(
    ("name", "value", "shown", "default"),
    [
        ("hidden", 0, "0", "32"),
        ("hidden", 8.0, "8.0", "32"),
        ("layers", True, "True", "1"),
        ("layers", "2", "'2'", "1"),
        ("dropout", 1.0, "1.0", "0.2"),
        ("dropout", -0.1, "-0.1", "0.2"),
        ("bound", 0, "0", "0.15"),
        ("learning_rate", float("nan"), "nan", "0.01"),
        ("learning_rate", float("inf"), "inf", "0.01"),
        ("weight_decay", "much", "'much'", "3.0"),
        ("epochs", -1, "-1", "20"),
        ("patience", 0, "0", "5"),
        ("batch_size", 2.5, "2.5", "256"),
    ],
)
def test_an_impossible_parameter_is_refused(
    name: str, value: float | int | str, shown: str, default: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        fit({name: value})
    assert caught.value.code == "config.params"
    assert caught.value.message == f"the lstm cannot have {name} = {shown}"
    assert caught.value.hint == f"its default is {default}"


def test_parameters_that_are_not_given_are_the_defaults() -> None:
    assert dict(fit({"epochs": 1}).params) == {"epochs": 1}


def test_an_interruption_is_passed_on_and_the_next_one_is_heard_too() -> None:
    def interrupt(epoch: Epoch, most: int) -> None:
        signal.raise_signal(signal.SIGINT)

    outside = signal.getsignal(signal.SIGINT)  # ignored where a shell started us with &
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit({"epochs": 2}, on_epoch=interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outside)


def test_it_says_how_many_bars_it_takes() -> None:
    assert models.get("lstm").least_bars(64, 24) == 64 + 24 + 128


@given(st.integers(0, 2**32 - 1))
def test_the_loss_is_that_of_a_slow_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    quantiles = random.normal(size=(4, 3, 5))
    targets = random.normal(size=(4, 3))
    targets[random.random((4, 3)) < 0.3] = np.nan
    levels = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    losses = []
    for n in range(4):
        for h in range(3):
            if not np.isnan(targets[n, h]):
                error = targets[n, h] - quantiles[n, h]
                losses.append(
                    np.mean(
                        [2 * max(q * e, (q - 1) * e) for q, e in zip(levels, error, strict=True)]
                    )
                )
    found = float(pinball(*(torch.tensor(a) for a in (quantiles, targets, levels))))
    assert found == pytest.approx(np.mean(losses) if losses else 0.0)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("range, smell", "there is no feature 'smell'"),
        ("", "there is no feature ''"),
        (3, "the lstm cannot have features = 3"),
    ],
)
def test_a_feature_that_is_none_is_refused(features: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit({"epochs": 1, "features": features})
    assert (caught.value.message, caught.value.code) == (message, "config.params")


def test_a_training_keeps_nothing_of_what_it_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[weakref.ref[torch.Tensor]] = []
    rows = _fitting._rows

    def noted(*given: Any) -> Any:
        made = rows(*given)
        kept.append(weakref.ref(made[0]))
        return made

    monkeypatch.setattr(_fitting, "_rows", noted)
    gc.disable()  # a collection that happens to come would hide what is kept
    try:
        fit({"epochs": 1, "hidden": 8})
    finally:
        gc.enable()
    assert [reference() for reference in kept] == [None, None]


class Stopped(Exception):
    """What ends a training in these tests."""


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    monkeypatch.setattr(_lightning, "_SAVE_SECONDS", -1.0)
    params = {"epochs": 6, "patience": 6, "hidden": 8}
    whole = fit(params)
    file = tmp_path / "checkpoints" / "one.npz"
    seen: list[int] = []

    def stop(epoch: Epoch, most: int) -> None:
        seen.append(epoch.number)
        if epoch.number == stop_at + 1:
            raise Stopped

    with pytest.raises(Stopped):
        fit(params, on_epoch=stop, checkpoint=file)
    assert file.is_file()
    seen.clear()
    resumed = fit(params, on_epoch=lambda e, _: seen.append(e.number), checkpoint=file)
    assert seen == list(range(stop_at + 1, 7))
    assert resumed.onnx == whole.onnx
    losses = [(e.number, e.train_loss, e.validation_loss) for e in whole.history]
    assert [(e.number, e.train_loss, e.validation_loss) for e in resumed.history] == losses
    # It is the caller's, who may not have kept the model yet: once more costs no epoch.
    seen.clear()
    assert fit(params, on_epoch=lambda e, _: seen.append(e.number), checkpoint=file).onnx == (
        whole.onnx
    )
    assert seen == []


def test_a_disk_without_room_costs_the_way_back_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_lightning, "_SAVE_SECONDS", -1.0)
    monkeypatch.setattr(np, "savez", full)
    params = {"epochs": 2, "hidden": 8}
    assert fit(params, checkpoint=tmp_path / "one.npz").onnx == fit(params).onnx
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "one.npz"
    file.write_bytes(b"half a file")
    params = {"epochs": 2, "hidden": 8}
    assert fit(params, checkpoint=file).onnx == fit(params).onnx


def test_a_short_training_leaves_no_file(tmp_path: Path) -> None:
    fit({"epochs": 2, "hidden": 8}, checkpoint=tmp_path / "one.npz")
    assert list(tmp_path.iterdir()) == []


# Starting at a base network, which knows other markets.


def from_base(**params: float | int | str) -> Fitted:
    return fit({"start_at": "5m", "hidden": 8, **params})


@cache
def base_answers() -> FloatArray:
    """[N, H, Q] what the base network itself says of the unseen windows."""
    made = models.get("base").fit(TRAIN, VALIDATION, levels=LEVELS, params={}, run=TrainingRun(0))
    return Forecaster(made.onnx)(UNSEEN.inputs)


@pytest.mark.parametrize("params", [{"learning_rate": 0.0}, {"learning_rate": 1e-12}])
def test_it_starts_at_the_base_network(params: Params) -> None:
    found = Forecaster(from_base(epochs=1, **params).onnx)(UNSEEN.inputs)
    np.testing.assert_allclose(found, base_answers(), atol=1e-5)


def test_without_a_validation_part_it_stays_the_base_network() -> None:
    """Nothing speaks for any of the correction: `shrink` cannot be told, the bound holds it."""
    found = Forecaster(fit({"start_at": "5m", "epochs": 2}, validation=windows(LAID, 0, 0)).onnx)(
        UNSEEN.inputs
    )
    np.testing.assert_allclose(found, base_answers(), atol=1e-4)


def test_what_validation_does_not_thank_for_is_taken_back_to_the_base_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_fitting, "_SHRINKS", (0.0,))
    found = Forecaster(from_base(epochs=3).onnx)(UNSEEN.inputs)
    np.testing.assert_allclose(found, base_answers(), atol=1e-5)


@pytest.mark.parametrize("bound", [0.15, 0.6])
def test_it_never_departs_from_the_base_network_by_more_than_a_quarter_of_the_bound(
    bound: float,
) -> None:
    (train, validation, unseen), loud = told_world()
    params: Params = {"start_at": "5m", "epochs": 6, "bound": bound, "hidden": 8}
    found = Forecaster(fit(params, train, validation).onnx)
    plain = models.get("base").fit(train, validation, levels=LEVELS, params={}, run=TrainingRun(0))
    start = Forecaster(plain.onnx)
    wild = np.random.default_rng(1).uniform(-8, 8, unseen.inputs.shape)
    for inputs in (unseen.inputs, wild):
        departed = np.log(found(inputs)[..., 0] / start(inputs)[..., 0])
        assert np.abs(departed).max() <= bound / 4 + 1e-4
        if inputs is unseen.inputs:  # what there is to gain, it takes
            assert departed[loud].mean() > bound / 20 > -bound / 20 > departed[~loud].mean()


def test_it_keeps_the_quantiles_of_the_base_network() -> None:
    """A week says little of the shape of what is left; the many markets said it."""
    (train, validation, unseen), _ = told_world()
    made = fit({"start_at": "5m", "epochs": 3}, train, validation)
    plain = models.get("base").fit(train, validation, levels=LEVELS, params={}, run=TrainingRun(0))
    answers = (Forecaster(fitted.onnx)(unseen.inputs) for fitted in (made, plain))
    shape, known = (q / q[..., -1:] for q in answers)
    np.testing.assert_allclose(shape, known, atol=1e-5)


def test_started_at_a_network_its_defaults_say_which() -> None:
    assert Model().defaults()["start_at"] == "har"
    started = Model().started_at("15m")
    assert started.kind == "lstm"
    assert started.defaults() == {**Model().defaults(), "start_at": "15m"}
    made = started.fit(
        TRAIN,
        VALIDATION,
        levels=LEVELS,
        params={"epochs": 1, "learning_rate": 0.0},
        run=TrainingRun(1),
    )
    plain = models.get("base").started_at("15m")
    known = plain.fit(TRAIN, VALIDATION, levels=LEVELS, params={}, run=TrainingRun(0))
    np.testing.assert_allclose(
        Forecaster(made.onnx)(UNSEEN.inputs), Forecaster(known.onnx)(UNSEEN.inputs), atol=1e-5
    )


@pytest.mark.parametrize("kind", ["ar1", "constant", "garch", "har", "random_walk", "seasonal"])
def test_a_baseline_starts_at_no_network(kind: str) -> None:
    model = models.get(kind)
    assert model.started_at("5m") is model


@pytest.mark.parametrize(
    ("name", "message", "code"),
    [
        (3, "the lstm cannot have start_at = 3", "config.params"),
        ("2m", "there is no base network '2m'", "config.base"),
    ],
)
def test_a_start_that_is_none_is_refused(name: Any, message: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit({"epochs": 1, "start_at": name})
    assert (caught.value.message, caught.value.code) == (message, code)
