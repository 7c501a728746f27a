from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptocast.dataset import (
    Bars,
    at_origin,
    compute,
    context_bars,
    cut,
    lay_out,
    unfit,
)
from cryptocast.values import FEATURES, Candles, Windows
from support.synthetic import BAR, MARKET, START, bars, candles, part, windows

N = 620  # two days: a profile needs one before
LOOKBACK = 16
CONTEXT = context_bars(LOOKBACK, BAR)
GAPS = (40, 90, 91, 150, 199)


def changed_from(given_candles: Candles, origin: int) -> Candles:
    """Every value of the candles at and after the bar `origin` replaced, some candles gone."""
    random = np.random.default_rng(5)
    later = given_candles.open_time >= START + origin * BAR
    factor = np.where(later, np.exp(random.normal(0, 0.3, len(given_candles))), 1.0)
    wide = np.where(later, 1.5, 1.0)
    return dataclasses.replace(
        given_candles,
        open=given_candles.open * factor,
        high=given_candles.high * factor * wide,
        low=given_candles.low * factor / wide,
        close=given_candles.close * factor,
        volume=given_candles.volume * factor,
    ).take(~later | (random.random(len(given_candles)) < 0.9))


@cache
def both_worlds(origin: int) -> tuple[Windows, Windows]:
    whole = candles(N, 1, GAPS)
    laid = (
        lay_out(c, MARKET, START, START + N * BAR) for c in (whole, changed_from(whole, origin))
    )
    one, other = (windows(world, 0, N) for world in laid)
    return one, other


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("origin", [100, 151, 450])
def test_no_input_of_a_window_knows_what_came_after_its_origin(name: str, origin: int) -> None:
    one, other = both_worlds(origin)
    column = FEATURES.index(name)
    until = START + origin * BAR
    known, same = (world.inputs[world.origin <= until, :, column] for world in (one, other))
    assert len(known) > 50
    np.testing.assert_array_equal(known, same)
    after, differs = (world.inputs[world.origin > until, :, column] for world in (one, other))
    clock = name.startswith(("day", "week"))
    assert clock or after.shape != differs.shape or (after != differs).any()


@pytest.mark.parametrize("origin", [100, 151, 450])
def test_nothing_else_of_a_window_knows_it_either_but_its_targets(origin: int) -> None:
    one, other = both_worlds(origin)
    until = START + origin * BAR
    for quantity in ("origin", "sigma", "log_close", "market"):
        known, same = (getattr(world, quantity)[world.origin <= until] for world in (one, other))
        np.testing.assert_array_equal(known, same)
    # A target is the future: of the origins whose last step lies before the change, the same.
    settled = until - 6 * BAR
    known, same = (world.targets[world.origin <= settled] for world in (one, other))
    np.testing.assert_array_equal(known, same)
    known, same = (world.targets[world.origin == until] for world in (one, other))
    assert (known != same).all()


@settings(max_examples=8)
@given(
    st.integers(CONTEXT, CONTEXT + N - 1),
    st.lists(st.integers(N, CONTEXT + N - 1), max_size=30, unique=True),
)
def test_the_window_of_one_origin_has_the_bits_of_the_windows_of_many(
    origin: int, gaps: list[int]
) -> None:
    total = CONTEXT + N
    whole = candles(total, 2, gaps)
    now = START + origin * BAR
    one = at_origin(lay_out(whole, MARKET, now - CONTEXT * BAR, now), LOOKBACK)
    many = windows(lay_out(whole, MARKET, START, START + total * BAR), 0, total)
    same = many.origin == now
    if same.any():  # it is usable
        for quantity in ("inputs", "sigma", "log_close", "origin"):
            np.testing.assert_array_equal(getattr(one, quantity), getattr(many, quantity)[same])
    assert one.origin.tolist() == [now]


@pytest.mark.parametrize("length", [1, 3, 11, 12, 13, 20])
def test_a_gap_at_the_far_end_of_the_context_changes_no_bit(length: int) -> None:
    origin = CONTEXT + 50
    # Bar 50 is the context's first: the gap begins before it and ends within.
    whole = candles(origin, 2, list(range(50 - length // 2, 50 - length // 2 + length)))
    now = START + origin * BAR
    one = at_origin(lay_out(whole, MARKET, now - CONTEXT * BAR, now), LOOKBACK)
    other = at_origin(lay_out(whole, MARKET, START, now), LOOKBACK)
    np.testing.assert_array_equal(one.inputs, other.inputs)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 119), max_size=60), st.integers(0, 119), st.integers(0, 119))
def test_windows_are_those_of_a_slow_loop(gaps: set[int], first: int, end: int) -> None:
    gaps -= {0}
    laid = bars(120, 3, gaps)
    found = cut(laid, part(first, end), lookback=LOOKBACK, horizon=4, max_stale_bars=3, market=7)
    features = compute(laid)
    close = laid.log_close
    row = 0
    for origin in range(max(first, LOOKBACK), end):
        seen = range(origin - LOOKBACK, origin)
        stale = next(k for k in range(origin) if origin - 1 - k not in gaps)
        if sum(bar in gaps for bar in seen) > LOOKBACK // 4 or stale > 3:
            continue
        assert found.origin[row] == START + origin * BAR
        np.testing.assert_array_equal(found.inputs[row], features.values[list(seen)])
        assert found.sigma[row] == features.sigma[origin - 1]
        assert found.log_close[row] == close[origin - 1]
        targets = [
            close[origin + h] - close[origin - 1]
            if origin + h < end and origin + h not in gaps
            else np.nan
            for h in range(4)
        ]
        np.testing.assert_array_equal(found.targets[row], targets)
        row += 1
    assert len(found) == row
    assert found.inputs.shape == (row, LOOKBACK, len(FEATURES))
    assert found.targets.shape == (row, 4)
    assert (found.market == 7).all()


def test_windows_without_a_gap_take_no_memory_of_their_own() -> None:
    laid = bars(120, 3)
    assert windows(laid, 20, 110).inputs.base is not None
    assert not windows(laid, 20, 110).inputs.flags.owndata


@pytest.mark.parametrize("length", [1, 8, LOOKBACK])
def test_fewer_bars_than_a_lookback_and_an_origin_give_no_window(length: int) -> None:
    found = windows(bars(length, 3), 0, length)
    assert len(found) == 0
    assert found.inputs.shape == (0, LOOKBACK, len(FEATURES))
    assert found.targets.shape == (0, 6)


def test_windows_of_several_markets_stand_one_after_the_other() -> None:
    one, other = bars(60, 3), bars(60, 4)
    parts = [
        cut(b, part(20, 40), lookback=LOOKBACK, horizon=6, max_stale_bars=3, market=i)
        for i, b in enumerate((one, other))
    ]
    both = Windows.concatenate(parts)
    assert both.market.tolist() == [0] * 20 + [1] * 20
    np.testing.assert_array_equal(both.inputs[20:], parts[1].inputs)
    assert Windows.concatenate(parts[:1]) is parts[0]


def test_targets_are_standardised_by_the_volatility_at_the_origin() -> None:
    found = windows(bars(60, 3), 20, 40)
    np.testing.assert_allclose(
        found.standardised[5, 3], found.targets[5, 3] / (found.sigma[5] * np.sqrt(4))
    )


def reason(gaps: list[int], max_stale_bars: int = 3) -> str | None:
    laid: Bars = bars(40, 3, gaps)
    return unfit(laid, np.array([len(laid)]), LOOKBACK, max_stale_bars)[0]


def test_a_whole_lookback_is_fit_to_forecast_from() -> None:
    assert reason([]) is None
    assert reason(list(range(5, 20))) is None  # before the lookback


def test_a_quarter_of_a_lookback_may_be_missing_and_no_more() -> None:
    assert reason([25, 27, 29, 31]) is None
    assert reason([25, 27, 29, 31, 33]) == "missing_bars"


def test_the_newest_candle_may_be_so_old_and_no_older() -> None:
    assert reason([37, 38, 39]) is None
    assert reason([36, 37, 38, 39]) == "stale_data"
    assert reason([39], max_stale_bars=0) == "stale_data"
