"""What the last month says: how large a market's moves were, and how long that lasts."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.dataset import compute, lay_out
from cryptocast.dataset.averages import DECAYS, moves
from cryptocast.dataset.month import month
from cryptocast.values import FEATURES, Candles, FloatArray, Market
from support.synthetic import BAR, MARKET, START

DAY = 288


def normal(number: int) -> FloatArray:
    """The same normal variables for every test."""
    return np.random.default_rng(0).normal(size=number)


def told(moves: FloatArray, market: Market = MARKET) -> dict[str, FloatArray]:
    """The features of a market that makes these moves."""
    step, close = market.interval_seconds, np.exp(np.cumsum(moves))
    times = START + step * np.arange(len(close))
    candles = Candles.of(times, close, close, close, close)
    laid = lay_out(candles, market, START, START + step * len(close))
    return dict(zip(FEATURES, compute(laid).values.T, strict=True))


def test_volatilities_of_days_tell_how_large_moves_were_before_the_last_hours() -> None:
    """After a quiet day, 20 wild ones are remembered longer by a longer span."""
    wild = np.where(np.arange(30 * DAY) < 29 * DAY, 4e-3, 1e-3)
    found = told(wild * normal(len(wild)))
    days = [found[f"volatility_{days}d"][-1] for days in (1, 3, 7, 28)]
    assert days == sorted(days)
    weights = 0.5 ** np.arange(30)  # of the days before, by the shortest half-life
    usual = np.sqrt((weights[0] * 1 + weights[1:].sum() * 16) / weights.sum())
    assert days[0] == pytest.approx(np.log(usual), abs=0.25)
    assert days[3] == pytest.approx(np.log(4), abs=0.25)


def test_the_month_is_read_three_times_a_day() -> None:
    found = told(1e-3 * normal(4 * DAY))
    absolute = found["volatility_1d"] + found["level"]  # against a fixed unit instead of sigma
    changes = np.flatnonzero(np.abs(np.diff(absolute[DAY:])) > 1e-5) + DAY + 1
    assert len(changes) == 9
    assert {(START + BAR * (bar + 1)) % 28_800 for bar in changes.tolist()} == {0}


@pytest.mark.parametrize(("lasts", "best"), [(72, 0.8), (40 * DAY, 0.5 ** (1 / 200))])
def test_the_walk_that_counts_most_forgets_as_soon_as_volatility_passes(
    lasts: int, best: float
) -> None:
    sizes = np.repeat(np.random.default_rng(1).choice([1e-3, 8e-3], 40 * DAY // lasts), lasts)
    close = np.exp(np.cumsum(sizes * normal(len(sizes))))
    times = START + BAR * np.arange(len(close))
    candles = Candles.of(times, close, close, close, close)
    laid = lay_out(candles, MARKET, START, START + len(close) * BAR)
    weights = month(laid, moves(laid), len(laid) - 1).walks[..., 0]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert DECAYS[weights[0].argmax()] == best
    assert weights[0].max() > 0.6


def test_with_nothing_known_yet_all_walks_count_the_same() -> None:
    found = told(1e-3 * normal(DAY))
    spans = [found[name] for name in ("fast_volatility", "medium_volatility", "slow_volatility")]
    for name in ("walk_8", "walk_24"):
        np.testing.assert_allclose(found[name][:8], sum(spans)[:8] / len(DECAYS), atol=1e-6)
        assert (np.abs(found[name] - sum(spans) / len(DECAYS))[DAY // 2 :] > 1e-3).any()


def test_of_candles_over_an_hour_a_month_says_nothing() -> None:
    market = Market(MARKET.source, MARKET.base, MARKET.quote, "2h")
    found = told(1e-3 * normal(600), market)
    assert all((found[f"volatility_{days}d"] == 0).all() for days in (1, 3, 7, 28))


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_a_few_candles_are_enough_at_any_time_of_the_day(hour: int) -> None:
    """Until the month is read for the first time, nothing is known of it."""
    start = START // 86_400 * 86_400 + 3_600 * hour + 4 * BAR
    close = np.exp(np.cumsum(1e-3 * normal(30)))
    candles = Candles.of(start + BAR * np.arange(30), close, close, close, close)
    laid = lay_out(candles, MARKET, start, start + 30 * BAR)
    known = month(laid, moves(laid), 0).squares.any(axis=0)
    read = (start + BAR * np.arange(1, 31)) // 28_800 > start // 28_800
    assert known.tolist() == read.tolist()
