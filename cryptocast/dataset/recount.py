"""Compute the inputs of served windows once more in another way, to see whether they hold.

`features` sums averages by doublings, for all bars at once; here every average follows its
definition, a weighted mean of the last `MEMORY_BARS` bars. If the two differ, something between
the candles and the model is broken, however strange the market is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryptocast.dataset import shifts
from cryptocast.dataset.bars import LONGEST_SPAN_BARS, Bars
from cryptocast.dataset.features import (
    DECAY,
    FAST_DECAY,
    MEDIUM_DECAY,
    MEMORY_BARS,
    PROFILE_CLIP,
    PROFILE_DECAY,
    PROFILE_PRIOR_DAYS,
    PROFILE_STEPS,
    SIGMA_FLOOR,
    SLOW_DECAY,
    profile_days,
)
from cryptocast.values import DAY_SECONDS, FEATURES, LEVEL_UNIT, FloatArray, IntArray, Windows

INPUTS = ("sigma", *FEATURES)
"""The inputs that are recounted. Sigma comes first: most features rest on it."""

_PARKINSON = 4 * np.log(2)


@dataclass(frozen=True, slots=True, eq=False)
class Recount:
    """The inputs of the last bars of M windows, as held and as recounted."""

    bars: IntArray  # [M] where those bars end on the grid: Unix seconds over the interval
    held: FloatArray  # [M, I] the `INPUTS` that a window holds; sigma in `values.LEVEL_UNIT`
    counted: FloatArray  # [M, I] the same inputs as the candles give them


def recount(bars: Bars, windows: Windows) -> Recount:
    """Recount the inputs of the last bar of each window (one market, origins rising).

    `bars` reach from the first one that the windows' features rest on to the newest origin.
    """
    last = (windows.origin - bars.first) // bars.market.interval_seconds - 1
    held = np.column_stack([windows.sigma / LEVEL_UNIT, windows.inputs[:, -1]])
    counted = np.empty_like(held)
    for first, end, known in shifts.stretches(bars):
        rows = np.flatnonzero((first <= last) & (last < end))
        if len(rows):
            bar = last[rows]
            inputs = _inputs(shifts.without(bars, known), _Stretch(int(bar[0]), int(bar[-1]) + 1))
            counted[rows] = inputs[bar - bar[0]]
    return Recount(windows.origin // bars.market.interval_seconds, held, counted)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The bars `[first, end)`, for which means over the bars before them are taken."""

    first: int
    end: int

    def mean(self, values: FloatArray, weights: FloatArray, decay: float) -> FloatArray:
        """Return the weighted mean over the last `MEMORY_BARS` bars of each bar."""
        kernel = decay ** np.arange(MEMORY_BARS)
        before = np.zeros(max(MEMORY_BARS - 1 - self.first, 0))
        start = max(self.first - MEMORY_BARS + 1, 0)
        total, norm = (
            np.convolve(np.concatenate((before, summed[start : self.end])), kernel, "valid")
            for summed in (values * weights, weights)
        )
        return np.asarray(total / np.where(norm > 0, norm, 1.0))

    def volatility(self, squares: FloatArray, weights: FloatArray, decay: float) -> FloatArray:
        """Return the root of the mean of squares, at least `SIGMA_FLOOR`."""
        return np.maximum(np.sqrt(self.mean(squares, weights, decay)), SIGMA_FLOOR)


def _inputs(bars: Bars, stretch: _Stretch) -> FloatArray:
    """Return the inputs [M, I] of the bars of a stretch."""
    here = slice(stretch.first, stretch.end)
    present = (~bars.missing).astype(np.float64)
    span = 1 + np.concatenate(([LONGEST_SPAN_BARS], bars.age[:-1]))
    moved = present * (span <= LONGEST_SPAN_BARS)
    move = moved * bars.log_return / np.sqrt(span)
    decays = DECAY, FAST_DECAY, MEDIUM_DECAY, SLOW_DECAY

    sigma, *spans = (stretch.volatility(move**2, moved, decay) for decay in decays)
    width = bars.log_range**2 / _PARKINSON
    spans += [stretch.volatility(width, present, decay) for decay in (FAST_DECAY, DECAY)]
    for decay in decays:
        size = np.sqrt(np.pi / 2) * stretch.mean(np.abs(move), moved, decay)
        spans.append(np.maximum(size, SIGMA_FLOOR))
    falls, rises = (
        [stretch.volatility(moves**2, moved, decay) for decay in decays]
        for moves in (np.minimum(move, 0.0), np.maximum(move, 0.0))
    )
    traded = np.isfinite(bars.log_volume)
    volume = np.where(traded, bars.log_volume, 0.0)
    usual = stretch.mean(volume, traded.astype(np.float64), SLOW_DECAY)
    features = (
        move[here] / sigma,
        bars.log_range[here] / sigma,
        *(np.log(other / sigma) for other in spans),
        *(np.log(down / up) for down, up in zip(falls, rises, strict=True)),
        (volume[here] - usual) * traded[here],
        bars.place[here],
        bars.missing[here].astype(np.float64),
        np.log(sigma / LEVEL_UNIT),
        *_times(bars, here),
        *_profile(bars, stretch, move, moved),
    )
    return np.column_stack([sigma / LEVEL_UNIT, *np.clip(features, -8.0, 8.0)])


def _times(bars: Bars, here: slice) -> tuple[FloatArray, ...]:
    """Return sine and cosine of the time of day and of the week at the bars' closes."""
    closed = bars.open_time[here] + bars.market.interval_seconds
    day, week = (2 * np.pi * (closed % n) / n for n in (DAY_SECONDS, 7 * DAY_SECONDS))
    return np.sin(day), np.cos(day), np.sin(week), np.cos(week)


def _profile(
    bars: Bars, stretch: _Stretch, move: FloatArray, moved: FloatArray
) -> tuple[FloatArray, ...]:
    """Return what is usual at the times of day that come next, against all, day by day."""
    days = profile_days(bars.market.interval_seconds)
    rows = np.arange(stretch.first, stretch.end)
    if not days:
        return tuple(np.zeros(len(rows)) for _ in PROFILE_STEPS)
    a_day = DAY_SECONDS // bars.market.interval_seconds
    slow = _Stretch(0, len(move)).volatility(move**2, moved, SLOW_DECAY)
    size = np.minimum(np.abs(move[1:]) / slow[:-1], PROFILE_CLIP) * moved[1:]
    size = np.concatenate(([0.0], size))

    running = np.cumsum(np.stack([np.append(0.0, size), np.append(0.0, moved)]), axis=1)

    def summed(first: int, end: int) -> FloatArray:
        """Return sizes and counts [2, M] of the bars `[first, end)` after each row, days before."""
        total = np.zeros((2, len(rows)))
        for day in range(1, days + 1):
            low, high = (np.maximum(rows + 1 + at - day * a_day, 0) for at in (first, end))
            total += PROFILE_DECAY ** (day - 1) * (running[:, high] - running[:, low])
        return total

    sizes, counts = summed(0, a_day)
    usual = sizes / np.where(counts > 0, counts, 1.0)
    profile = []
    for first, end in PROFILE_STEPS:
        sizes, counts = summed(first, end)
        prior = PROFILE_PRIOR_DAYS * (end - first)
        here = (sizes + prior * usual) / (counts + prior)
        profile.append(np.log(np.where(usual > 0, here, 1.0) / np.where(usual > 0, usual, 1.0)))
    return tuple(profile)
