"""The table of scores of every candidate and baseline on the same origins and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cryptocast import schemas
from cryptocast.evaluation import metrics
from cryptocast.evaluation.comparison import (
    Resampling,
    block_length,
    bounds,
    diebold_mariano,
    effective_n,
    long_run_variance,
    resampled_sums,
    wilson,
)
from cryptocast.values import FloatArray, IntArray

CONFIDENCE = 0.9
"""The confidence of the intervals of skill and direction."""

RESAMPLES = 1000
"""Number of resamples that an interval of skill is computed from."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """The forecasts [N, H, Q] of a model as log-returns; a baseline has no version."""

    model: str
    version: str | None
    quantiles: FloatArray

    @property
    def is_walk(self) -> bool:
        """True for the baseline that all others are compared with."""
        return self.version is None and self.model == "random_walk"


@dataclass(frozen=True, slots=True, eq=False)
class _Figures:
    """The figures of a candidate at each origin and step, [N, H] unless said otherwise."""

    candidate: Candidate
    loss: FloatArray  # CRPS in bp
    error: FloatArray  # of the median, bp
    hit: FloatArray  # 1: the right direction, 0: the wrong one, NaN: none
    inside80: FloatArray
    inside90: FloatArray
    qlike: FloatArray
    below: IntArray  # [H, Q]

    @classmethod
    def of(cls, candidate: Candidate, targets: FloatArray, levels: Sequence[float]) -> _Figures:
        quantiles = candidate.quantiles
        middle = metrics.median(quantiles, levels)
        moved = (middle != 0) & (targets != 0) & np.isfinite(targets)
        return cls(
            candidate,
            metrics.crps_bp(quantiles, targets, levels),
            np.abs(targets - middle) * metrics.BP,
            np.where(moved, np.sign(middle) == np.sign(targets), np.nan),
            metrics.inside(quantiles, targets, levels, 0.8),
            metrics.inside(quantiles, targets, levels, 0.9),
            metrics.qlike(quantiles, targets, levels),
            metrics.below(quantiles, targets),
        )


def score(
    candidates: Sequence[Candidate],
    targets: FloatArray,
    levels: Sequence[float],
    market: str,
) -> pl.DataFrame:
    """Return the scores of one market (`schemas.SCORES`) by candidate, per step and over all.

    The candidates must include the baselines `random_walk` and `constant` (version None).
    `targets` [N, H] are log-returns in the order of time.
    """
    figures = [_Figures.of(c, targets, levels) for c in candidates]
    baseline = {f.candidate.model: f.loss for f in figures if not f.candidate.version}
    walk, constant = baseline["random_walk"], baseline["constant"]
    steps = (None, *range(1, targets.shape[1] + 1))
    intervals = {step: _skill_intervals([f.loss for f in figures], walk, step) for step in steps}
    rows = [
        {
            "model": each.candidate.model,
            "version": each.candidate.version,
            "market": market,
            "step": step,
            **_row(each, walk, constant, targets, levels, step),
            **intervals[step][i],
        }
        for i, each in enumerate(figures)
        for step in steps
    ]
    return schemas.check(pl.DataFrame(rows, schema=schemas.SCORES), schemas.SCORES)


def relative_crps(loss: FloatArray, baseline: FloatArray) -> float:
    """Return the mean over steps of CRPS relative to the baseline's: below 1 is better.

    Both are [N, H] on the same origins. Each step counts equally, however wide it is. NaN if
    nothing is scored.
    """
    ratios = _mean(loss) / _mean(baseline)
    return float(np.mean(ratios)) if len(ratios) else float("nan")


def _row(
    figures: _Figures,
    walk: FloatArray,
    constant: FloatArray,
    targets: FloatArray,
    levels: Sequence[float],
    step: int | None,
) -> Mapping[str, Any]:
    horizon = targets.shape[1]
    at = slice(None) if step is None else slice(step - 1, step)
    better = metrics.row_means(walk[:, at] - figures.loss[:, at])
    n = int(np.isfinite(targets[:, at]).sum())
    shares = figures.below[at].sum(axis=0) / max(n, 1)
    is_walk = figures.candidate.is_walk
    low, high = direction_interval(figures.hit[:, at], step or horizon)
    return {
        "n": n,
        "effective_n": None if is_walk else effective_n(better, step or horizon),
        "crps_bp": metrics.mean(figures.loss[:, at]),
        "mae_bp": metrics.mean(figures.error[:, at]),
        "relative_mae": _ratio(figures.error[:, at], metrics.BP * np.abs(targets[:, at])),
        "direction_accuracy": metrics.mean(figures.hit[:, at]),
        "direction_low": low,
        "direction_high": high,
        "coverage80": metrics.mean(figures.inside80[:, at]),
        "coverage90": metrics.mean(figures.inside90[:, at]),
        "calibration": float(np.abs(shares - np.asarray(levels)).mean()) if n else None,
        "qlike": metrics.mean(figures.qlike[:, at]),
        "skill_vs_random_walk": _skill(figures.loss[:, at], walk[:, at]),
        "skill_vs_constant": _skill(figures.loss[:, at], constant[:, at]),
        "p_value": None if is_walk else diebold_mariano(better, step or horizon),
    }


def _skill_intervals(
    losses: Sequence[FloatArray], walk: FloatArray, step: int | None
) -> list[dict[str, float | None]]:
    """Return the interval of each candidate's skill: CRPS over CRPS of the walk, resampled.

    Its ends are None for the walk itself, and if there are fewer origins than two blocks.
    """
    at = slice(None) if step is None else slice(step - 1, step)
    known = np.isfinite(walk[:, at]).any(axis=1)
    n = int(known.sum())
    block = block_length(n, step or walk.shape[1])
    nothing: dict[str, float | None] = {"skill_low": None, "skill_high": None}
    if n < 2 * block:
        return [nothing] * len(losses)
    plan = Resampling.of(n, block, RESAMPLES)
    sums = np.stack([np.nansum(loss[known, at], axis=1) for loss in (walk, *losses)], axis=1)
    total, drawn = sums.sum(axis=0), resampled_sums(sums, plan)
    intervals = []
    for i, loss in enumerate(losses, 1):
        if loss is walk or total[0] == 0 or (drawn[:, 0] == 0).any():
            intervals.append(nothing)
            continue
        skill = 1 - total[i] / total[0]
        # One-sided bounds at 95 % on either side hold 90 % between them.
        ends = bounds(skill, 1 - drawn[:, i] / drawn[:, 0], plan, 0.5 + CONFIDENCE / 2)
        intervals.append(dict(zip(nothing, ends, strict=True)))
    return intervals


def direction_interval(hit: FloatArray, step: int) -> tuple[float | None, float | None]:
    """Return Wilson's interval of the share of hits [N, H'], at the effective number of trials.

    This is the number of independent trials whose share would vary as much as this one does, by
    the long-run variance over origins; if all hits are equal, the targets that do not overlap.
    """
    known = np.isfinite(hit)
    count = int(known.sum())
    if count == 0:
        return None, None
    share = float(hit[known].mean())
    surplus = np.where(known, hit - share, 0.0).sum(axis=1)[known.any(axis=1)]
    variance = long_run_variance(surplus, step)
    alone = count / (step * hit.shape[1])
    if variance is None or share in (0.0, 1.0):
        trials = alone
    else:
        trials = min(share * (1 - share) * count**2 / (variance * len(surplus)), count)
    return wilson(share, trials, CONFIDENCE)


def _mean(values: FloatArray) -> FloatArray:
    """Return the means over origins of the steps that are scored, [H]."""
    scored = np.isfinite(values).any(axis=0)
    return np.asarray(np.nanmean(values[:, scored], axis=0))


def _ratio(values: FloatArray, baseline: FloatArray) -> float | None:
    one, other = metrics.mean(values), metrics.mean(baseline)
    return one / other if one is not None and other else None


def _skill(loss: FloatArray, baseline: FloatArray) -> float | None:
    ratio = _ratio(loss, baseline)
    return None if ratio is None else 1 - ratio
