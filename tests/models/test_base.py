"""The base network's numbers, its graph, and the networks that come with the package."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from cryptocast import bundles, dataset, models
from cryptocast.bundles import Bundle, Forecaster
from cryptocast.dataset import Part
from cryptocast.errors import ConfigError, ModelError
from cryptocast.models import _base, _quantiles, base
from cryptocast.models._base import COLUMNS, HOUR_HARMONICS, LARGEST, MONTH, Base
from cryptocast.models._pretraining import _Material
from cryptocast.models._quantiles import MIN_STEP
from cryptocast.models.base import Model, Series
from cryptocast.seams import TrainingRun
from cryptocast.values import FEATURES, INTERVAL_SECONDS, FloatArray, Market, Windows
from support.synthetic import BAR, LEVELS, START, bars, candles, windows

LOOKBACK, HORIZON = 4, 5
PREDICTORS = len(MONTH) + len(COLUMNS) + 1 + 2 * HOUR_HARMONICS
NAMES = [field.name for field in dataclasses.fields(Base)]
LAID = bars(420, 2)
SEEN = windows(LAID, 16, 420, lookback=LOOKBACK, horizon=HORIZON)

every_shipped = pytest.mark.parametrize("name", models.base_intervals())


def single(values: Any) -> FloatArray:
    """The same numbers as a graph keeps them."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def invented(seed: int = 1, units: int = 7) -> Base:
    """A network of random numbers, as single precision keeps them."""
    random = np.random.default_rng(seed)

    def some(*shape: int) -> FloatArray:
        return single(random.normal(0, 0.3, shape))

    steps = np.linspace(-1, 1, HORIZON)
    quantiles = (
        _quantiles.reference_shape(LEVELS, HORIZON) * np.linspace(0.9, 1.1, HORIZON)[:, None]
    )
    return Base(
        mean=some(PREDICTORS),
        spread=single(np.abs(some(PREDICTORS)) + 0.5),
        linear=some(PREDICTORS, 3),
        first=some(PREDICTORS, units),
        first_bias=some(units),
        second=some(units, units),
        second_bias=some(units),
        last=some(units, 3),
        bias=some(3),
        basis=single([np.ones(HORIZON), steps, steps**2]),
        quantiles=single(quantiles),
        levels=single(LEVELS),
    )


BASE = invented()


@cache
def graph(levels: tuple[float, ...] = LEVELS) -> Forecaster:
    return Forecaster(BASE.graph(LOOKBACK, levels))


def window(newest: FloatArray) -> FloatArray:
    """[N, L, F] whose older bars are nothing."""
    inputs = np.zeros((len(newest), LOOKBACK, len(FEATURES)))
    inputs[:, -1] = newest
    return inputs


def expected(base: Base, newest: FloatArray, levels: tuple[float, ...] = LEVELS) -> FloatArray:
    """[N, H, Q] quantiles as the formula in numpy says."""
    scale = np.exp(base.log_scale(newest))[..., None]
    return np.asarray(_quantiles.spread(base.at(levels) * scale))


def at_times(moments: FloatArray) -> FloatArray:
    """[N, F] features of nothing but the time of day, in seconds since midnight."""
    newest = np.zeros((len(moments), len(FEATURES)))
    angle = 2 * np.pi * moments / 86_400
    newest[:, FEATURES.index("day_sin")] = np.sin(angle)
    newest[:, FEATURES.index("day_cos")] = np.cos(angle)
    return newest


def test_the_graph_answers_what_the_numbers_say() -> None:
    newest = SEEN.inputs[:, -1]
    np.testing.assert_allclose(graph()(SEEN.inputs), expected(BASE, newest), rtol=2e-4, atol=2e-5)
    assert np.ptp(BASE.log_scale(newest)) > 0.1


@given(
    arrays.arrays(
        np.float64, (6, len(FEATURES)), elements=st.floats(-8, 8, width=32, allow_subnormal=False)
    )
)
@settings(max_examples=60)
def test_any_features_give_the_same_numbers_in_both(newest: FloatArray) -> None:
    np.testing.assert_allclose(
        graph()(window(newest)), expected(BASE, newest), rtol=2e-3, atol=2e-4
    )


@pytest.mark.parametrize("size", [0.0, 1.0, 1e3, 1e6, 1e9])
def test_however_wild_the_features_quantiles_rise_and_none_is_missing(size: float) -> None:
    wild = np.random.default_rng(3).normal(0, size, (300, len(FEATURES)))
    for found in (graph()(window(wild)), Forecaster(shipped("5m"))(window(wild))):
        assert np.isfinite(found).all()
        assert (np.diff(found, axis=-1) >= MIN_STEP * (1 - 1e-3)).all()
        assert (found[..., 9] == 0).all()
    assert np.abs(BASE.log_scale(wild)).max() <= LARGEST


def test_what_is_read_back_from_the_graph_are_the_same_numbers() -> None:
    again = _base.read(BASE.graph(LOOKBACK, LEVELS))
    for name in NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(BASE, name), err_msg=name)
    other = _base.read(BASE.graph(16, (0.1, 0.5, 0.9)))
    np.testing.assert_array_equal(other.quantiles, BASE.quantiles)
    assert again.graph(LOOKBACK, LEVELS) == BASE.graph(LOOKBACK, LEVELS)


@pytest.mark.parametrize("lost", [*(n for n in NAMES if n != "quantiles"), "quantiles_of_training"])
def test_a_graph_that_lacks_a_tensor_is_none_of_these(lost: str) -> None:
    model = onnx.load_model_from_string(BASE.graph(LOOKBACK, LEVELS))
    kept = [tensor for tensor in model.graph.initializer if tensor.name != lost]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    with pytest.raises(ValueError, match="it has no tensor") as caught:
        _base.read(model.SerializeToString())
    assert str(caught.value) == f"it has no tensor '{lost.removesuffix('_of_training')}'"


def test_its_first_steps_answer_what_they_did() -> None:
    short = BASE.of_steps(2)
    assert (BASE.horizon, short.horizon) == (HORIZON, 2)
    np.testing.assert_array_equal(
        short.log_scale(SEEN.inputs[:, -1]), BASE.log_scale(SEEN.inputs[:, -1])[:, :2]
    )
    found = Forecaster(short.graph(LOOKBACK, LEVELS))(SEEN.inputs)
    np.testing.assert_array_equal(found, graph()(SEEN.inputs)[:, :2])


def test_at_its_own_levels_its_quantiles_are_its_own() -> None:
    np.testing.assert_allclose(BASE.at(LEVELS), BASE.quantiles, rtol=1e-5, atol=1e-6)


def test_a_level_between_two_of_its_own_lies_between_their_quantiles() -> None:
    middles = tuple(round(0.025 + 0.05 * k, 3) for k in range(1, 19))
    finer = tuple(sorted((*LEVELS, *middles)))
    found = BASE.at(finer)
    assert found.shape == (HORIZON, len(finer))
    np.testing.assert_allclose(found[:, ::2], BASE.quantiles, rtol=1e-5, atol=1e-6)
    assert (found[:, 1::2] > BASE.quantiles[:, :-1]).all()
    assert (found[:, 1::2] < BASE.quantiles[:, 1:]).all()


def test_a_level_beyond_its_own_lies_further_out_as_the_tails_of_student_do() -> None:
    wide = (0.01, 0.02, 0.5, 0.98, 0.99)
    found = BASE.at(wide)
    assert (found[:, 1] < BASE.quantiles[:, 0]).all()
    assert (found[:, -2] > BASE.quantiles[:, -1]).all()
    assert (np.diff(found, axis=1) > 0).all()
    np.testing.assert_allclose(found, -found[:, ::-1], atol=1e-6)
    # The numbers here are Student's own, times 0.9 to 1.1: so is what lies beyond them.
    known = np.linspace(0.9, 1.1, HORIZON)[:, None] * _quantiles.reference(wide)
    np.testing.assert_allclose(found, known, rtol=1e-4)


def test_the_clock_tells_every_bar_of_a_day_its_minute() -> None:
    moments = np.arange(0, 86_400, BAR, dtype=np.float64)
    found = _base.predictors(at_times(moments))[:, -2 * HOUR_HARMONICS :]
    hour = 2 * np.pi * moments / 3_600
    angles = [k * hour for k in range(1, HOUR_HARMONICS + 1)]
    wanted = np.stack([f(angle) for angle in angles for f in (np.cos, np.sin)], axis=1)
    assert found.shape == (288, 2 * HOUR_HARMONICS)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_the_clock_of_the_graph_is_as_exact_as_single_precision_allows() -> None:
    """24 turns of an angle, multiplied together six times, in floats of 24 bits."""
    newest = at_times(np.arange(0, 86_400, BAR, dtype=np.float64))
    np.testing.assert_allclose(graph()(window(newest)), expected(BASE, newest), atol=5e-4)


def test_a_time_of_day_that_is_none_grows_to_nothing() -> None:
    found = _base.predictors(np.zeros((1, len(FEATURES))))
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1.0
    long = at_times(np.array([7_500.0])) * 1e4  # its length counts for nothing
    np.testing.assert_allclose(_base.predictors(long), _base.predictors(long / 1e4), atol=1e-9)


def test_only_the_newest_bar_counts() -> None:
    other = SEEN.inputs.copy()
    other[:, :-1] = np.random.default_rng(5).normal(0, 9, other[:, :-1].shape)
    np.testing.assert_array_equal(graph()(other), graph()(SEEN.inputs))


@pytest.mark.parametrize("name", FEATURES)
def test_it_knows_neither_the_level_of_volatility_nor_the_day_of_the_week(name: str) -> None:
    other = SEEN.inputs[:, -1].copy()
    other[:, FEATURES.index(name)] += 0.7
    same = (BASE.log_scale(other) == BASE.log_scale(SEEN.inputs[:, -1])).all()
    assert same == (name in ("level", "week_sin", "week_cos"))


@every_shipped
def test_what_the_last_month_says_leaves_the_first_step_as_it_is(name: str) -> None:
    shipped, newest = base.load(name, 24), SEEN.inputs[:, -1]
    other = newest.copy()
    other[:, [FEATURES.index(later) for later in MONTH]] += 0.7
    moved = np.abs(shipped.log_scale(other) - shipped.log_scale(newest)).mean(axis=0)
    assert moved[0] < 1e-6
    assert (np.diff(moved) > 0).all()  # and of each later step it changes more


def fitted(horizon: int = HORIZON, **params: Any) -> Any:
    laid = windows(LAID, 16, 40, lookback=LOOKBACK, horizon=horizon)
    nothing = windows(LAID, 0, 0, lookback=LOOKBACK, horizon=horizon)
    return Model().fit(laid, nothing, levels=LEVELS, params=params, run=TrainingRun(0))


def test_more_steps_than_it_knows_are_refused() -> None:
    assert Forecaster(fitted(288).onnx)(SEEN.inputs).shape == (len(SEEN), 288, len(LEVELS))
    with pytest.raises(ConfigError) as caught:
        fitted(289)
    assert caught.value.message == "the base network '5m' knows 288 steps, not 289"
    assert caught.value.code == "config.base"
    assert caught.value.hint == "lower [model] horizon, or train --from scratch"


@pytest.mark.parametrize("name", ["2m", "no/such/folder", ""])
def test_a_network_that_is_not_there_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        fitted(network=name)
    assert caught.value.message == f"there is no base network '{name}'"
    assert caught.value.code == "config.base"
    assert caught.value.hint == (
        f"shipped: {', '.join(models.base_intervals())}; or the folder that cryptocast pretrain "
        "wrote"
    )


def test_another_parameter_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        fitted(hidden=3)
    assert caught.value.message == "the base has no parameter 'hidden'"
    assert caught.value.hint == "known: network"


@pytest.mark.parametrize(
    ("content", "why"), [(b"half a graph", ""), (b"", "it has no tensor 'mean'")]
)
def test_a_damaged_network_is_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        fitted(network=str(tmp_path))
    told = f"the base network '{tmp_path}' cannot be read: {why}"
    assert caught.value.message.startswith(told)  # what follows are onnx's own words
    assert len(caught.value.message) > len(told) or why
    assert "\n" not in caught.value.message
    assert caught.value.code == "model.base_damaged"
    assert caught.value.hint == "install cryptocast again, or let cryptocast pretrain write it anew"


def test_a_network_of_ones_own_goes_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(BASE.graph(LOOKBACK, LEVELS))
    found = fitted(network=str(tmp_path))
    assert dict(found.params) == {"network": str(tmp_path)}
    assert (found.kind, found.history) == ("base", ())
    np.testing.assert_array_equal(Forecaster(found.onnx)(SEEN.inputs), graph()(SEEN.inputs))
    assert Model().started_at(str(tmp_path)).defaults() == {"network": str(tmp_path)}


# What comes with the package.


def shipped(name: str) -> bytes:
    return (models.base_folder(name) / "model.onnx").read_bytes()


def loaded(name: str) -> Bundle:
    return bundles.load(models.base_folder(name))


def test_there_is_a_network_for_five_minutes() -> None:
    assert "5m" in models.base_intervals()
    assert models.base_intervals() == tuple(sorted(models.base_intervals()))


@every_shipped
def test_a_shipped_network_goes_on_after_two_hours_without_a_jump(name: str) -> None:
    widths = np.log(np.ptp(loaded(name).forecaster(SEEN.inputs), axis=2))
    far = np.abs(np.diff(widths, axis=1)).max(axis=0)
    assert far[23] < 0.02  # from step 24 to 25: 2 % of the width
    assert far[24:].max() < 0.02


@every_shipped
def test_a_shipped_network_is_whole_and_named_after_its_interval(name: str) -> None:
    card = loaded(name).card  # raises where a hash differs
    assert (card.interval, card.version, card.kind) == (name, f"base-{name}", "base")
    assert (card.horizon, card.levels, card.features) == (288, LEVELS, FEATURES)
    assert card.lookback == LOOKBACK
    assert sorted(p.name for p in models.base_folder(name).iterdir()) == ["card.json", "model.onnx"]


@every_shipped
def test_a_shipped_network_says_whence_it_comes_and_what_it_showed(name: str) -> None:
    card = loaded(name).card
    assert card.origin is not None
    assert "MIT" in card.origin or "Apache-2.0" in card.origin
    assert card.evidence is not None
    assert card.evidence["skill"] > 0
    assert card.evidence["n"] > 10_000
    assert card.data_start < card.data_end
    assert len(card.markets) > 1
    assert not any("/" in str(value) for value in card.params.values())


def test_all_that_is_shipped_takes_two_megabytes_at_most() -> None:
    folders = [models.base_folder(name) for name in models.base_intervals()]
    assert sum(p.stat().st_size for folder in folders for p in folder.iterdir()) <= 2_000_000


def in_doubles(graph: bytes) -> ReferenceEvaluator:
    """The same network, reckoned in float64."""
    model = onnx.load_from_string(graph)
    for value in model.graph.initializer:
        numbers = numpy_helper.to_array(value)
        if numbers.dtype == np.float32:
            value.CopyFrom(numpy_helper.from_array(numbers.astype(np.float64), value.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return ReferenceEvaluator(model)


@every_shipped
def test_a_shipped_network_reads_no_rounding(name: str) -> None:
    """Windows of a day, at every bar: in float32 and in float64 the answer is the same."""
    interval = INTERVAL_SECONDS[name]
    found = dataclasses.replace(candles(1600, 3), open_time=START + interval * np.arange(1600))
    market = Market.of("BTC/EUR", "sim", name)
    laid_out = dataset.lay_out(found, market, START, START + 1600 * interval)
    part = Part(START + 1200 * interval, START + 1500 * interval)
    seen = dataset.cut(laid_out, part, lookback=LOOKBACK, horizon=24, max_stale_bars=3).inputs
    assert len(seen) > 250
    (exact,) = in_doubles(shipped(name)).run(None, {"inputs": np.asarray(seen, dtype=np.float64)})
    np.testing.assert_allclose(loaded(name).forecaster(seen), exact, atol=1e-4)


def test_an_input_without_variance_is_no_noise_of_unit_variance() -> None:
    """The sine of the sixth harmonic of the hour is zero at every fifth minute."""
    newest = SEEN.inputs[:, -1].astype(np.float32)
    learned = _Material.of([Series(newest, SEEN.standardised.astype(np.float32))])
    assert learned.spread.min() > 1e-4
    varies = learned.seen.std(axis=0).numpy()
    assert ((varies < 1e-4) | (varies > 0.9)).all()
    assert varies[-1] < 1e-4


@every_shipped
def test_a_shipped_network_answers_one_origin_as_it_answers_many(name: str) -> None:
    forecaster = loaded(name).forecaster
    many = forecaster(SEEN.inputs)
    assert many.shape == (len(SEEN), 288, len(LEVELS))
    for row in (0, 7, len(SEEN) - 1):
        np.testing.assert_array_equal(forecaster(SEEN.inputs[row : row + 1])[0], many[row])


@every_shipped
def test_a_shipped_network_is_wider_where_the_last_hours_were_stormy(name: str) -> None:
    newest = SEEN.inputs[:, -1]
    recent = newest[:, FEATURES.index("fast_range_volatility")]
    told = base.load(name, 24).log_scale(newest)
    assert np.corrcoef(recent, told[:, 0])[0, 1] > 0.1


@every_shipped
def test_the_kind_answers_what_the_shipped_bundle_does(name: str) -> None:
    train: Windows = windows(LAID, 16, 40, lookback=LOOKBACK, horizon=24)
    made = Model(name).fit(train, train, levels=LEVELS, params={}, run=TrainingRun(0))
    np.testing.assert_allclose(  # its levels and quantiles were rounded when they were kept
        Forecaster(made.onnx)(SEEN.inputs), loaded(name).forecaster(SEEN.inputs)[:, :24], atol=3e-6
    )
