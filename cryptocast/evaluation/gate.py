"""The gate: a challenger becomes production only where it is not worse than what it replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.evaluation.comparison import diebold_mariano
from cryptocast.evaluation.scores import relative_crps
from cryptocast.values import FloatArray

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
    opponent: str, challenger: Sequence[FloatArray], loss: Sequence[FloatArray]
) -> Comparison:
    """Compare CRPS [N, H] of the challenger and an opponent, one pair a market.

    A market without a scored origin says nothing; where none has one, `n` is 0.
    """
    pairs = [(_scored(a), _scored(b)) for a, b in zip(challenger, loss, strict=True)]
    pairs = [(a, b) for a, b in pairs if b.size]
    if not pairs:
        return Comparison(opponent, float("nan"), 0, None)
    skills = [1 - relative_crps(a, b) for a, b in pairs]
    # Each step of each market in units of the opponent's mean, so that all weigh alike.
    with np.errstate(invalid="ignore"):
        differences = [
            np.nanmean((b - a) / np.nanmean(b, axis=0, keepdims=True), axis=1) for a, b in pairs
        ]
    horizon = challenger[0].shape[1]
    joined = np.concatenate(differences)
    return Comparison(
        opponent,
        float(np.mean(skills)),
        len(joined),
        diebold_mariano(joined, horizon),
    )


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
    chance = "" if comparison.p_value is None else f", p = {comparison.p_value:.2f}"
    return f"skill {comparison.skill:+.2%}, n = {comparison.n} origins{chance}"


def _scored(loss: FloatArray) -> FloatArray:
    """The origins and steps that have any score."""
    known = np.isfinite(loss)
    return loss[np.ix_(known.any(axis=1), known.any(axis=0))]
