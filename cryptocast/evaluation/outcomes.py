"""Figures of served forecasts over a range: skill over time, coverage per step and per hour.

Losses and hits are [N, H] in the order of time, NaN if unscored; quantiles are [N, H, Q] and
targets [N, H], both log-returns from the last close.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryptocast.evaluation import metrics
from cryptocast.evaluation.comparison import effective_n, long_run_variance, wilson
from cryptocast.evaluation.scores import CONFIDENCE
from cryptocast.values import DAY_SECONDS, Calibration, FloatArray, IntArray, Rolling, Score, Shares

_HOUR_SECONDS = 3_600
_MOST_POINTS = 400  # of skill over time: more than any chart can show
_FEWEST_WINDOWS = 4  # that a range holds: the window of a short range is shorter
_Z = 1.6449  # both sides of 90 % of a normal


@dataclass(frozen=True, slots=True, eq=False)
class ServedFigures:
    """CRPS and hits of N served origins and H steps, beside the random walk's CRPS."""

    loss: FloatArray  # [N, H] CRPS in bp
    walk: FloatArray  # [N, H] CRPS of the random walk in bp; NaN if there is none
    in80: FloatArray  # [N, H] 1 if the target lies in the central range, else 0
    in90: FloatArray  # [N, H]

    @classmethod
    def of(
        cls, quantiles: FloatArray, walk: FloatArray, targets: FloatArray, levels: Sequence[float]
    ) -> ServedFigures:
        """Score the quantiles that were served and those of the random walk."""
        return cls(
            metrics.crps_bp(quantiles, targets, levels),
            metrics.crps_bp(walk, targets, levels),
            metrics.inside(quantiles, targets, levels, 0.8),
            metrics.inside(quantiles, targets, levels, 0.9),
        )

    def means(self) -> Score:
        """Return the means over all origins and steps, without an interval."""
        crps = metrics.mean(self.loss)
        walk = metrics.mean(np.where(np.isfinite(self.loss), self.walk, np.nan))
        skill = None if crps is None or not walk else 1 - crps / walk
        n = int(np.isfinite(self.loss).sum())
        return Score(n, crps, walk, skill, metrics.mean(self.in80), metrics.mean(self.in90))

    def at_step(self, step: int) -> ServedFigures:
        """Return the figures of one step (1..H), [N, 1]."""
        return self._take((slice(None), slice(step - 1, step)))

    def at_origins(self, chosen: NDArray[np.bool_]) -> ServedFigures:
        """Return the figures of the chosen origins [N]."""
        return self._take((chosen, slice(None)))

    def _take(self, index: tuple[Any, slice]) -> ServedFigures:
        return ServedFigures(self.loss[index], self.walk[index], self.in80[index], self.in90[index])


def rolling_skill(
    loss: FloatArray, walk: FloatArray, origins: IntArray, day_bars: int
) -> Rolling | None:
    """Return the skill over windows of a day (of `day_bars`), by a ratio of means.

    A range of few days has shorter windows, and about 400 windows at most are computed. The
    interval is normal, from the long-run variance of the ratio's influence (its linearisation)
    over the window, so that what neighbouring origins share is not counted twice. None if there
    is no random walk, or too little for a window of two horizons.
    """
    known = np.isfinite(loss) & np.isfinite(walk)
    scored = np.flatnonzero(known.any(axis=1))
    losses, walks = (np.where(known, each, 0.0).sum(axis=1)[scored] for each in (loss, walk))
    horizon = loss.shape[1]
    window = min(day_bars, len(scored) // _FEWEST_WINDOWS)
    if window <= 2 * horizon:
        return None
    every = max((len(scored) - window) // _MOST_POINTS, 1)
    ends = np.arange(len(scored), window - 1, -every)[::-1]
    rows = [_window(losses[i - window : i], walks[i - window : i], horizon) for i in ends]
    skill, half = np.array(rows).T
    return Rolling(window, origins[scored[ends - 1]], skill, skill - half, skill + half)


def _window(loss: FloatArray, walk: FloatArray, horizon: int) -> tuple[float, float]:
    """Return the skill and half the width of its 90 % interval, NaN if there is too little."""
    if walk.mean() <= 0:
        return math.nan, math.nan
    skill = 1 - loss.mean() / walk.mean()
    influence = ((1 - skill) * walk - loss) / walk.mean()
    variance = long_run_variance(influence, horizon)
    half = math.nan if variance is None else _Z * math.sqrt(variance / len(loss))
    return float(skill), half


def coverage_by_step(hits: FloatArray) -> Shares:
    """Return the share of hits of each step [H].

    The intervals are Wilson's, at the number of independent origins that would carry as much
    information: targets of neighbouring origins overlap.
    """

    def independent(values: FloatArray, step: int) -> float:
        return effective_n(values, step) or int(np.isfinite(values).sum()) / step

    return _shares((hits[:, h], independent(hits[:, h], h + 1)) for h in range(hits.shape[1]))


def coverage_by_hour(hits: FloatArray, origins: IntArray) -> Shares:
    """Return the share of hits for each hour (UTC) of the origin, [24].

    The intervals are Wilson's, as if each day were one trial: targets of one hour overlap.
    """
    hour, day = origins // _HOUR_SECONDS % 24, origins // DAY_SECONDS
    known = np.isfinite(hits).any(axis=1)
    chosen = [(hour == at) & known for at in range(24)]
    return _shares((hits[rows].ravel(), float(len(np.unique(day[rows])))) for rows in chosen)


def _shares(groups: Iterable[tuple[FloatArray, float]]) -> Shares:
    """Return the share of hits in each group of values, given its number of independent trials."""
    rows = []
    for values, trials in groups:
        n, share = int(np.isfinite(values).sum()), metrics.mean(values)
        if share is None or trials <= 0:
            rows.append((n, math.nan, math.nan, math.nan))
        else:
            rows.append((n, share, *wilson(share, trials, CONFIDENCE)))
    n, *columns = np.array(rows).T
    return Shares(n.astype(np.int64), *columns)


def step_calibration(quantiles: FloatArray, targets: FloatArray, step: int) -> Calibration:
    """Return where the outcomes of one step fell in their forecast distributions."""
    at = slice(step - 1, step)
    n = int(np.isfinite(targets[:, at]).sum())
    below = metrics.below(quantiles[:, at], targets[:, at])[0] / max(n, 1)
    return Calibration(step, n, n / step, below, np.diff(below, prepend=0.0, append=1.0))
