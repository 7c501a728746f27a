"""Online calibration: widths follow the misses, so that live coverage stays at its level.

Each (market, step) has a factor `scale` by which all quantiles stand wider about the median.
After an outcome inside the outer range it falls a little, after one outside it rises
`1 / share_outside` times as much, so it rests only if the right share of outcomes is
missed. This is the adaptive conformal inference of Gibbs & Candès (2021), on the width
itself: the quantile tracking of Angelopoulos, Candès & Tibshirani (2023, "Conformal PID
control for time series forecasting"). Whatever the prices do, and however targets overlap,
over T outcomes while no bound is touched

    share missed - share_outside = (scale at the end - scale at the start) / (gain * T)

so the coverage over a long time is off by no more than the scale's room / (gain * T).

The state is the `scale` of the last set that the same version served on the market, and
nothing else: another version starts at 1, and a crash, a replay and a backfill go on from the
ledger. Scales are whole multiples of 1e-6: outcomes that come one by one, in blocks or in
another order give the same bits (unless a bound is touched in between).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.values import Candles, FloatArray, IntArray

LOWEST, HIGHEST = 0.4, 2.5
"""The bounds of a scale: a model that is off by more is for the monitor to report."""

_GAIN = 0.013
_GRID_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """The outer ranges of S sets that one version served on one market, as served: widened."""

    origin: IntArray  # [S] Unix seconds
    low: FloatArray  # [S, H] prices at the lowest level
    high: FloatArray  # [S, H] prices at the highest


@dataclass(frozen=True, slots=True, eq=False)
class TargetOutcomes:
    """The number of outcomes that became known, and of those outside their range."""

    known: IntArray  # [H]
    missed: IntArray  # [H]


def fresh(horizon: int) -> FloatArray:
    """Return the scale [H] of a version that has served nothing yet: 1."""
    return np.ones(horizon)


def gains(horizon: int) -> FloatArray:
    """Return how far an outcome outside lifts the scale [H]: 0.013 at step 1, 0.006 at step 24.

    The further the step, the more its targets overlap and the longer the runs of misses: too
    high a gain follows the runs and costs CRPS, too low a gain leaves coverage off after 14
    days. It was chosen on 80 replays of 14 days (8 coins and eras). On 80 of 8 others, with the
    LSTM of 7 days, the 90 % range held 87.7 to 91.1 % at each of 24 steps, 3 of 1,920 below 88;
    without calibration 79.7 to 95.1 %, 521 outside 88 to 92. It cost 0.20 % of CRPS over 24
    steps (standard error 0.04); it saved 3.6 % when a HAR was made too wide by half. (The 8
    others were not wholly unseen: a gain of 0.01 had left 14 of their 5,760 outside before.)
    """
    # Only square roots: every machine rounds them alike.
    steps = np.arange(1, horizon + 1)
    return np.round(_GAIN / np.sqrt(np.sqrt(steps)), _GRID_DIGITS)


def share_outside(levels: Sequence[float]) -> float:
    """Return the share of outcomes outside the outermost levels: 0.1 for 0.05 .. 0.95."""
    return round(1 - (levels[-1] - levels[0]), 9)


def outcomes(
    ranges: Ranges,
    candles: Candles,
    interval_seconds: int,
    *,
    after: int,
    until: int,
    shifts: IntArray | None = None,
) -> TargetOutcomes:
    """Count the targets at moments `after < target_time <= until` whose candle exists.

    Only sets from H bars before `after` on have such targets. A target without a candle is in
    neither count, nor is one that a level shift parts from its origin: `shifts` are the open times
    of those bars. A close on the edge of its range lies inside. `candles` are normalised (rising
    in open_time).
    """
    horizon = ranges.low.shape[1]
    if not len(candles):
        nothing = np.zeros(horizon, dtype=np.int64)
        return TargetOutcomes(nothing, nothing)
    target_time = ranges.origin[:, None] + interval_seconds * np.arange(1, horizon + 1)
    opened = target_time - interval_seconds
    row = np.minimum(np.searchsorted(candles.open_time, opened), len(candles) - 1)
    has_candle = candles.open_time[row] == opened
    known = has_candle & (after < target_time) & (target_time <= until)
    for shift in () if shifts is None else shifts:
        known &= (opened < shift) | (shift < ranges.origin[:, None])
    actual = candles.close[row]
    missed = known & ((actual < ranges.low) | (actual > ranges.high))
    return TargetOutcomes(known.sum(axis=0), missed.sum(axis=0))


def advance(
    scale: FloatArray, known: IntArray, missed: IntArray, share_outside: float
) -> FloatArray:
    """Return the scale [..., H] after `known` outcomes, `missed` of them outside their range.

    A step of which no outcome became known keeps its scale.
    """
    up = gains(scale.shape[-1])
    down = np.round(up * share_outside, _GRID_DIGITS)
    moved = np.round(scale + up * missed - down * known, _GRID_DIGITS)
    return np.asarray(np.clip(moved, LOWEST, HIGHEST))


def widen(log_quantiles: FloatArray, scale: FloatArray, median_index: int) -> FloatArray:
    """Move quantiles [..., H, Q] to `scale` [..., H] times their distance from the median.

    Strictly rising quantiles stay so; a scale of 1 changes no bit.
    """
    median = log_quantiles[..., median_index, None]
    return np.asarray(log_quantiles + (scale[..., None] - 1) * (log_quantiles - median))
