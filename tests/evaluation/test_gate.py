from __future__ import annotations

import math

import numpy as np
import pytest

from cryptocast import evaluation
from cryptocast.evaluation import Comparison, decide
from cryptocast.evaluation.comparison import diebold_mariano
from cryptocast.values import FloatArray

WALK = np.random.default_rng(3).gamma(5, 2, size=(100, 4)) * np.array([1.0, 2.0, 3.0, 4.0])


def compare(opponent: str, challenger: list[FloatArray], loss: list[FloatArray]) -> Comparison:
    """On origins that all markets share."""
    origins = [300 * np.arange(len(market)) for market in loss]
    return evaluation.compare(opponent, challenger, loss, origins)


def against(opponent: str, skill: float, n: int = 288, p_value: float | None = 0.1) -> Comparison:
    return Comparison(opponent, skill, n, p_value)


def test_a_challenger_that_is_better_than_both_is_promoted() -> None:
    verdict = decide(
        {
            "random_walk": against("random_walk", 0.0123, p_value=0.034),
            "production": against("lstm 3", 0.005, p_value=None),
        }
    )
    assert verdict.promoted
    assert verdict.reason == (
        "not worse than what it replaces: against random_walk skill +1.23%, n = 288 origins, "
        "p = 0.03; against lstm 3 skill +0.50%, n = 288 origins"
    )
    assert [c.opponent for c in verdict.comparisons] == ["random_walk", "lstm 3"]


def test_the_random_walk_itself_may_be_promoted_where_nothing_serves() -> None:
    verdict = decide({"random_walk": against("random_walk", 0.0, p_value=None)})
    assert verdict.promoted
    assert verdict.reason == (
        "not worse than what it replaces: against random_walk skill +0.00%, n = 288 origins"
    )


def test_a_challenger_that_is_worse_than_the_random_walk_is_refused() -> None:
    verdict = decide({"random_walk": against("random_walk", -0.021, p_value=0.91)})
    assert not verdict.promoted
    assert verdict.reason == "worse than random_walk (skill -2.10%, n = 288 origins, p = 0.91)"


@pytest.mark.parametrize(
    ("skill", "reason"),
    [
        (0.0, "no better than lstm 3 (skill +0.00%, n = 288 origins, p = 0.10)"),
        (-0.01, "worse than lstm 3 (skill -1.00%, n = 288 origins, p = 0.10)"),
    ],
)
def test_production_stays_where_the_challenger_is_no_better(skill: float, reason: str) -> None:
    verdict = decide(
        {
            "random_walk": against("random_walk", 0.02),
            "production": against("lstm 3", skill),
        }
    )
    assert not verdict.promoted
    assert verdict.reason == reason
    assert len(verdict.comparisons) == 2


def test_too_few_origins_decide_nothing() -> None:
    for n in (0, 23):
        verdict = decide({"random_walk": against("random_walk", 0.5, n=n)})
        assert not verdict.promoted
        assert verdict.reason == f"only {n} unseen origins to judge by, 24 are needed"
    assert decide({"random_walk": against("random_walk", 0.5, n=24)}).promoted


def test_the_skill_weighs_each_step_alike() -> None:
    found = compare("random_walk", [WALK * np.array([0.8, 1.0, 1.0, 1.0])], [WALK])
    assert found.opponent == "random_walk"
    assert found.skill == pytest.approx(0.05)
    assert found.n == 100


def test_the_p_value_is_that_of_the_mean_relative_difference_over_the_whole_horizon() -> None:
    challenger = WALK * np.random.default_rng(1).uniform(0.9, 1.05, WALK.shape)
    relative = ((WALK - challenger) / WALK.mean(axis=0)).mean(axis=1)
    found = compare("random_walk", [challenger], [WALK])
    assert found.p_value == pytest.approx(diebold_mariano(relative, 4))
    assert found.skill == pytest.approx(relative.mean())


def test_equal_losses_are_no_difference() -> None:
    found = compare("random_walk", [WALK], [WALK])
    assert (found.skill, found.n, found.p_value) == (0.0, 100, None)


def test_markets_weigh_alike_whatever_their_volatility() -> None:
    found = compare("lstm 1", [WALK * 0.8, WALK * 100], [WALK, WALK * 100])
    assert found.skill == pytest.approx(0.1)
    assert found.n == 100  # the markets share their origins


def test_what_is_unscored_does_not_count() -> None:
    purged = WALK.copy()
    for step in range(1, 4):
        purged[100 - step :, step] = np.nan
    purged[7] = np.nan  # no step of this origin was ever scored
    found = compare("random_walk", [purged * 0.9], [purged])
    assert found.skill == pytest.approx(0.1)
    assert found.n == 99


def test_a_market_without_a_scored_origin_says_nothing() -> None:
    nothing = np.full_like(WALK, np.nan)
    found = compare("random_walk", [WALK * 1.1, nothing], [WALK, nothing])
    assert found.skill == pytest.approx(-0.1)
    assert found.n == 100
    assert not decide({"random_walk": found}).promoted


def test_where_no_market_has_one_nothing_is_decided() -> None:
    nothing = np.full_like(WALK, np.nan)
    for losses in ([nothing, nothing], [np.empty((0, 4))]):
        found = compare("random_walk", losses, losses)
        assert math.isnan(found.skill)
        assert (found.n, found.p_value) == (0, None)
        assert not decide({"random_walk": found}).promoted


def test_markets_at_one_origin_are_one_observation() -> None:
    challenger = WALK * np.random.default_rng(1).uniform(0.9, 1.05, WALK.shape)
    alone = compare("random_walk", [challenger], [WALK])
    twins = compare("random_walk", [challenger, challenger], [WALK, WALK])
    assert (twins.n, twins.p_value) == (alone.n, pytest.approx(alone.p_value))
    apart = [300 * np.arange(100), 300 * np.arange(100, 200)]
    both = evaluation.compare("random_walk", [challenger] * 2, [WALK] * 2, apart)
    assert both.n == 200


def test_a_small_p_value_is_not_called_zero() -> None:
    verdict = decide({"random_walk": against("the random walk", 0.01, p_value=0.0004)})
    assert verdict.reason.endswith("n = 288 origins, p < 0.01")
