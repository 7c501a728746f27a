"""Probabilities from paths: counted at a close, bridged between closes, with their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryptocast.errors import CryptocastError, UsageError
from cryptocast.paths import MarketPaths, Simulation, shipped
from cryptocast.paths.questions import (
    LevelQuestion,
    PriceQuestion,
    estimate,
    likelihood,
    touches,
)
from cryptocast.values import Market, ServedModel

ORIGIN = 1_700_000_100
MARKET = Market("sim", "BTC", "EUR", "5m")
MODEL = ServedModel("1", "lstm", None)


def simulation(prices: np.ndarray, markets: int = 1) -> Simulation:
    one = MarketPaths(MARKET, 100.0, 0, MODEL, (0.05, 0.5, 0.95), "paths-5m", prices)
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
    bridged = touches(closes, [level]).mean()
    assert seen < truth - 0.04
    assert abs(bridged - truth) < 0.04
    assert touches(-closes, [-level]) == pytest.approx(touches(closes, [level]))


def test_a_price_that_a_path_closes_beyond_is_touched() -> None:
    assert touches(np.array([[0.01, 0.03, 0.0]]), [0.02])[0, 0] == 1.0
    assert touches(np.zeros((1, 5)), [0.02])[0, 0] == 0.0


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


def normal(count: int = 20_000, markets: int = 1) -> Simulation:
    """Prices around 100, normal with a standard deviation of 1: BTC/EUR, ETH/EUR ..."""
    rng = np.random.default_rng(5)
    symbols = ("BTC", "ETH", "SOL")[:markets]
    made = [
        MarketPaths(
            Market("sim", base, "EUR", "5m"),
            100.0,
            0,
            MODEL,
            (0.05, 0.5, 0.95),
            "paths-5m",
            rng.normal(100.0, 1.0, (count, 1)),
        )
        for base in symbols
    ]
    return Simulation(ORIGIN, 300, 0, shipped().card, tuple(made))


def test_a_quantile_and_the_mean_below_it_are_those_of_a_normal_distribution() -> None:
    quantile = estimate(normal(), LevelQuestion("quantile", 0.05), None)
    assert quantile.value == pytest.approx(100 - 1.6449, abs=4 * quantile.error)
    assert quantile.error == pytest.approx(math.sqrt(0.05 * 0.95 / 20_000) / 0.10314, rel=0.2)
    assert quantile.change == pytest.approx(quantile.value / 100 - 1)
    shortfall = estimate(normal(), LevelQuestion("shortfall", 0.05), None)
    assert shortfall.value == pytest.approx(100 - 2.0627, abs=4 * shortfall.error)
    assert (shortfall.market, shortfall.by) == (MARKET.id, ORIGIN + 300)


def test_the_error_of_a_shortfall_is_how_far_it_varies_from_draw_to_draw() -> None:
    rng = np.random.default_rng(8)
    answers = []
    for _ in range(300):
        prices = rng.normal(100.0, 1.0, (400, 1))
        answers.append(estimate(simulation(prices), LevelQuestion("shortfall", 0.1), None))
    spread = np.std([answer.value for answer in answers])
    assert np.mean([answer.error for answer in answers]) == pytest.approx(spread, rel=0.15)


def test_a_share_of_a_path_counts_as_a_share() -> None:
    prices = np.array([[90.0], [95.0], [100.0], [105.0]])
    assert estimate(simulation(prices), LevelQuestion("shortfall", 0.375), None).value == (
        pytest.approx((90 + 95 / 2) / 1.5)
    )


def test_a_basket_is_worth_its_weights_at_the_origin() -> None:
    joint, weights = normal(markets=3), {"BTC/EUR": 600.0, "sim:SOL/EUR:5m": 400.0}
    btc, _, sol = (one.prices[:, 0] for one in joint.markets)
    worth = 6 * btc + 4 * sol
    low = estimate(joint, LevelQuestion("quantile", 0.1), None, weights)
    assert low.value == pytest.approx(np.quantile(worth, 0.1))
    assert low.change == pytest.approx(low.value / 1000 - 1)
    assert low.market == "BTC/EUR=600,sim:SOL/EUR:5m=400"
    above = likelihood(joint, PriceQuestion("above", (1003.0,)), None, weights)
    assert above.probability == pytest.approx((worth > 1003).mean())


def test_what_is_owed_hedges_what_is_held() -> None:
    joint = normal(markets=2)
    both = estimate(joint, LevelQuestion("shortfall", 0.05), None, {"BTC/EUR": 2.0})
    less = estimate(joint, LevelQuestion("shortfall", 0.05), None, {"BTC/EUR": 2.0, "ETH/EUR": -1})
    btc, eth = (one.prices[:, 0] for one in joint.markets)
    hedged = np.sort(2 * btc - eth)[:1000].mean() / 100
    assert (both.change, less.value) == (pytest.approx(-0.0206, abs=5e-4), pytest.approx(hedged))


@pytest.mark.parametrize(
    ("weights", "message", "exit_code"),
    [
        ({"BTC/EUR": 1.0, "XRP/EUR": 1.0}, "XRP/EUR has no paths from 2023-11-14T22:15:00Z", 3),
        ({"BTC/EUR": 1.0, "ETH/EUR": -1.0}, "--weights BTC/EUR=1,ETH/EUR=-1 add up to 0", 2),
        ({"BTC/EUR": math.inf}, "--weights BTC/EUR=inf add up to inf", 2),
        ({}, "a price belongs to one market, here are 2", 2),
    ],
)
def test_weights_that_make_no_basket_are_one_line(
    weights: dict[str, float], message: str, exit_code: int
) -> None:
    with pytest.raises(CryptocastError, match=message) as raised:
        estimate(normal(100, markets=2), LevelQuestion("quantile", 0.5), None, weights)
    assert raised.value.exit_code == exit_code


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 2.0, math.nan, 0.001, 0.999])
def test_a_level_that_the_paths_cannot_tell_is_refused(level: float) -> None:
    with pytest.raises(UsageError, match="cannot be told by 100 paths") as raised:
        estimate(normal(100), LevelQuestion("quantile", level), None)
    assert ("--paths 1000" in raised.value.hint) == (0 < level < 1)
