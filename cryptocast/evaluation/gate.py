"""The gate: a challenger becomes production only where it is not worse than what it replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.evaluation.comparison import diebold_mariano
from cryptocast.evaluation.scores import relative_crps
from cryptocast.values import FloatArray, IntArray

LEAST_ORIGINS = 24
"""Fewer judged origins than this decide nothing."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The challenger against one opponent on the gate's origins."""

    opponent: str
    skill: float  # mean over steps (and markets) of 1 - CRPS / CRPS of the opponent
    n: int  # origins
    p_value: float | None  # one-sided, that the challenger is not better


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
) -> Comparison:
    """Compare CRPS [N, H] of the challenger and an opponent at the origins [N], a market each.

    Markets move together, so at one origin they are one observation: their mean. A market
    without a scored origin says nothing; where none has one, `n` is 0.
    """
    skills, differences, moments = [], [], []
    for mine, theirs, moment in zip(challenger, loss, origins, strict=True):
        known = np.isfinite(theirs)
        if not known.any():
            continue
        rows, steps = known.any(axis=1), known.any(axis=0)
        mine, theirs = mine[np.ix_(rows, steps)], theirs[np.ix_(rows, steps)]
        skills.append(1 - relative_crps(mine, theirs))
        # In units of the opponent's mean, so that all steps and markets weigh alike.
        relative = (theirs - mine) / np.nanmean(theirs, axis=0)
        differences.append(np.nanmean(relative, axis=1))
        moments.append(moment[rows])
    if not skills:
        return Comparison(opponent, float("nan"), 0, None)
    _, at = np.unique(np.concatenate(moments), return_inverse=True)
    means = np.bincount(at, weights=np.concatenate(differences)) / np.bincount(at)
    p_value = diebold_mariano(means, challenger[0].shape[1])
    return Comparison(opponent, float(np.mean(skills)), len(means), p_value)


def decide(comparisons: Mapping[str, Comparison]) -> Verdict:
    """Promote when the challenger is not worse than the random walk, and better than production.

    The comparison with production is left out where there is none yet, that with the random
    walk where the challenger is one.
    """
    if not comparisons:
        return Verdict(True, "a random walk needs no better baseline, and nothing serves yet")
    all_of_them = tuple(comparisons.values())
    for role, comparison in comparisons.items():
        name = comparison.opponent
        if comparison.n < LEAST_ORIGINS:
            return Verdict(
                False,
                f"only {comparison.n} unseen origins to judge by, {LEAST_ORIGINS} are needed",
                all_of_them,
            )
        worse = comparison.skill < 0 if role == "random_walk" else comparison.skill <= 0
        if worse:
            word = "worse than" if comparison.skill < 0 else "no better than"
            return Verdict(False, f"{word} {name} ({_words(comparison)})", all_of_them)
    told = "; ".join(f"against {c.opponent} {_words(c)}" for c in all_of_them)
    return Verdict(True, f"not worse than what it replaces: {told}", all_of_them)


def _words(comparison: Comparison) -> str:
    p = comparison.p_value
    chance = "" if p is None else ", p < 0.01" if p < 0.01 else f", p = {p:.2f}"
    return f"skill {comparison.skill:+.2%}, n = {comparison.n} origins{chance}"
