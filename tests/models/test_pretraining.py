"""Training one network over many markets: what it learns, how it draws, how it goes on."""

from __future__ import annotations

import math
import time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from cryptocast.bundles import Forecaster
from cryptocast.config import PretrainSettings
from cryptocast.errors import ModelError
from cryptocast.models import _base, _lightning, _pretraining, _quantiles
from cryptocast.models._lightning import Rows
from cryptocast.models._pretraining import Perceptron, balanced, pretrain
from cryptocast.models.base import Series
from cryptocast.seams import TrainingRun
from cryptocast.values import FEATURES, Epoch, Fitted, FloatArray
from support.synthetic import LEVELS

LOOKBACK, HORIZON = 4, 6
TOLD = FEATURES.index("fast_volatility")
RECIPE = PretrainSettings(hidden=8, steps=150, batch_size=256)
SHORT = PretrainSettings(hidden=4, steps=300, batch_size=32)  # six epochs of small batches


@cache
def market(seed: int = 1, rows: int = 3_000, tells: float = 1.0) -> Series:
    """Targets whose log-volatility is `tells` times a feature of the newest bar."""
    random = np.random.default_rng(seed)
    newest = random.normal(size=(rows, len(FEATURES))) * 0.5
    scale = np.exp(tells * newest[:, TOLD])
    targets = random.standard_t(5, size=(rows, HORIZON)) * scale[:, None]
    targets[random.random((rows, HORIZON)) < 0.05] = np.nan
    return Series(newest.astype(np.float32), targets.astype(np.float32))


def run(*learned: Series, recipe: PretrainSettings = RECIPE, seed: int = 3, **more: Any) -> Fitted:
    return pretrain(
        learned or (market(),),
        recipe=recipe,
        levels=LEVELS,
        lookback=LOOKBACK,
        run=TrainingRun(seed, **more),
    )


@cache
def learned() -> Fitted:
    return run()


@cache
def short() -> Fitted:
    return run(recipe=SHORT)


def answers(graph: bytes, newest: FloatArray) -> FloatArray:
    inputs = np.zeros((len(newest), LOOKBACK, len(FEATURES)))
    inputs[:, -1] = newest
    return Forecaster(graph)(inputs)


def loss(quantiles: FloatArray, series: Series) -> float:
    """Mean CRPS of quantiles [N, H, Q] where the targets are known."""
    error = series.targets[..., None] - quantiles
    level = np.asarray(LEVELS)
    return float(np.nanmean(2 * np.maximum(level * error, (level - 1) * error)))


def test_it_learns_a_feature_that_volatility_follows() -> None:
    unseen = market(9)
    constant = _quantiles.symmetric(market().targets.astype(np.float64), LEVELS)[None]
    found = answers(learned().onnx, unseen.newest)
    truth = np.exp(unseen.newest[:, TOLD].astype(np.float64))[:, None, None]
    ideal = _quantiles.symmetric(unseen.targets / truth[..., 0], LEVELS) * truth
    gain = 1 - loss(found, unseen) / loss(constant, unseen)
    possible = 1 - loss(ideal, unseen) / loss(constant, unseen)
    assert gain > 0.7 * possible > 0.02


def test_what_it_learned_is_a_base_network_with_a_history() -> None:
    fitted = learned()
    assert (fitted.kind, dict(fitted.params)) == ("base", {})
    assert [epoch.number for epoch in fitted.history] == [1, 2, 3]
    base = _base.read(fitted.onnx)
    assert base.horizon == HORIZON
    np.testing.assert_allclose(base.levels, LEVELS)
    np.testing.assert_allclose(
        base.mean, _base.predictors(market().newest.astype(np.float64)).mean(axis=0), atol=1e-5
    )


def test_its_ranges_hold_what_they_say_where_it_learned() -> None:
    found = answers(learned().onnx, market().newest)
    targets = market().targets
    inside = (targets > found[..., 0]) & (targets < found[..., -1])
    assert inside[np.isfinite(targets)].mean() == pytest.approx(0.9, abs=0.01)


def test_noise_teaches_it_next_to_nothing() -> None:
    noise = market(5, tells=0.0)
    found = _base.read(run(noise).onnx).log_scale(noise.newest.astype(np.float64))
    assert np.abs(found - found.mean(axis=0)).mean() < 0.1


@pytest.mark.parametrize("sizes", [(10, 1_000), (1, 1, 100), (50,)])
def test_every_market_has_an_equal_share_however_long_its_series(sizes: tuple[int, ...]) -> None:
    ends = np.cumsum(sizes)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    groups = [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    rows: Rows = (torch.from_numpy(owner), torch.arange(int(ends[-1])))
    drawn = balanced(rows, groups, 64)
    torch.manual_seed(1)
    batches = list(drawn)
    assert len(batches) == len(drawn) == 50
    share = -(-64 // len(sizes))
    for owners, index in batches:
        assert np.bincount(owners, minlength=len(sizes)).tolist() == [share] * len(sizes)
        assert (owner[index] == owners.numpy()).all()  # the tensors stay side by side
    assert drawn.windows == sum(len(batch[0]) for batch in batches)
    seen = torch.cat([index for _, index in batches]).unique()
    assert len(seen) > 0.7 * min(int(ends[-1]), 50 * share)


def test_a_market_without_a_row_is_left_out_of_the_shares() -> None:
    rows: Rows = (torch.arange(5),)
    drawn = balanced(rows, [np.arange(0), np.arange(5)], 8)
    assert {len(batch[0]) for batch in drawn} == {8}


def test_a_hundred_times_longer_market_counts_no_more_than_the_other() -> None:
    """Of two markets one tells the opposite of the other: balanced, neither has its way."""
    for sizes in ((20_000, 200), (200, 20_000)):
        pair = market(1, sizes[0], 0.6), market(2, sizes[1], -0.6)
        base = _base.read(run(*pair).onnx)
        newest = np.zeros((2, len(FEATURES)))
        newest[:, TOLD] = -1, 1
        low, high = base.log_scale(newest).mean(axis=1)
        assert abs(high - low) < 0.6  # alone each gives 1.2


def test_the_same_seed_gives_the_same_bytes_whoever_else_draws() -> None:
    torch.manual_seed(12345)
    expected = torch.rand(2)
    torch.manual_seed(12345)
    assert run(recipe=SHORT).onnx == short().onnx
    assert torch.equal(torch.rand(2), expected)
    assert run(recipe=SHORT, seed=4).onnx != short().onnx


class Stopped(Exception):
    """What ends a training in these tests."""


@pytest.mark.parametrize("stop_at", [1, 4])
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    monkeypatch.setattr(_lightning, "_SAVE_SECONDS", -1.0)
    file = tmp_path / ".base.npz"
    seen: list[int] = []

    def stop(epoch: Epoch, most: int) -> None:
        seen.append(epoch.number)
        assert most == 6
        if epoch.number == stop_at + 1:
            raise Stopped

    with pytest.raises(Stopped):
        run(recipe=SHORT, on_epoch=stop, checkpoint=file)
    assert file.is_file()
    seen.clear()
    resumed = run(recipe=SHORT, on_epoch=lambda e, _: seen.append(e.number), checkpoint=file)
    assert seen == list(range(stop_at + 1, 7))
    assert resumed.onnx == short().onnx
    assert [(e.number, e.train_loss) for e in resumed.history] == [
        (e.number, e.train_loss) for e in short().history
    ]
    seen.clear()
    again = run(recipe=SHORT, on_epoch=lambda e, _: seen.append(e.number), checkpoint=file)
    assert (seen, again.onnx) == ([], short().onnx)


def test_no_epoch_begins_after_the_deadline() -> None:
    past = run(recipe=SHORT, deadline=time.monotonic() - 1)
    assert len(past.history) == 1  # one at least: else nothing would have been learned
    assert len(run(recipe=SHORT, deadline=math.inf).history) == 6


def test_what_was_interrupted_after_its_deadline_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lightning, "_SAVE_SECONDS", -1.0)
    file = tmp_path / "one.npz"
    late = run(recipe=SHORT, deadline=time.monotonic() - 1, checkpoint=file)
    again = run(recipe=SHORT, deadline=time.monotonic() - 1, checkpoint=file)
    assert (len(again.history), again.onnx) == (1, late.onnx)


@pytest.mark.parametrize("count", [0, 2])
def test_without_an_origin_there_is_nothing_to_learn_from(count: int) -> None:
    once = TrainingRun(0)
    nothing = [market(1, 0)] * count
    with pytest.raises(ModelError) as caught:
        pretrain(nothing, recipe=RECIPE, levels=LEVELS, lookback=LOOKBACK, run=once)
    assert caught.value.message == "there is no origin to learn from"
    assert (caught.value.code, caught.value.exit_code) == ("model.no_windows", 5)
    assert caught.value.hint == "give pretrain more candles: --data"


def test_a_training_that_diverges_is_an_error_that_says_where() -> None:
    wild = replace(SHORT, learning_rate=1e38)
    with pytest.raises(ModelError) as caught:
        run(recipe=wild)
    assert caught.value.code == "model.diverged"


@pytest.mark.parametrize(
    ("mixed", "cuda", "bf16", "precision"),
    [
        (True, True, True, "bf16-mixed"),
        (True, True, False, "32-true"),
        (True, False, False, "32-true"),
        (False, True, True, "32-true"),
    ],
)
def test_half_precision_is_used_only_where_a_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch, mixed: bool, cuda: bool, bf16: bool, precision: str
) -> None:
    asked: dict[str, Any] = {}

    class Trainer:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def fit(self, module: Any, *, train_dataloaders: Any) -> None:
            (keeper,) = asked["callbacks"]
            keeper.on_train_start(self, SimpleNamespace(device="cpu"))

    monkeypatch.setattr(_lightning, "Trainer", Trainer)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    run(recipe=replace(SHORT, mixed_precision=mixed))
    assert asked["precision"] == precision
    assert asked["max_epochs"] == 6


def test_the_network_and_what_is_kept_of_it_answer_alike() -> None:
    start = _quantiles.symmetric(market().targets.astype(np.float64), LEVELS)
    torch.manual_seed(2)
    newest = market().newest[:50].astype(np.float64)
    seen = torch.from_numpy(_base.predictors(newest).astype(np.float32))
    width = seen.shape[1]
    network = Perceptron(width, start, 5, 0.3).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    material = _pretraining._Material(
        seen, market().targets[:50], (), mean=np.zeros(width), spread=np.ones(width)
    )
    kept = _pretraining._kept(network, material, start, LEVELS)
    with torch.no_grad():
        np.testing.assert_allclose(
            kept.log_scale(newest), network.log_scale(seen).numpy(), atol=1e-5
        )
        found = network(seen).numpy()
    assert found.shape == (50, HORIZON, len(LEVELS))
    assert (np.diff(found, axis=-1) > 0).all()
    assert (found[..., 9] == 0).all()
