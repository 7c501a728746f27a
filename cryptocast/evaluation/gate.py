"""The gate: a challenger becomes production only where it is not worse than what it replaces.

The statistic is the mean over steps of the CRPS difference relative to the opponent's CRPS, an
observation an origin. It is resampled in blocks that are longer than targets overlap. A
challenger passes against an opponent where

- its skill, shrunken by how noisy it is, lies above `least_skill`, and
- its skill's lower bound (one-sided, at `confidence`) lies above `-worst_loss`: a loss as
  large as that is ruled out.

`tests/benchmarks/gate_curve.py` says how often which challenger passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cryptocast.config import GateSettings
from cryptocast.evaluation.bootstrap import Resampling, bounds, resampled_sums, standard_error
from cryptocast.evaluation.comparison import diebold_mariano, effective_n
from cryptocast.values import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """The challenger against one opponent on the gate's origins."""

    opponent: str
    skill: float  # mean over steps (and markets) of 1 - CRPS / CRPS of the opponent
    shrunken: float  # what to expect of it: drawn towards 0 by its noise
    low: float  # one-sided bounds of the skill, each at the gate's confidence
    high: float
    n: int  # origins
    effective_n: float | None  # independent ones that would tell as much
    p_value: float | None  # one-sided Diebold-Mariano, that the challenger is not better
    prior: float | None = None  # the skill that it showed elsewhere, which its own is drawn towards


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says, and in words why."""

    promoted: bool
    reason: str
    comparisons: tuple[Comparison, ...] = ()


def compare(
    opponent: str,
    challenger: Sequence[FloatArray],
    loss: Sequence[FloatArray],
    origins: Sequence[IntArray],
    rule: GateSettings,
    prior: float | None = None,
) -> Comparison:
    """Compare CRPS [N, H] of the challenger and an opponent at the origins [N], a market each.

    Markets move together, so at one origin they are one observation: their mean. A market
    without a scored origin says nothing; where none has one, `n` is 0. `prior`: see
    `compare_series`.
    """
    found = [
        (_relative(mine, theirs), moment[np.isfinite(theirs).any(axis=1)])
        for mine, theirs, moment in zip(challenger, loss, origins, strict=True)
        if np.isfinite(theirs).any()
    ]
    if not found:
        return _expected(opponent, prior, rule)
    moments, at = np.unique(np.concatenate([moment for _, moment in found]), return_inverse=True)
    # Scaled so that the mean over all origins is the mean of the markets' skills.
    weighed = [skill * (len(moments) / len(skill) / len(found)) for skill, _ in found]
    series = np.bincount(at, weights=np.concatenate(weighed)).astype(np.float64)
    return compare_series(opponent, series, challenger[0].shape[1], rule, prior)


def compare_series(
    opponent: str,
    skills: FloatArray,
    horizon: int,
    rule: GateSettings,
    prior: float | None = None,
) -> Comparison:
    """Compare by the skill at each origin [N], in the order of time.

    The shrunken skill is the posterior mean where true skills are normal about 0 with the
    standard deviation `prior_skill`: `skill * prior^2 / (prior^2 + standard error^2)`.
    A challenger that has shown a skill elsewhere, on candles of other markets and years, brings
    it as `prior`: then they are normal about that, and the bounds are the posterior's too.
    """
    plan = Resampling.of(len(skills), rule.block_bars or 2 * horizon, rule.resamples)
    skill = float(skills.mean())
    low = high = shrunken = skill
    if len(skills) >= rule.least_origins:
        drawn = resampled_sums(skills[:, None], plan)[:, 0] / len(skills)
        low, high = bounds(skill, drawn, plan, rule.confidence)
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
    )


def _expected(opponent: str, prior: float | None, rule: GateSettings) -> Comparison:
    """A comparison without an origin: what was shown elsewhere, or nothing."""
    nan = float("nan")
    if prior is None:
        return Comparison(opponent, nan, nan, nan, nan, 0, None, None)
    low, high = _normal_bounds(prior, rule.prior_skill, rule)
    return Comparison(opponent, nan, prior, low, high, 0, None, None, prior)


def _normal_bounds(mean: float, spread: float, rule: GateSettings) -> tuple[float, float]:
    reach = NormalDist().inv_cdf(rule.confidence) * spread
    return mean - reach, mean + reach


def decide(comparisons: Mapping[str, Comparison], rule: GateSettings) -> Verdict:
    """Promote where the challenger passes against every opponent.

    The comparison with production is left out where there is none yet, that with the random
    walk where the challenger is one.
    """
    if not comparisons:
        return Verdict(True, "a random walk needs no better baseline, and nothing serves yet")
    all_of_them = tuple(comparisons.values())
    for comparison in all_of_them:
        if (objection := _objection(comparison, rule)) is not None:
            return Verdict(False, objection, all_of_them)
    word = "better" if all(_here(c, rule) for c in all_of_them) else "expected to be better"
    told = "; ".join(f"than {c.opponent}: {_words(c, rule)}" for c in all_of_them)
    return Verdict(True, f"{word} {told}", all_of_them)


def _here(found: Comparison, rule: GateSettings) -> bool:
    """Whether what was seen here says so itself, and not only what was shown elsewhere."""
    return found.prior is None or (found.n >= rule.least_origins and found.skill > 0)


def _objection(found: Comparison, rule: GateSettings) -> str | None:
    """What speaks against the challenger; None where nothing does."""
    if found.n < rule.least_origins and found.prior is None:
        return f"only {found.n} unseen origins to judge by, {rule.least_origins} are needed"
    if found.shrunken <= rule.least_skill:
        if found.n and found.skill == found.low == found.high == 0:
            return f"no better than {found.opponent}: it answers alike (n = {found.n} origins)"
        if found.skill > 0 and found.prior is not None:
            word = "probably no better than"
        elif found.skill > 0:
            word = f"not {rule.least_skill:.2%} better than"
        else:
            word = "worse than" if found.skill < 0 else "no better than"
        return f"{word} {found.opponent} ({_words(found, rule)})"
    if found.low <= -rule.worst_loss:
        return (
            f"it may be worse than {found.opponent} by {rule.worst_loss:.2%} or more "
            f"({_words(found, rule)})"
        )
    return None


def _relative(mine: FloatArray, theirs: FloatArray) -> FloatArray:
    """[N'] skills at the scored origins, whose mean is the mean over steps of relative skills.

    In units of the opponent's mean, so that all steps and markets weigh alike. A step that the
    purge left fewer origins counts more at each of them.
    """
    known = np.isfinite(theirs)
    rows, steps = known.any(axis=1), known.any(axis=0)
    mine, theirs = mine[np.ix_(rows, steps)], theirs[np.ix_(rows, steps)]
    scored = np.isfinite(theirs).sum(axis=0) / len(theirs)
    relative = (theirs - mine) / (np.nanmean(theirs, axis=0) * scored)
    return np.asarray(np.where(np.isfinite(relative), relative, 0.0).mean(axis=1))


def _words(found: Comparison, rule: GateSettings) -> str:
    if found.n == 0:
        return f"no origin here to judge by, skill {found.shrunken:+.2%} on other markets and years"
    if found.n < rule.least_origins and found.prior is not None:
        return (
            f"skill {found.shrunken:+.2%} on other markets and years; here only {found.n} origins "
            f"to judge by (skill {found.skill:+.2%}), {rule.least_origins} are needed"
        )
    p = found.p_value
    chance = "" if p is None else ", p < 0.01" if p < 0.01 else f", p = {p:.2f}"
    alone = "" if found.effective_n is None else f" ({found.effective_n:.0f} effective)"
    drawn = "shrunken"
    if found.prior is not None:
        drawn = f"drawn towards the {found.prior:+.2%} shown elsewhere:"
    return (
        f"skill {found.skill:+.2%}, {drawn} {found.shrunken:+.2%}, {rule.confidence:.0%} lower "
        f"bound {found.low:+.2%}, n = {found.n} origins{alone}{chance}"
    )
