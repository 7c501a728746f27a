from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cryptocast import evaluation
from cryptocast.config import GateSettings
from cryptocast.display import percent
from cryptocast.evaluation import Comparison, Verdict
from cryptocast.evaluation.comparison import diebold_mariano
from cryptocast.values import FloatArray

RULE = GateSettings()
WALK = np.random.default_rng(3).gamma(5, 2, size=(100, 4)) * np.array([1.0, 2.0, 3.0, 4.0])


def compare(
    opponent: str,
    challenger: list[FloatArray],
    loss: list[FloatArray],
    rule: GateSettings = RULE,
    prior: float | None = None,
    starts: tuple[int, ...] = (0, 0),
) -> Comparison:
    """On origins that all markets share, unless one starts elsewhere."""
    skills = [
        evaluation.market_skill(mine, theirs, 300 * (start + np.arange(len(theirs))))
        for mine, theirs, start in zip(challenger, loss, starts, strict=False)
    ]
    return evaluation.compare(opponent, skills, loss[0].shape[1], rule, prior)


def against(opponent: str, skill: float, **more: Any) -> Comparison:
    known = Comparison(opponent, skill, skill / 4, skill - 0.005, skill + 0.005, 288, 21.4, 0.1)
    return dataclasses.replace(known, **more)


def decide(**comparisons: Comparison) -> Verdict:
    return evaluation.decide(comparisons, RULE)


SEEN = "skill {} on 288 origins (p = 0.10)"


def test_a_challenger_that_is_better_than_both_is_promoted() -> None:
    verdict = decide(
        random_walk=against("the random walk", 0.0124, p_value=0.034),
        production=against("production version 3", 0.008, p_value=0.0004),
    )
    assert verdict.promoted
    assert verdict.reason == (
        "better than the random walk: skill +1.24% on 288 origins (p = 0.03); "
        "better than production version 3: skill +0.80% on 288 origins (p < 0.01)"
    )
    assert [c.opponent for c in verdict.comparisons] == ["the random walk", "production version 3"]


@pytest.mark.parametrize(("p_value", "shown"), [(0.101, " (p = 0.10)"), (0.52, " (p = 0.52)")])
def test_what_may_be_chance_is_not_called_better(p_value: float, shown: str) -> None:
    verdict = decide(random_walk=against("the random walk", 0.0124, p_value=p_value))
    assert verdict.promoted
    assert verdict.reason == (
        f"not decided here: skill +1.24% against the random walk on 288 origins{shown}; "
        "serves because +0.31% is expected and a loss of 1.00% ruled out"
    )
    unknown = against("the random walk", 0.0124, p_value=None)
    assert "better" not in decide(random_walk=unknown).reason


def test_a_random_walk_may_be_promoted_where_nothing_serves() -> None:
    verdict = decide()
    assert verdict.promoted
    assert verdict.reason == "a random walk needs no better baseline, and nothing serves yet"


@pytest.mark.parametrize(
    ("skill", "believed"),
    [
        (0.0, "expected 0.00%"),
        (-0.004, "expected -0.10%"),
    ],
)
@pytest.mark.parametrize("role", ["random_walk", "production"])
def test_a_challenger_that_is_no_better_than_an_opponent_is_refused(
    role: str, skill: float, believed: str
) -> None:
    other = "production" if role == "random_walk" else "random_walk"
    verdict = decide(**{role: against("lstm 3", skill), other: against("it", 0.02)})
    assert not verdict.promoted
    seen = SEEN.format(percent(skill, 2))
    assert verdict.reason == f"not shown to be better than lstm 3: {seen}, {believed}"
    assert len(verdict.comparisons) == 2


def test_a_challenger_whose_loss_could_be_large_is_refused() -> None:
    verdict = decide(random_walk=against("the random walk", 0.004, low=-0.01))
    assert not verdict.promoted
    assert verdict.reason == (
        "a loss of 1.00% against the random walk is not ruled out: "
        + SEEN.format("+0.40%")
        + ", promised +0.10%, 90% lower bound -1.00%"
    )
    assert decide(random_walk=against("the random walk", 0.004, low=-0.0099)).promoted


def test_a_skill_can_be_demanded() -> None:
    rule = GateSettings(least_skill=0.005)
    verdict = evaluation.decide({"random_walk": against("the random walk", 0.016)}, rule)
    assert verdict.reason.startswith(
        "not shown to be 0.50% better than the random walk: skill +1.60%"
    )
    assert evaluation.decide({"random_walk": against("the random walk", 0.0204)}, rule).promoted


def test_too_few_origins_decide_nothing() -> None:
    for n in (0, 23):
        verdict = decide(random_walk=against("random_walk", 0.5, n=n))
        assert not verdict.promoted
        assert verdict.reason == f"only {n} unseen origins to judge by, 24 are needed"
    assert decide(random_walk=against("random_walk", 0.5, n=24)).promoted


def test_the_bounds_lie_about_the_skill_and_noise_shrinks_it() -> None:
    challenger = WALK * np.random.default_rng(1).uniform(0.8, 1.15, WALK.shape)
    found = compare("random_walk", [challenger], [WALK])
    assert found.low < found.skill < found.high
    assert 0 < found.shrunken < found.skill
    assert 0 < (found.effective_n or 0) <= found.n
    sure = compare("random_walk", [challenger], [WALK], GateSettings(prior_skill=10))
    assert sure.shrunken == pytest.approx(found.skill, rel=1e-3)
    surer = compare("random_walk", [challenger], [WALK], GateSettings(confidence=0.99))
    assert surer.low < found.low
    assert found == compare("random_walk", [challenger], [WALK])


def test_the_shrunken_skill_is_the_posterior_mean() -> None:
    series = np.random.default_rng(2).normal(0.01, 0.05, 400)
    rule = GateSettings(block_bars=1, prior_skill=0.002, resamples=20_000)
    found = evaluation.compare_series("it", series, 24, rule)
    error = series.std() / 20
    factor = 0.002**2 / (0.002**2 + error**2)
    assert found.shrunken == pytest.approx(series.mean() * factor, rel=0.03)
    assert found.low == pytest.approx(series.mean() - stats.norm.ppf(0.9) * error, abs=2e-4)


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
    assert (found.skill, found.shrunken, found.low, found.n) == (0.0, 0.0, 0.0, 100)
    assert (found.effective_n, found.p_value) == (None, None)
    assert not decide(random_walk=found).promoted


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
    assert not decide(random_walk=found).promoted


def test_where_no_market_has_one_nothing_is_decided() -> None:
    nothing = np.full_like(WALK, np.nan)
    for losses in ([nothing, nothing], [np.empty((0, 4))]):
        found = compare("random_walk", losses, losses)
        assert math.isnan(found.skill)
        assert (found.n, found.p_value) == (0, None)
        assert not decide(random_walk=found).promoted


def test_markets_at_one_origin_are_one_observation() -> None:
    challenger = WALK * np.random.default_rng(1).uniform(0.9, 1.05, WALK.shape)
    alone = compare("random_walk", [challenger], [WALK])
    twins = compare("random_walk", [challenger, challenger], [WALK, WALK])
    assert (twins.n, twins.p_value) == (alone.n, pytest.approx(alone.p_value))
    both = compare("random_walk", [challenger] * 2, [WALK] * 2, starts=(0, 100))
    assert both.n == 200


# A skill that was shown elsewhere, which the one here is drawn towards.

SHOWN = 0.008


def noisy(mean: float, n: int = 288, spread: float = 0.05) -> FloatArray:
    """[n] skills at origins, their mean exactly that."""
    series = np.random.default_rng(4).normal(0, spread, n)
    return np.asarray(series - series.mean() + mean)


def here(mean: float, prior: float | None, rule: GateSettings = RULE, **more: Any) -> Comparison:
    return evaluation.compare_series("the random walk", noisy(mean, **more), 24, rule, prior)


def test_without_a_prior_nothing_is_drawn_anywhere_but_to_zero() -> None:
    bare = evaluation.compare_series("the random walk", noisy(0.004), 24, RULE)
    assert bare == here(0.004, None)
    assert bare.prior is None
    zero = here(0.004, 0.0)  # the same belief, whose bounds are the posterior's
    assert zero.shrunken == bare.shrunken
    assert zero.high - zero.low < bare.high - bare.low


@pytest.mark.parametrize("mean", [-0.004, 0.0, 0.004, 0.02])
def test_a_prior_draws_the_skill_towards_it(mean: float) -> None:
    found, bare = here(mean, SHOWN), here(mean, None)
    assert (found.skill, found.n, found.p_value) == (bare.skill, bare.n, bare.p_value)
    assert min(mean, SHOWN) < found.shrunken < max(mean, SHOWN)
    assert found.shrunken > bare.shrunken
    assert found.low < found.shrunken < found.high
    assert found.prior == SHOWN


def test_drawn_towards_a_prior_is_the_posterior_of_a_normal_about_it() -> None:
    rule = GateSettings(block_bars=1, prior_skill=0.002, resamples=20_000)
    found = here(0.01, SHOWN, rule, n=400)
    error = noisy(0.01, 400).std() / 20
    weight = 0.002**2 / (0.002**2 + error**2)
    assert found.shrunken == pytest.approx(SHOWN + (0.01 - SHOWN) * weight, rel=0.01)
    spread = 0.002 * error / math.hypot(0.002, error)
    assert found.low == pytest.approx(found.shrunken - stats.norm.ppf(0.9) * spread, abs=5e-5)
    assert found.high - found.shrunken == pytest.approx(found.shrunken - found.low)


def test_the_more_is_seen_here_the_less_what_was_shown_elsewhere_counts() -> None:
    rule = GateSettings(block_bars=1, resamples=200)
    drawn = [here(-0.01, SHOWN, rule, n=n, spread=0.15).shrunken for n in (48, 480, 4_800, 9_600)]
    assert drawn == sorted(drawn, reverse=True)
    assert drawn[0] > 0
    assert drawn[-1] == pytest.approx(-0.01, abs=1e-3)


def test_clear_evidence_here_against_it_refuses_whatever_it_has_shown() -> None:
    against_it = here(-0.02, SHOWN)
    assert evaluation.is_refuted(against_it, RULE)
    verdict = decide(random_walk=against_it)
    assert not verdict.promoted
    assert verdict.reason.startswith(
        "worse than the random walk here: skill -2.00% on 288 origins (p = 1.00), 90% upper bound"
    )
    chance = here(-0.002, SHOWN, spread=0.2)
    assert not evaluation.is_refuted(chance, RULE)
    assert decide(random_walk=chance).promoted
    assert not decide(random_walk=here(-0.002, None, spread=0.2)).promoted


def test_no_skill_shown_elsewhere_outweighs_evidence_against_it_here() -> None:
    found = here(-0.004, 0.5, spread=0.02)  # absurdly much
    assert found.shrunken > 0.001
    assert found.low > 0
    assert evaluation.is_refuted(found, RULE)
    assert not decide(random_walk=found).promoted
    assert here(-0.004, None, spread=0.02).high_here == found.high_here


@pytest.mark.parametrize("empty", [True, False])
def test_without_an_origin_the_prior_alone_decides(empty: bool) -> None:
    losses = [np.empty((0, 4))] if empty else [np.full_like(WALK, np.nan)]

    def judged(prior: float) -> Verdict:
        found = compare("the random walk", losses, losses, RULE, prior)
        assert math.isnan(found.skill)
        assert (found.n, found.p_value, found.effective_n, found.prior) == (0, None, None, prior)
        assert found.shrunken == prior
        reach = stats.norm.ppf(RULE.confidence) * RULE.prior_skill
        assert (found.low, found.high) == pytest.approx((prior - reach, prior + reach))
        return decide(random_walk=found)

    assert judged(0.0081).promoted
    assert judged(0.0081).reason == (
        "not decided here: no origin against the random walk to judge by; serves because it was "
        "+0.81% on candles that it had not learned from"
    )
    bad = judged(-0.004)
    assert not bad.promoted
    assert bad.reason == (
        "not shown to be better than the random walk: no origin to judge by, promised -0.40%"
    )
    assert not judged(0.0).promoted


def test_a_prior_too_unsure_rules_no_large_loss_out() -> None:
    rule = GateSettings(prior_skill=0.02)
    nothing = [np.empty((0, 4))]
    found = compare("it", nothing, nothing, rule, 0.008)
    verdict = evaluation.decide({"random_walk": found}, rule)
    assert not verdict.promoted
    assert verdict.reason == (
        "a loss of 1.00% against it is not ruled out: no origin to judge by, expected +0.80%, "
        "90% lower bound -1.76%"
    )


@pytest.mark.parametrize("n", [1, 23])
def test_fewer_origins_than_are_needed_are_shown_and_the_prior_decides(n: int) -> None:
    found = here(-0.03, SHOWN, n=n)
    assert (found.n, found.shrunken) == (n, SHOWN)
    assert found.skill == pytest.approx(-0.03)
    assert decide(random_walk=found).promoted
    assert not evaluation.is_refuted(found, RULE)
    assert decide(random_walk=found).reason == (
        f"not decided here: skill -3.00% against the random walk on only {n} origins, 24 are "
        f"needed; serves because it was {SHOWN:+.2%} on candles that it had not learned from"
    )
    assert not decide(random_walk=here(-0.03, None, n=n)).promoted


def test_a_prior_that_outweighs_a_loss_here_is_no_claim_of_what_was_seen() -> None:
    found = against(
        "the random walk", -0.0009, prior=0.009, shrunken=0.002, low=-0.004, p_value=0.52
    )
    assert decide(random_walk=found).reason == (
        "not decided here: skill -0.09% against the random walk on 288 origins (p = 0.52); "
        "serves because it was +0.90% on candles that it had not learned from"
    )


def test_a_refusal_says_what_the_skill_was_drawn_towards() -> None:
    rival = "the base network (version 2)"
    found = against(rival, 0.0016, prior=-0.009, shrunken=-0.0023, low=-0.01)
    assert decide(rival=found).reason == (
        "not shown to be better than the base network (version 2): skill +0.16% on 288 origins "
        "(p = 0.10), expected -0.23%, drawn towards the -0.90% shown elsewhere"
    )
