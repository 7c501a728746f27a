"""Figures of served forecasts over a window, and a scorecard in common units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.evaluation import metrics
from cryptocast.evaluation.scores import direction_interval, relative_crps
from cryptocast.values import FloatArray


@dataclass(frozen=True, slots=True)
class StepFigures:
    """The figures of one step over a window."""

    step: int
    n: int
    crps_bp: float
    skill_vs_random_walk: float
    coverage80: float | None
    coverage90: float | None


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """The figures of a window of outcomes; None if there are none."""

    n: int  # scored (origin, step) pairs
    origins: int
    crps_bp: float | None
    skill_vs_random_walk: float | None  # the mean over steps, as in the gate
    coverage80: float | None
    coverage90: float | None
    bias: float | None  # share of outcomes above the median, less a half
    pit_distance: float | None  # mean distance of the shares below each level from the level
    steps: tuple[StepFigures, ...]


@dataclass(frozen=True, slots=True)
class StepCard:
    """One step of the scorecard."""

    step: int
    n: int
    crps_bp: float
    qlike: float
    relative_mae: float | None
    direction_accuracy: float | None  # None if the median is the last price
    direction_low: float | None
    direction_high: float | None
    break_even_fee_bp: float | None


def window_figures(
    served: FloatArray, walk: FloatArray, targets: FloatArray, levels: Sequence[float]
) -> WindowFigures:
    """Score quantiles [N, H, Q] against targets [N, H]; a NaN target is left out."""
    known = np.isfinite(targets)
    n = int(known.sum())
    if n == 0:
        return WindowFigures(0, 0, None, None, None, None, None, None, ())
    mine, theirs = (metrics.crps_bp(q, targets, levels) for q in (served, walk))
    inside = [metrics.inside(served, targets, levels, share) for share in (0.8, 0.9)]
    middle = metrics.median(served, levels)
    above = np.where(known, (targets > middle) + 0.5 * (targets == middle), np.nan)
    shares = metrics.below(served, targets).sum(axis=0) / n
    return WindowFigures(
        n=n,
        origins=int(known.any(axis=1).sum()),
        crps_bp=float(np.nanmean(mine)),
        skill_vs_random_walk=1 - relative_crps(mine, theirs),
        coverage80=metrics.mean(inside[0]),
        coverage90=metrics.mean(inside[1]),
        bias=float(np.nanmean(above)) - 0.5,
        pit_distance=float(np.abs(shares - np.asarray(levels)).mean()),
        steps=tuple(
            StepFigures(
                step=h + 1,
                n=int(known[:, h].sum()),
                crps_bp=float(np.nanmean(mine[:, h])),
                skill_vs_random_walk=1 - relative_crps(mine[:, [h]], theirs[:, [h]]),
                coverage80=metrics.mean(inside[0][:, h]),
                coverage90=metrics.mean(inside[1][:, h]),
            )
            for h in np.flatnonzero(known.any(axis=0)).tolist()
        ),
    )


def scorecard(
    served: FloatArray, targets: FloatArray, levels: Sequence[float], steps: Sequence[int]
) -> list[StepCard]:
    """Return the cards of the steps that have an outcome; arrays as in `window_figures`."""
    return [
        _card(served[:, h - 1 : h], targets[:, h - 1 : h], levels, h)
        for h in steps
        if h <= targets.shape[1] and np.isfinite(targets[:, h - 1]).any()
    ]


def break_even_fee_bp(median: FloatArray, targets: FloatArray) -> float | None:
    """Return the largest fee at which trading on the forecast's direction would not have lost.

    It is in basis points of the traded sum, and paid twice per trade: at each origin [N, 1]
    whose median is not the last price one buys (or sells short) at the last price, and closes at
    the target's. Below 0 trading lost without any fee. None if no direction is forecast.
    """
    traded = np.isfinite(targets) & (median != 0)
    if not traded.any():
        return None
    gains = np.sign(median[traded]) * np.expm1(targets[traded])
    return float(metrics.BP * gains.mean() / 2)


def _card(served: FloatArray, targets: FloatArray, levels: Sequence[float], step: int) -> StepCard:
    middle = metrics.median(served, levels)
    moved = np.isfinite(targets) & (middle != 0) & (targets != 0)
    hit = np.where(moved, np.sign(middle) == np.sign(targets), np.nan)
    low, high = direction_interval(hit, step)
    usual = float(np.nanmean(np.abs(targets)))
    error = float(np.nanmean(np.abs(targets - middle)))
    return StepCard(
        step=step,
        n=int(np.isfinite(targets).sum()),
        crps_bp=float(np.nanmean(metrics.crps_bp(served, targets, levels))),
        qlike=float(np.nanmean(metrics.qlike(served, targets, levels))),
        relative_mae=error / usual if usual else None,
        direction_accuracy=metrics.mean(hit),
        direction_low=low,
        direction_high=high,
        break_even_fee_bp=break_even_fee_bp(middle, targets),
    )
