"""Online calibration: widths follow the misses, so that live coverage stays at its level.

Each (market, step) has a factor `scale` by which the outermost quantiles stand wider about the
median. After an outcome inside the outer range it falls a little, after one outside it rises
`1 / share_outside` times as much, so it rests only if the right share of outcomes is missed. This
is the adaptive conformal inference of Gibbs & Candès (2021), on the width itself: the quantile
tracking of Angelopoulos, Candès & Tibshirani (2023, "Conformal PID control for time series
forecasting"). Whatever the prices do, and however targets overlap, over T outcomes while no bound
is touched

    share missed - share_outside = (scale at the end - scale at the start) / (gain * T)

so the coverage over a long time is off by no more than the scale's room / (gain * T).

A second factor, `body`, follows the inner half of the outcomes in the same way, but slowly: it is
what the market's own past says of the middle of the forecasts, where haste costs more than it
gains. `widen` goes from one factor to the other.

The state is the two factors of the last set that the same version served on the market, and
nothing else: another version starts at 1, and a crash, a replay and a backfill go on from the
ledger. Factors are whole multiples of 1e-6: outcomes that come one by one, in blocks or in
another order give the same bits (unless a bound is touched in between).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from cryptocast.values import Candles, FloatArray, IntArray, Ranges

LOWEST, HIGHEST = 0.4, 2.5
"""The bounds of a scale: a model that is off by more is for the monitor to report."""

_GAIN = 0.0145
_BODY_GAIN = 0.002
_GRID_DIGITS = 6
_NEAREST = 2e-8  # quantiles of the log-price that are further apart differ in 9 digits of it


@dataclass(frozen=True, slots=True, eq=False)
class TargetOutcomes:
    """The number of outcomes that became known, and of those outside their ranges."""

    known: IntArray  # [H]
    missed: IntArray  # [H] outside the outer range
    beyond: IntArray  # [H] outside the inner one


def fresh(horizon: int) -> FloatArray:
    """Return the scale [H] of a version that has served nothing yet: 1."""
    return np.ones(horizon)


@cache
def gains(horizon: int) -> FloatArray:
    """Return how far an outcome outside lifts the scale [H]: 0.0145 at step 1, 0.0097 at step 24.

    The further the step, the more its targets overlap and the longer the runs of misses: too
    high a gain follows the runs and costs CRPS, too low a gain leaves coverage off after 14
    days. With these gains the 90 % range of the shipped network held 87.6 to 92.4 % in every
    fortnight of every step on bitfinex 2018 and 88.8 to 91.8 % on binance 2020-21; without
    calibration 83.0 to 91.5 % over the whole of them. What it costs is in
    `tests/benchmarks/results/ablation.md`.
    """
    # Only square roots: every machine rounds them alike.
    return _falling(_GAIN, np.sqrt(_fourth_root(horizon)))


def _falling(first: float, by: FloatArray) -> FloatArray:
    falling = np.round(first / by, _GRID_DIGITS)
    falling.flags.writeable = False  # it is kept for all markets
    return falling


def _fourth_root(horizon: int) -> FloatArray:
    return np.asarray(np.sqrt(np.sqrt(np.arange(1, horizon + 1))))


def share_outside(levels: Sequence[float]) -> float:
    """Return the share of outcomes outside the outermost levels: 0.1 for 0.05 .. 0.95."""
    return round(1 - (levels[-1] - levels[0]), 9)


def outcomes(
    ranges: Ranges,
    candles: Candles,
    interval_seconds: int,
    *,
    horizon: int,
    after: int,
    until: int,
    shifts: IntArray | None = None,
) -> TargetOutcomes:
    """Count the targets at moments `after < target_time <= until` whose candle exists, by step.

    Only sets from H bars before `after` on have such targets. A target without a candle is in
    neither count, nor is one that a level shift parts from its origin: `shifts` are the open times
    of those bars. A close on the edge of its range lies inside. `candles` are normalised (rising
    in open_time).
    """
    opened = ranges.origin + interval_seconds * (ranges.step - 1)
    due = np.flatnonzero((after - interval_seconds < opened) & (opened <= until - interval_seconds))
    row = np.searchsorted(candles.open_time, opened[due])
    row[row == len(candles)] = -1
    has_candle = candles.open_time[row] == opened[due] if len(candles) else np.zeros(len(due), bool)
    due, row = due[has_candle], row[has_candle]
    for shift in () if shifts is None else shifts:
        together = (opened[due] < shift) | (shift < ranges.origin[due])
        due, row = due[together], row[together]
    actual, place = candles.close[row], ranges.step[due] - 1
    missed = (actual < ranges.low[due]) | (actual > ranges.high[due])
    beyond = (actual < ranges.inner_low[due]) | (actual > ranges.inner_high[due])
    counts = (
        np.bincount(steps, minlength=horizon) for steps in (place, place[missed], place[beyond])
    )
    return TargetOutcomes(*counts)


def advance(
    scale: FloatArray, known: IntArray, missed: IntArray, share_outside: float
) -> FloatArray:
    """Return the scale [..., H] after `known` outcomes, `missed` of them outside their range.

    A step of which no outcome became known keeps its scale.
    """
    return _advance(scale, known, missed, share_outside, gains(scale.shape[-1]))


def advance_body(
    body: FloatArray, known: IntArray, beyond: IntArray, levels: Sequence[float]
) -> FloatArray:
    """Return the body [..., H] after `known` outcomes, `beyond` of them outside the inner range.

    An outcome outside lifts it by 0.002 at step 1 and by 0.0009 at step 24: it needs some days to
    learn a width that is off by half. Without an inner range it stays as it is.
    """
    inner = inner_place(levels)
    if inner is None:
        return body
    up = _body_gains(body.shape[-1])
    return _advance(body, known, beyond, round(2 * levels[inner], 9), up)


@cache
def _body_gains(horizon: int) -> FloatArray:
    return _falling(_BODY_GAIN, _fourth_root(horizon))


def _advance(
    factor: FloatArray, known: IntArray, missed: IntArray, share: float, up: FloatArray
) -> FloatArray:
    down = np.round(up * share, _GRID_DIGITS)
    moved = np.round(factor + up * missed - down * known, _GRID_DIGITS)
    return np.asarray(np.clip(moved, LOWEST, HIGHEST))


def inner_place(levels: Sequence[float]) -> int | None:
    """Return where the inner range begins among the levels: at 0.25, or the next one above.

    It ends as far from the end. None if that is the outermost level or the median.
    """
    place = next(i for i, level in enumerate(levels) if level >= 0.25)
    return None if place == 0 or levels[place] >= 0.5 else place


def widen(
    log_quantiles: FloatArray, scale: FloatArray, body: FloatArray, levels: Sequence[float]
) -> FloatArray:
    """Move quantiles [..., H, Q] about their median: the outermost to `scale` times their distance.

    Those of the inner range go to `body` times theirs (both [..., H]), and from there outwards the
    factor passes from one to the other, more steeply the further out. So what the outermost range
    alone tells, fast and noisily, does not move the middle, which may have been right.

    Strictly rising quantiles stay so, as prices too: where neighbours would meet, because the
    outermost must narrow far more than the inner half, all levels move by the scale. Factors of 1
    change no bit.
    """
    moved = _moved(log_quantiles, _factors(scale, body, levels), levels)
    least = 0.5 * np.minimum(scale, 1)[..., None] * np.diff(log_quantiles)
    least = np.minimum(least, _NEAREST)
    crowded = (np.diff(moved) < least).any(axis=-1, keepdims=True)
    if not crowded.any():  # nearly always
        return moved
    return np.where(crowded, _moved(log_quantiles, scale[..., None], levels), moved)


def unwiden(
    widened: FloatArray, scale: FloatArray, body: FloatArray, levels: Sequence[float]
) -> FloatArray:
    """Return the quantiles [..., H, Q] that `widen` made these of, if none were crowded."""
    return _moved(widened, 1 / _factors(scale, body, levels), levels)


def _factors(scale: FloatArray, body: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return [..., H, Q] what the distance of each quantile from the median is multiplied by."""
    share = _share_of_scale(tuple(levels))
    return np.asarray(body[..., None] ** (1 - share) * scale[..., None] ** share)


@cache
def _share_of_scale(levels: tuple[float, ...]) -> FloatArray:
    """Return [Q] how much of each level's factor is the scale; the rest is the body."""
    out = np.abs(np.asarray(levels) - 0.5)
    inner = inner_place(levels)
    within = 0.0 if inner is None else out[inner]
    return np.asarray(
        np.round(np.clip((out - within) / max(out.max() - within, 1e-9), 0, 1), 9) ** 2
    )


def _moved(quantiles: FloatArray, factors: FloatArray, levels: Sequence[float]) -> FloatArray:
    median = quantiles[..., levels.index(0.5), None]
    return np.asarray(quantiles + (factors - 1) * (quantiles - median))
