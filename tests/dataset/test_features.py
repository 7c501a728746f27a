from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptocast.dataset import Bars, compute, context_bars, lay_out, needed_start, recent_bars
from cryptocast.dataset.averages import FAST_DECAY, MEMORY_BARS, SIGMA_FLOOR, average
from cryptocast.dataset.bars import LONGEST_SPAN_BARS
from cryptocast.dataset.days import days_back
from cryptocast.dataset.features import compute_alike
from cryptocast.values import FEATURES, INTERVAL_SECONDS, Candles
from support.synthetic import BAR, MARKET, START, bars, candles

N = 300
ORIGIN = 200
GAPS = [50, 120, 121, 122, 180]
MEMORY = context_bars(1, BAR) - LONGEST_SPAN_BARS  # of all features


def perturbed(given_candles: Candles, origin: int, seed: int = 9) -> Candles:
    """Everything at and after the bar `origin` otherwise: other values, other gaps."""
    random = np.random.default_rng(seed)
    later = given_candles.open_time >= START + origin * BAR
    factor = np.where(later, np.exp(random.normal(0, 0.3, len(given_candles))), 1.0)
    changed = dataclasses.replace(
        given_candles,
        open=given_candles.open * factor,
        high=given_candles.high * factor * np.where(later, 1.5, 1.0),
        low=given_candles.low * factor * np.where(later, 0.5, 1.0),
        close=given_candles.close * factor,
        volume=given_candles.volume * factor,
    )
    return changed.take(~later | (random.random(len(changed)) < 0.7))


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("volume", [True, False], ids=["with volume", "without volume"])
def test_no_feature_knows_what_came_after(name: str, volume: bool) -> None:
    whole = candles(N, 1, GAPS)
    if not volume:
        whole = dataclasses.replace(whole, volume=np.full(len(whole), np.nan))
    column = FEATURES.index(name)
    end = START + N * BAR
    one = compute(lay_out(whole, MARKET, START, end))
    other = compute(lay_out(perturbed(whole, ORIGIN), MARKET, START, end))
    np.testing.assert_array_equal(one.values[:ORIGIN, column], other.values[:ORIGIN, column])
    np.testing.assert_array_equal(one.sigma[:ORIGIN], other.sigma[:ORIGIN])
    clock = name.startswith(("day", "week"))
    if not clock and (volume or name != "volume"):  # and the change is one that the feature sees
        assert (one.values[ORIGIN:, column] != other.values[ORIGIN:, column]).any()


@settings(max_examples=6)
@given(
    st.lists(st.integers(N, N + MEMORY - 1), max_size=40, unique=True),
    st.integers(MEMORY, N + MEMORY - 1),
)
def test_a_feature_is_a_function_of_the_bars_within_its_memory(gaps: list[int], bar: int) -> None:
    total = MEMORY + N
    whole = candles(total, 3, gaps)
    far = compute(lay_out(whole, MARKET, START, START + total * BAR))
    start = START + (bar - MEMORY) * BAR
    near = compute(lay_out(whole, MARKET, start, START + total * BAR))
    np.testing.assert_array_equal(near.values[MEMORY], far.values[bar])
    assert near.sigma[MEMORY] == far.sigma[bar]


@pytest.mark.parametrize("gaps", [[], GAPS], ids=["without gaps", "with gaps"])
def test_markets_that_are_computed_together_get_the_bits_of_each_alone(gaps: list[int]) -> None:
    several = [bars(N, 1), bars(N, 2, gaps), bars(N, 3)]
    for mine, laid in zip(compute_alike(several, ORIGIN), several, strict=True):
        alone = compute(laid, ORIGIN)
        np.testing.assert_array_equal(mine.values, alone.values)
        np.testing.assert_array_equal(mine.sigma, alone.sigma)


def test_what_is_older_than_the_memory_changes_no_bit() -> None:
    total = MEMORY + N
    one = candles(total, 3)
    other = dataclasses.replace(
        one, **{k: np.where(np.arange(total) < N, getattr(one, k) * 2, getattr(one, k))
                for k in ("open", "high", "low", "close", "volume")}
    )  # fmt: skip
    end = START + total * BAR
    first, second = (compute(lay_out(c, MARKET, START, end)) for c in (one, other))
    np.testing.assert_array_equal(first.values[N + MEMORY :], second.values[N + MEMORY :])
    assert (first.values[N + 1 : N + 100] != second.values[N + 1 : N + 100]).any()


def test_a_gap_is_bridged() -> None:
    found = compute(bars(N, 1, GAPS))
    named = dict(zip(FEATURES, found.values.T, strict=True))
    for name, value in {"return": 0, "range": 0, "place": 0, "volume": 0, "missing": 1}.items():
        assert named[name][GAPS].tolist() == [value] * len(GAPS)
    others = np.setdiff1d(np.arange(N), GAPS)
    assert (named["missing"][others] == 0).all()


def test_a_gap_neither_calms_nor_stirs_the_volatility() -> None:
    found = compute(bars(N, 1, GAPS))
    assert found.sigma[120:123] == pytest.approx(found.sigma[119], rel=1e-12)


def test_a_move_over_a_gap_counts_as_that_many_bars() -> None:
    laid = bars(N, 1, GAPS)
    found = compute(laid)
    expected = laid.log_return[123] / np.sqrt(4) / found.sigma[123]
    assert found.values[123, 0] == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-6, 0.01, 1e6])
def test_the_level_of_the_price_is_no_feature(scale: float) -> None:
    one = candles(N, 1, GAPS)
    other = dataclasses.replace(
        one, open=one.open * scale, high=one.high * scale, low=one.low * scale,
        close=one.close * scale,
    )  # fmt: skip
    end = START + N * BAR
    first, second = (compute(lay_out(c, MARKET, START, end)) for c in (one, other))
    np.testing.assert_allclose(first.values, second.values, atol=1e-7)
    np.testing.assert_allclose(first.sigma, second.sigma, rtol=1e-7)


def test_upside_down_a_market_is_as_volatile_and_falls_where_it_rose() -> None:
    one = candles(N, 1, GAPS)
    other = dataclasses.replace(
        one, open=1 / one.open, high=1 / one.low, low=1 / one.high, close=1 / one.close
    )
    end = START + N * BAR
    first, second = (compute(lay_out(c, MARKET, START, end)) for c in (one, other))
    others = [i for i, name in enumerate(FEATURES) if name != "place"]  # of the price, not its log
    turned = [name == "return" or name.endswith("downside") for name in FEATURES]
    expected = np.where(turned, -1.0, 1.0) * first.values
    np.testing.assert_allclose(second.values[:, others], expected[:, others], atol=1e-9)
    np.testing.assert_allclose(second.sigma, first.sigma)


def moving(moves: np.ndarray) -> dict[str, np.ndarray]:
    close = np.exp(np.cumsum(moves))
    told = Candles.of(START + BAR * np.arange(len(moves)), close, close, close, close)
    laid = lay_out(told, MARKET, START, START + len(moves) * BAR)
    return dict(zip(FEATURES, compute(laid).values.T, strict=True))


def test_the_size_of_moves_is_a_normal_ones_volatility() -> None:
    usual = moving(np.random.default_rng(0).normal(0, 1e-3, 20_000))
    for name in ("size", "fast_size", "medium_size", "slow_size"):
        span = name.replace("size", "volatility")
        beside = usual.get(span, 0.0)
        assert np.mean(usual[name] - beside) == pytest.approx(0, abs=0.06)


def test_a_jump_stirs_the_size_of_moves_less_than_their_volatility() -> None:
    moves = np.tile([1e-3, -1e-3], N // 2)
    calm = moving(moves)
    moves[ORIGIN] = 0.03
    jumpy = moving(moves)
    assert calm["size"][ORIGIN] == pytest.approx(np.log(np.pi / 2) / 2)
    assert jumpy["size"][ORIGIN] < -0.5
    assert jumpy["slow_size"][ORIGIN] < jumpy["slow_volatility"][ORIGIN]


def test_the_downside_is_that_of_falls_over_rises() -> None:
    moves = np.tile([2e-3, -1e-3, -1e-3], N // 3)
    found = moving(moves)
    weights = FAST_DECAY ** np.arange(N)[::-1]
    fallen, risen = (
        np.sum(weights * np.where(side, moves**2, 0)) for side in (moves < 0, moves > 0)
    )
    assert found["fast_downside"][-1] == pytest.approx(0.5 * np.log(fallen / risen), rel=1e-2)
    assert found["slow_downside"][-1] == pytest.approx(0.5 * np.log(2 / 4), abs=0.02)
    only = moving(np.full(N, -1e-3))
    assert only["downside"][-1] == pytest.approx(np.log(1e-3 / SIGMA_FLOOR))


def test_a_price_that_stands_still_has_the_least_volatility_and_no_nan() -> None:
    flat = np.full(N, 5.0)
    still = Candles.of(START + BAR * np.arange(N), flat, flat, flat, flat)
    found = compute(lay_out(still, MARKET, START, START + N * BAR))
    assert (found.sigma == SIGMA_FLOOR).all()
    level = FEATURES.index("level")
    assert (found.values[:, :level] == 0).all()
    np.testing.assert_allclose(found.values[:, level], np.log(0.01))


def test_the_time_of_day_and_of_the_week_is_that_of_the_close() -> None:
    day = 288
    start = START // (7 * 86_400) * 7 * 86_400  # a Thursday's midnight, the week of Unix time
    flat = np.full(8 * day, 5.0)
    whole = Candles.of(start + BAR * np.arange(8 * day), flat, flat, flat, flat)
    found = compute(lay_out(whole, MARKET, start, start + 8 * day * BAR)).values
    named = dict(zip(FEATURES, found.T, strict=True))
    np.testing.assert_allclose(named["day_sin"][day - 1], 0, atol=1e-12)  # closes at midnight
    np.testing.assert_allclose(named["day_cos"][day - 1], 1)
    np.testing.assert_allclose(named["day_sin"][day // 4 - 1], 1)
    np.testing.assert_array_equal(named["day_cos"][:day], named["day_cos"][7 * day :])
    np.testing.assert_array_equal(named["week_sin"][:day], named["week_sin"][7 * day :])
    np.testing.assert_allclose(named["week_cos"][7 * day - 1], 1)


def test_features_are_kept_in_the_single_precision_of_graphs_and_sigma_in_double() -> None:
    found = compute(bars(N, 1))
    assert (found.values.dtype, found.sigma.dtype) == (np.float32, np.float64)


def test_features_are_finite_and_bounded_whatever_the_market_does() -> None:
    close = np.tile([1.0, 1e6], N // 2)
    wild = Candles.of(START + BAR * np.arange(N), close, close * 9, close / 9, close, close**2)
    found = compute(lay_out(wild, MARKET, START, START + N * BAR))
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).max() <= 8


def test_a_market_without_volume_has_a_blank_in_its_place() -> None:
    whole = candles(N, 1)
    silent = dataclasses.replace(whole, volume=np.full(N, np.nan))
    one, other = (compute(lay_out(c, MARKET, START, START + N * BAR)) for c in (whole, silent))
    at = FEATURES.index("volume")
    assert (other.values[:, at] == 0).all()
    np.testing.assert_array_equal(np.delete(one.values, at, 1), np.delete(other.values, at, 1))


@settings(max_examples=30)
@given(
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.5, 0.8, 0.94, 0.5 ** (1 / 200)]),
)
def test_the_average_is_that_of_a_slow_loop(n: int, seed: int, decay: float) -> None:
    random = np.random.default_rng(seed)
    values, seen = random.normal(size=n), (random.random(n) < 0.7).astype(float)
    fast = average(values[None], seen[None], np.array([decay]))[0]
    for t in range(n):
        weights = [decay ** (t - s) * seen[s] for s in range(t + 1)]
        slow = np.dot(weights, values[: t + 1]) / sum(weights) if sum(weights) else 0.0
        assert fast[t] == pytest.approx(slow, abs=1e-12)


def test_the_average_forgets_all_at_once_at_the_end_of_its_memory() -> None:
    values = np.zeros((1, MEMORY_BARS + 2))
    values[0, 0] = 1.0
    found = average(values, np.ones_like(values), np.array([1.0]))[0]
    assert found[MEMORY_BARS - 1] == 1 / MEMORY_BARS
    assert found[MEMORY_BARS] == 0


def test_the_context_is_the_memory_the_lookback_the_longest_gap_and_the_days_before() -> None:
    assert recent_bars(64) == 1024 + 63 + 12
    assert context_bars(64, BAR) == 1024 + 63 + 12 + 32 * 288
    assert context_bars(64, BAR, FEATURES[: FEATURES.index("next_profile")]) == recent_bars(64)


@pytest.mark.parametrize(
    ("interval", "days"), [("1m", 6), ("5m", 32), ("15m", 32), ("1h", 32), ("2h", 0), ("1d", 0)]
)
def test_a_profile_of_fine_candles_takes_fewer_days_and_one_of_coarse_ones_none(
    interval: str, days: int
) -> None:
    assert days_back(INTERVAL_SECONDS[interval]) == days


def profile(laid: Bars) -> np.ndarray:
    places = [i for i, name in enumerate(FEATURES) if name.endswith("profile")]
    return compute(laid).values[:, places]


def test_a_profile_tells_how_much_is_usual_at_the_times_that_come_next() -> None:
    days = 40
    scale = np.where(np.arange(days * 288) % 288 < 12, 3.0, 1.0) * 1e-3  # the first hour is wild
    close = np.exp(np.cumsum(np.random.default_rng(0).normal(size=days * 288) * scale))
    times = START + BAR * np.arange(len(close))
    laid = lay_out(
        Candles.of(times, close, close, close, close), MARKET, START, START + len(close) * BAR
    )
    found = profile(laid)[36 * 288 - 1 :: 12][:3]  # at midnight, 01:00 and 02:00
    counted, usual = (1 - 0.97**32) / (1 - 0.97), 1 + 2 / 24  # days, and the mean of all times
    wild = np.log((counted * 3 / usual + 5) / (counted + 5))  # 5 days are like any other time
    np.testing.assert_allclose(found[0], [wild, wild, wild, 0.0], atol=0.25)
    np.testing.assert_allclose(found[1:], np.zeros((2, 4)), atol=0.25)


def test_a_profile_of_less_than_a_day_says_nothing() -> None:
    np.testing.assert_allclose(profile(bars(264, 3)), 0, atol=1e-12)
    assert (np.abs(profile(bars(320, 3))[300:]) > 1e-3).any()


@given(st.integers(0, 40), st.sets(st.integers(1, 199), max_size=40))
def test_empty_bars_before_the_first_candle_change_no_bit(lead: int, gaps: set[int]) -> None:
    stored, end = candles(200, seed=4, gaps=sorted(gaps)), START + 200 * BAR
    start = START - lead * BAR
    needed = needed_start(stored, MARKET, start, end - 80 * BAR)
    assert start <= needed <= START
    whole, short = (compute(lay_out(stored, MARKET, first, end)) for first in (start, needed))
    assert np.array_equal(short.values[-200:], whole.values[-200:])
    assert np.array_equal(short.sigma[-200:], whole.sigma[-200:])
