"""The figures that an audit judges by: edges of a point forecast, coverage, skill against a truth.

Quantiles are [N, H, Q] and targets [N, H], both log-returns from the last close.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cryptocast.display import percent
from cryptocast.evaluation.comparison import diebold_mariano
from cryptocast.evaluation.metrics import inside, median
from cryptocast.evaluation.scores import relative_crps
from cryptocast.values import FloatArray, IntArray

_COVERAGE_ERRORS = 3.0  # standard errors that a coverage may be off by


@dataclass(frozen=True, slots=True)
class Edge:
    """One measure of a point forecast over the first `steps` steps, against the last price."""

    measure: str  # direction accuracy, relative MAE
    steps: int
    value: float
    excess: float  # above 0 is better than the last price
    n: float  # effective number of origins, with the overlap taken out
    p_value: float  # one-sided, that there is no skill

    @property
    def shown(self) -> str:
        """The value in words: a MAE by how much it is above that of the last price."""
        if self.measure == "direction accuracy":
            return percent(self.value, sign=False)
        return percent(-self.excess, 2)

    def __str__(self) -> str:
        return f"{self.measure} {self.shown} at {step_range(self.steps)} (n = {self.n:,.0f})"


@dataclass(frozen=True, slots=True)
class RangeCoverage:
    """The share of targets inside a central range, over the first `steps` steps."""

    share: float  # the share that the range claims to hold
    steps: int
    coverage: float
    tolerance: float  # how far an honest coverage may be from the share

    @property
    def off(self) -> bool:
        """True if the coverage is further from the share than chance explains."""
        return abs(self.coverage - self.share) > self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.coverage:.1%} in the {self.share:.0%} range at {step_range(self.steps)} "
            f"(+-{self.tolerance:.1%})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class JudgedForecasts:
    """Forecasts at N origins of all markets with what came, market by market in order of time."""

    quantiles: FloatArray  # [N, H, Q]
    targets: FloatArray  # [N, H]
    moment: IntArray  # [N] equal moments are one observation: markets move together
    levels: tuple[float, ...]

    @property
    def point(self) -> FloatArray:
        """The point forecast [N, H]: the median."""
        return median(self.quantiles, self.levels)

    @classmethod
    def joined(cls, parts: Sequence[JudgedForecasts]) -> JudgedForecasts:
        """Return the origins of all parts together."""
        return cls(
            np.concatenate([part.quantiles for part in parts]),
            np.concatenate([part.targets for part in parts]),
            np.concatenate([part.moment for part in parts]),
            parts[0].levels,
        )


def step_range(steps: int) -> str:
    """Return in words which steps a figure over the first `steps` steps covers."""
    return "step 1" if steps == 1 else f"steps 1 to {steps}"


def independent_origins(origins: int, steps: int) -> float:
    """Return how many independent observations the first `steps` steps of successive origins hold.

    The targets of step h overlap those of h - 1 origins, and the steps of an origin move as
    one: the standard deviation of their mean is at most that of one step times the mean of
    sqrt(h) (each step counts as origins / h; fully correlated between steps).
    """
    return float(origins / np.mean(np.sqrt(np.arange(1, steps + 1))) ** 2)


def edges(judged: JudgedForecasts) -> list[Edge]:
    """Return direction accuracy and relative MAE at step 1 and over all steps.

    The list is empty for a model whose median is the last price, or if no price moved.
    """
    horizon = judged.targets.shape[1]
    return [
        edge
        for steps in dict.fromkeys((1, horizon))
        for edge in (_direction_edge(judged, steps), _error_edge(judged, steps))
        if edge is not None
    ]


def _direction_edge(judged: JudgedForecasts, steps: int) -> Edge | None:
    point, targets = judged.point[:, :steps], judged.targets[:, :steps]
    directed = (point != 0) & (targets != 0) & np.isfinite(targets)
    if not directed.any():
        return None
    accuracy = float((np.sign(point) == np.sign(targets))[directed].mean())
    n = independent_origins(len(np.unique(judged.moment[directed.any(axis=1)])), steps)
    chance = float(special.bdtrc(round(accuracy * n) - 1, round(n), 0.5))
    return Edge("direction accuracy", steps, accuracy, accuracy - 0.5, n, chance)


def _error_edge(judged: JudgedForecasts, steps: int) -> Edge | None:
    point, targets = judged.point[:, :steps], judged.targets[:, :steps]
    known = np.isfinite(targets)
    naive, error = np.abs(targets)[known], np.abs(targets - point)[known]
    if not (point != 0).any() or not naive.sum():
        return None
    # In the test every step weighs alike, and markets at one moment are one observation.
    unit = np.sqrt(np.arange(1, steps + 1)) * np.ones_like(targets)
    origins, origin_of = np.unique(np.nonzero(known)[0], return_inverse=True)
    by_origin = np.bincount(origin_of, (naive - error) / unit[known]) / np.bincount(origin_of)
    moments, moment_of = np.unique(judged.moment[origins], return_inverse=True)
    difference = np.bincount(moment_of, by_origin) / np.bincount(moment_of)
    ratio = float(error.sum() / naive.sum())
    chance = diebold_mariano(difference, steps)
    n = independent_origins(len(moments), steps)
    return Edge("relative MAE", steps, ratio, 1 - ratio, n, 1.0 if chance is None else chance)


def range_coverages(
    judged: JudgedForecasts, shares: Sequence[float], learned_origins: int
) -> list[RangeCoverage]:
    """Return the coverage of each central range at step 1 and over all steps.

    The tolerance is three standard errors of a binomial share, at the effective numbers of the
    origins that were judged and of those that the ranges were learned from. Ranges whose ends
    are not among the levels are left out.
    """
    coverages = []
    horizon = judged.targets.shape[1]
    for share in shares:
        hit = inside(judged.quantiles, judged.targets, judged.levels, share)
        for steps in dict.fromkeys((1, horizon)):
            column = hit[:, :steps]
            origins = int(np.isfinite(column).any(axis=1).sum())
            if not origins:  # the levels hold no such range
                continue
            weight = 1 / independent_origins(origins, steps)
            weight += 1 / independent_origins(max(learned_origins, 1), steps)
            tolerance = _COVERAGE_ERRORS * math.sqrt(share * (1 - share) * weight)
            coverages.append(RangeCoverage(share, steps, float(np.nanmean(column)), tolerance))
    return coverages


@dataclass(frozen=True, slots=True)
class TruthSkill:
    """The CRPS skill of a model against the true distribution, which nothing can beat."""

    skill: float
    noise: float | None  # half of its 90 % interval; None if there are too few origins to tell
    p_value: float | None  # one-sided, that there is no skill


def skill_against_truth(loss: Sequence[FloatArray], truth: Sequence[FloatArray]) -> TruthSkill:
    """Compare the CRPS [N, H] of a model and of the true distribution, an entry per random walk.

    The test is Student's t of the means of blocks of 2 H origins. Targets overlap so far that a
    walk of a day is worth few independent ones, and how volatile it happened to be favours wide
    or narrow ranges throughout: the long-run variance of all origins takes that for a skill.
    """
    blocks: list[float] = []
    for mine, theirs in zip(loss, truth, strict=True):
        known = np.isfinite(theirs).any(axis=0)
        relative = (theirs - mine)[:, known] / np.nanmean(theirs[:, known], axis=0)
        origins = np.nanmean(relative[np.isfinite(relative).any(axis=1)], axis=1)
        number = max(len(origins) // (2 * mine.shape[1]), 1)
        blocks += [float(block.mean()) for block in np.array_split(origins, number)]
    skill = 1 - relative_crps(np.concatenate(loss), np.concatenate(truth))
    error = float(np.std(blocks, ddof=1)) / math.sqrt(len(blocks)) if len(blocks) > 1 else 0.0
    if error == 0:
        return TruthSkill(skill, None, None)
    freedom = len(blocks) - 1  # of Student's t
    return TruthSkill(
        skill,
        float(special.stdtrit(freedom, 0.95)) * error,
        float(special.stdtr(freedom, -np.mean(blocks) / error)),
    )
