"""A price that moves to another level and stays is told from a crash and a spike, in due time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptocast.dataset import (
    WAIT_BARS,
    Bars,
    before,
    compute,
    context_bars,
    lasting,
    lay_out,
    log_returns,
    suspected,
)
from cryptocast.dataset.recount import recount
from cryptocast.values import FEATURES, Candles
from support.synthetic import BAR, MARKET, START, candles

N, AT = 1_600, 1_100


def moved(whole: Candles, factors: np.ndarray, *, opens_before: bool = False) -> Candles:
    """Prices times a factor each, volumes over it; a bar may open at the factor before it."""
    opening = whole.open * (
        np.concatenate((factors[:1], factors[:-1])) if opens_before else factors
    )
    return dataclasses.replace(
        whole,
        open=opening,
        high=np.maximum(whole.high * factors, opening),
        low=np.minimum(whole.low * factors, opening),
        close=whole.close * factors,
        volume=whole.volume / factors,
    )


def world(factor: float, gap: int = 0, *, opens_before: bool = False, n: int = N) -> Bars:
    """Bars whose prices are multiplied from bar AT on, with a gap of so many bars before it."""
    whole = candles(n, 5, range(AT - gap, AT))
    later = whole.open_time >= START + AT * BAR
    told = moved(whole, np.where(later, factor, 1.0), opens_before=opens_before)
    return lay_out(told, MARKET, START, START + n * BAR)


@pytest.mark.parametrize("opens_before", [False, True])
@pytest.mark.parametrize("gap", [0, 3, 11, 12, 40])
@pytest.mark.parametrize("factor", [1_000, 1e-3, 0.1, 2, 1.5, 2 / 3])
def test_a_new_unit_is_told_twelve_bars_later(factor: float, gap: int, opens_before: bool) -> None:
    bars = world(factor, gap, opens_before=opens_before)
    expected = [] if gap >= WAIT_BARS and max(factor, 1 / factor) < 1.9 else [AT]
    assert lasting(bars, N).tolist() == expected
    assert lasting(bars, AT + WAIT_BARS - 1).tolist() == []
    assert lasting(bars, AT + WAIT_BARS).tolist() == expected
    assert suspected(bars, AT).tolist() == []
    assert suspected(bars, AT + 1).tolist() == expected


@pytest.mark.parametrize("bars_long", [1, 5, 11])
def test_a_spike_that_reverts_is_suspected_and_then_none(bars_long: int) -> None:
    spiked = (np.arange(N) >= AT) & (np.arange(N) < AT + bars_long)
    told = moved(candles(N, 5), np.where(spiked, 1_000.0, 1.0))
    bars = lay_out(told, MARKET, START, START + N * BAR)
    assert suspected(bars, AT + 1).tolist() == [AT]
    assert AT not in suspected(bars, AT + bars_long + 1)
    assert lasting(bars, N).tolist() == []


@given(st.integers(0, 2**32 - 1), st.floats(0.35, 0.6), st.floats(0.04, 0.08))
def test_a_crash_with_aftershocks_is_none(seed: int, fall: float, shock: float) -> None:
    """Such a day as 2021-05-19 had: moves of some 5 % a bar for an hour after the fall."""
    moves = np.random.default_rng(seed).normal(0, 1e-3, 200)
    moves[100] = np.log(1 - fall)
    moves[101:112] = np.random.default_rng(seed).choice([-shock, shock], 11)
    if abs(np.cumsum(moves[101:112])).max() <= abs(moves[100]) / 8:
        return  # shocks that cancel each other: the price stays, and nobody can tell
    close = np.exp(np.cumsum(moves))
    told = Candles.of(START + BAR * np.arange(200), close, close, close, close)
    assert lasting(lay_out(told, MARKET, START, START + 200 * BAR), 200).tolist() == []


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(1, 30))
def test_no_market_that_only_moves_has_one(seed: int, wild: float) -> None:
    whole = candles(500, seed)
    told = Candles.of(whole.open_time, *[whole.close**wild] * 4)
    assert suspected(lay_out(told, MARKET, START, START + 500 * BAR), 500).tolist() == []


@pytest.mark.parametrize("factor", [1_000, 0.1, 2])
def test_once_it_is_known_inputs_are_those_of_the_same_market_in_one_unit(factor: float) -> None:
    found, usual = compute(world(factor, opens_before=True)), compute(world(1))
    known = slice(AT + WAIT_BARS - 1, None)
    np.testing.assert_allclose(found.sigma[known], usual.sigma[known], rtol=0.2)
    np.testing.assert_array_equal(found.values[:AT], usual.values[:AT])
    others = [i for i, name in enumerate(FEATURES) if name not in ("volume", "place")]
    off = np.abs(found.values[known] - usual.values[known])[:, others]
    assert off[:12].max() < 2
    assert off[100:].max() < 0.6
    assert found.sigma[AT] > 20 * usual.sigma[AT] * min(np.log(max(factor, 1 / factor)), 1)


@settings(max_examples=30)
@given(
    st.integers(0, 1_300),
    st.lists(st.integers(1, 1_500), max_size=30, unique=True),
    st.sampled_from([0, 1, 11, 12, 30, 600, 1_040]),
    st.sampled_from([1_000.0, 0.5]),
)
def test_one_origin_gives_the_bits_of_many_wherever_shifts_and_gaps_lie(
    back: int, gaps: list[int], gap: int, factor: float
) -> None:
    """A tick sees an origin's context alone; training sees all that is stored, and the future."""
    lookback, total = 4, 2_600
    shift = total - 1 - back
    missing = {*gaps, *range(shift - gap, shift)} - {0, shift}
    whole = candles(total, 7, missing)
    later = whole.open_time >= START + shift * BAR
    told = moved(whole, np.where(later, factor, 1.0), opens_before=back % 2 == 0)
    bars = lay_out(told, MARKET, START, START + total * BAR)
    at = np.arange(total - 40, total + 1, 8)
    many = before(bars, at, lookback)
    for row, end in enumerate(at):
        start = START + int(end - context_bars(lookback, BAR)) * BAR
        if not np.any((told.open_time >= start) & (told.open_time < START + int(end) * BAR)):
            continue  # a tick has no candle to forecast from
        near = lay_out(told, MARKET, start, START + int(end) * BAR)
        one = before(near, np.array([len(near)]), lookback)
        np.testing.assert_array_equal(one.inputs[0], many.inputs[row])
        assert one.sigma[0] == many.sigma[row]


@pytest.mark.parametrize("origin", range(AT - 1, AT + WAIT_BARS + 3))
def test_no_row_knows_that_it_lasted_before_it_did(origin: int) -> None:
    bars = world(10)
    back = world(10).part(0, origin)
    one, other = compute(bars), compute(back)
    np.testing.assert_array_equal(one.values[:origin], other.values)
    np.testing.assert_array_equal(one.sigma[:origin], other.sigma)


@pytest.mark.parametrize("gap", [0, 5, 30])
def test_inputs_are_counted_the_same_in_another_way(gap: int) -> None:
    bars = world(1_000, gap, opens_before=True)
    found = recount(bars, before(bars, np.arange(AT - 40, N + 1), 4))
    np.testing.assert_allclose(found.held, found.counted, rtol=1e-7, atol=1e-7)


def test_a_target_in_another_unit_than_its_origin_is_unknown() -> None:
    at = np.array([AT - 3, AT, AT + WAIT_BARS - 1, AT + WAIT_BARS])
    before_it, on_it, unknown, after_it = np.isfinite(log_returns(world(2), at, 5, N)).tolist()
    assert before_it == [True] * 3 + [False] * 2
    assert on_it == unknown == [False] * 5
    assert after_it == [True] * 5


def test_a_target_is_unknown_while_nobody_can_tell_and_known_if_it_was_none() -> None:
    spiked = moved(candles(N, 5), np.where(np.arange(N) == AT, 2.0, 1.0))
    bars = lay_out(spiked, MARKET, START, START + N * BAR)
    at = np.array([AT])
    assert np.isnan(log_returns(bars, at, 1, AT + 1)).all()
    assert log_returns(bars, at, 1, AT + 2) == pytest.approx(np.log(2), abs=0.01)
