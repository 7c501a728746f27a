"""Probabilities from paths: counted at a close, bridged between closes, with their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryptocast.errors import UsageError
from cryptocast.paths import MarketPaths, Simulation, shipped
from cryptocast.paths.questions import PriceQuestion, likelihood, touches
from cryptocast.values import Market, ServedModel

ORIGIN = 1_700_000_100
MARKET = Market("sim", "BTC", "EUR", "5m")
MODEL = ServedModel("1", "lstm", None)


def simulation(prices: np.ndarray, markets: int = 1) -> Simulation:
    one = MarketPaths(MARKET, 100.0, 0, MODEL, (0.05, 0.5, 0.95), prices)
    return Simulation(ORIGIN, 300, 0, shipped().card, (one,) * markets)


FOUR = np.array([[101.0, 99.0], [102.0, 104.0], [97.0, 96.0], [100.5, 101.0]])


@pytest.mark.parametrize(
    ("question", "by", "probability"),
    [
        (PriceQuestion("above", (100.0,)), None, 0.5),
        (PriceQuestion("above", (100.0,)), ORIGIN + 300, 0.75),
        (PriceQuestion("above", (100.0,)), ORIGIN + 599, 0.75),  # the close before it counts
        (PriceQuestion("below", (97.0,)), None, 0.25),
        (PriceQuestion("inside", (96.0, 101.0)), None, 0.75),
        (PriceQuestion("inside", (200.0, 300.0)), None, 0.0),
    ],
)
def test_shares_of_paths_are_counted_at_the_moment(
    question: PriceQuestion, by: int | None, probability: float
) -> None:
    assert likelihood(simulation(FOUR), question, by).probability == probability


def test_the_error_is_that_of_so_many_draws_and_never_zero() -> None:
    half = np.repeat([[90.0], [110.0]], 500, axis=0)
    answer = likelihood(simulation(half), PriceQuestion("above", (100.0,)), None)
    assert answer.error == pytest.approx(math.sqrt(0.25 / 1000), rel=0.01)
    assert likelihood(simulation(half), PriceQuestion("above", (500.0,)), None).error > 0


def test_touching_counts_what_happens_between_the_closes() -> None:
    """A Brownian motion in fine steps, seen at every 20th: the bridge finds what closes miss."""
    fine = np.cumsum(np.random.default_rng(1).normal(0, 0.001, (4000, 240)), axis=1)
    closes = fine[:, 19::20]
    level = 0.001 * math.sqrt(240)
    truth = (fine.max(axis=1) >= level).mean()
    seen = (closes.max(axis=1) >= level).mean()
    bridged = touches(closes, level).mean()
    assert seen < truth - 0.04
    assert abs(bridged - truth) < 0.04
    assert touches(-closes, -level) == pytest.approx(touches(closes, level))


def test_a_price_that_a_path_closes_beyond_is_touched() -> None:
    assert touches(np.array([[0.01, 0.03, 0.0]]), 0.02)[0] == 1.0
    assert touches(np.zeros((1, 5)), 0.02)[0] == 0.0


@pytest.mark.parametrize(
    ("question", "by", "message"),
    [
        (PriceQuestion("above", (0.0,)), None, "--above 0 cannot be answered"),
        (PriceQuestion("touch", (-5.0,)), None, "--touch -5 cannot be answered"),
        (PriceQuestion("below", (math.nan,)), None, "--below nan cannot be answered"),
        (PriceQuestion("inside", (5.0, 4.0)), None, "--inside 5 4 cannot be answered"),
        (PriceQuestion("above", (5.0,)), ORIGIN, "2023-11-14T22:15:00Z is not within the paths"),
        (PriceQuestion("above", (5.0,)), ORIGIN + 900, "is not within the paths"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    question: PriceQuestion, by: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        likelihood(simulation(FOUR), question, by)
    assert "\n" not in str(raised.value)


def test_a_price_is_of_one_market() -> None:
    with pytest.raises(UsageError, match="a price belongs to one market, here are 2"):
        likelihood(simulation(FOUR, markets=2), PriceQuestion("above", (5.0,)), None)
