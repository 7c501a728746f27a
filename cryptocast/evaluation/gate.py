"""The gate: a challenger becomes production only if it is not worse than what it replaces.

The statistic is the mean over steps of the CRPS difference relative to the opponent's CRPS, one
observation per origin. It is resampled in blocks that are longer than targets overlap. A
challenger passes against an opponent if

- its skill, shrunken by its noise, lies above `least_skill`, and
- its skill's lower bound (one-sided, at `confidence`) lies above `-worst_loss`: a loss as
  large as that is ruled out, and
- these origins do not speak against it: the upper bound of the skill on them alone is not below
  0 (or a lower `least_skill`). No skill that it showed elsewhere outweighs that.

`tests/benchmarks/gate_curve.py` measures how often challengers of which skill pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cryptocast.config import GateSettings
from cryptocast.display import chance, percent
from cryptocast.evaluation.comparison import (
    Resampling,
    bounds,
    diebold_mariano,
    effective_n,
    resampled_sums,
    standard_error,
)
from cryptocast.values import OPPONENT_WALK, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """The challenger against one opponent on the gate's origins."""

    opponent: str
    skill: float  # mean over steps (and markets) of 1 - CRPS / CRPS of the opponent
    shrunken: float  # the skill to expect: drawn towards 0 by its noise
    low: float  # one-sided bounds of the skill, each at the gate's confidence
    high: float
    n: int  # origins
    effective_n: float | None  # independent ones that would say as much
    p_value: float | None  # one-sided Diebold-Mariano, that the challenger is not better
    prior: float | None = None  # the skill that it showed elsewhere; its own is drawn towards it
    high_here: float | None = None  # the upper bound of the skill on these origins alone


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of the gate, with its reason in words."""

    promoted: bool
    reason: str
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MarketSkill:
    """The skill of the challenger against one opponent on one market."""

    skill: FloatArray  # [N'] at each scored origin; their mean is the mean over steps
    origins: IntArray  # [N'] Unix seconds


def market_skill(challenger: FloatArray, loss: FloatArray, origins: IntArray) -> MarketSkill:
    """Return the skill by the CRPS [N, H] of the challenger and an opponent at the origins [N]."""
    scored = np.isfinite(loss).any(axis=1)
    skill = _relative(challenger, loss) if scored.any() else np.empty(0)
    return MarketSkill(skill, origins[scored])


def compare(
    opponent: str,
    markets: Sequence[MarketSkill],
    horizon: int,
    rule: GateSettings,
    prior: float | None = None,
) -> Comparison:
    """Compare the challenger with an opponent by its skill on each market.

    Markets move together, so at one origin they are one observation: their mean. A market
    without a scored origin is ignored; if none has one, `n` is 0. `prior` is explained at
    `compare_series`.
    """
    scored = [market for market in markets if len(market.skill)]
    if not scored:
        return _without_origins(opponent, prior, rule)
    moments, at = np.unique(np.concatenate([m.origins for m in scored]), return_inverse=True)
    # Scaled so that the mean over all origins is the mean of the markets' skills.
    weighed = [m.skill * (len(moments) / len(m.skill) / len(scored)) for m in scored]
    series = np.bincount(at, weights=np.concatenate(weighed)).astype(np.float64)
    return compare_series(opponent, series, horizon, rule, prior)


def compare_series(
    opponent: str,
    skills: FloatArray,
    horizon: int,
    rule: GateSettings,
    prior: float | None = None,
) -> Comparison:
    """Compare by the skill at each origin [N], in the order of time.

    The shrunken skill is the posterior mean if true skills are normal about 0 with the standard
    deviation `prior_skill`: `skill * prior^2 / (prior^2 + standard error^2)`. A challenger that
    has shown a skill elsewhere, on candles that it had not learned from, brings it as `prior`:
    then true skills are normal about that, and the bounds are the posterior's too.
    """
    plan = Resampling.of(len(skills), rule.block_bars or 2 * horizon, rule.resamples)
    skill = float(skills.mean())
    low = high = shrunken = skill
    high_here = None
    if len(skills) >= rule.least_origins:
        drawn = resampled_sums(skills[:, None], plan)[:, 0] / len(skills)
        low, high = bounds(skill, drawn, plan, rule.confidence)
        high_here = high
        usual, noise = rule.prior_skill**2, standard_error(drawn, plan) ** 2
        shrunken = (skill * usual + (prior or 0.0) * noise) / (usual + noise)
        if prior is not None:
            spread = math.sqrt(usual * noise / (usual + noise))
            low, high = _normal_bounds(shrunken, spread, rule)
    elif prior is not None:
        shrunken = prior
        low, high = _normal_bounds(prior, rule.prior_skill, rule)
    return Comparison(
        opponent,
        skill,
        shrunken,
        low,
        high,
        len(skills),
        effective_n(skills, horizon),
        diebold_mariano(skills, horizon),
        prior,
        high_here,
    )


def _without_origins(opponent: str, prior: float | None, rule: GateSettings) -> Comparison:
    """Return a comparison without an origin: the skill shown elsewhere, or nothing."""
    nan = float("nan")
    if prior is None:
        return Comparison(opponent, nan, nan, nan, nan, 0, None, None)
    low, high = _normal_bounds(prior, rule.prior_skill, rule)
    return Comparison(opponent, nan, prior, low, high, 0, None, None, prior)


def _normal_bounds(mean: float, spread: float, rule: GateSettings) -> tuple[float, float]:
    reach = NormalDist().inv_cdf(rule.confidence) * spread
    return mean - reach, mean + reach


def decide(comparisons: Mapping[str, Comparison], rule: GateSettings) -> Verdict:
    """Promote if the challenger passes against every opponent.

    The comparison with production is left out if there is none yet, and that with the random
    walk if the challenger is one.
    """
    if not comparisons:
        return Verdict(True, "a random walk needs no better baseline, and nothing serves yet")
    all_of_them = tuple(comparisons.values())
    for comparison in all_of_them:
        if (objection := _objection(comparison, rule)) is not None:
            return Verdict(False, objection, all_of_them)
    return Verdict(True, "; ".join(_grounds(c, rule) for c in all_of_them), all_of_them)


def is_refuted(comparison: Comparison, rule: GateSettings) -> bool:
    """Return whether these origins speak against the challenger, whatever it showed elsewhere."""
    return comparison.high_here is not None and comparison.high_here < min(rule.least_skill, 0)


def _grounds(comparison: Comparison, rule: GateSettings) -> str:
    """Return why the challenger passes against an opponent: it was seen here, or is believed."""
    opponent, p, prior = comparison.opponent, comparison.p_value, comparison.prior
    if comparison.n >= rule.least_origins and p is not None and p <= 1 - rule.confidence:
        return f"better than {opponent}: {_seen(comparison, rule)}"
    expected = percent(comparison.shrunken, 2)
    why = f"{expected} is expected and a loss of {rule.worst_loss:.2%} ruled out"
    if prior is not None and prior > 0:
        why = f"it was {percent(prior, 2)} on candles that it had not learned from"
    return f"not decided here: {_seen(comparison, rule, opponent)}; serves because {why}"


def _objection(comparison: Comparison, rule: GateSettings) -> str | None:
    """Return what speaks against the challenger, or None."""
    n, skill, opponent = comparison.n, comparison.skill, comparison.opponent
    if n < rule.least_origins and comparison.prior is None:
        return f"only {n} unseen origins to judge by, {rule.least_origins} are needed"
    if n and skill == comparison.low == comparison.high == comparison.shrunken == 0:
        return f"no better than {opponent}: it answers alike (n = {n} origins)"
    seen = _seen(comparison, rule)
    if is_refuted(comparison, rule):
        bound = f"{rule.confidence:.0%} upper bound {percent(comparison.high_here, 2)}"
        return f"worse than {opponent} here: {seen}, {bound}"
    word = "promised" if opponent == OPPONENT_WALK else "expected"
    believed = f"{word} {percent(comparison.shrunken, 2)}"
    if comparison.prior is not None and n >= rule.least_origins:
        believed += f", drawn towards the {percent(comparison.prior, 2)} shown elsewhere"
    if comparison.shrunken <= rule.least_skill:
        least = f"{rule.least_skill:.2%} better" if rule.least_skill else "better"
        return f"not shown to be {least} than {opponent}: {seen}, {believed}"
    if comparison.low <= -rule.worst_loss:
        return (
            f"a loss of {rule.worst_loss:.2%} against {opponent} is not ruled out: {seen}, "
            f"{believed}, {rule.confidence:.0%} lower bound {percent(comparison.low, 2)}"
        )
    return None


def _relative(mine: FloatArray, theirs: FloatArray) -> FloatArray:
    """Return skills at the scored origins [N'], whose mean is the mean over steps of their skills.

    They are in units of the opponent's mean, so that all steps and markets count equally. A step
    to which the purge left fewer origins counts more at each of them.
    """
    known = np.isfinite(theirs)
    rows, steps = known.any(axis=1), known.any(axis=0)
    mine, theirs = mine[np.ix_(rows, steps)], theirs[np.ix_(rows, steps)]
    scored = np.isfinite(theirs).sum(axis=0) / len(theirs)
    relative = (theirs - mine) / (np.nanmean(theirs, axis=0) * scored)
    return np.asarray(np.where(np.isfinite(relative), relative, 0.0).mean(axis=1))


def _seen(comparison: Comparison, rule: GateSettings, opponent: str | None = None) -> str:
    """Return what was seen on the origins here, against an opponent that is named if given."""
    n, p = comparison.n, comparison.p_value
    against = "" if opponent is None else f" against {opponent}"
    if n == 0:
        return f"no origin{against} to judge by"
    skill = f"skill {percent(comparison.skill, 2)}{against}"
    if n < rule.least_origins:
        return f"{skill} on only {n} origins, {rule.least_origins} are needed"
    return f"{skill} on {n} origins{'' if p is None else f' ({chance(p)})'}"
