"""Compute the inputs of served windows once more in another way, to see whether they hold.

`features` sums averages by doublings, for all bars at once; here every average follows its
definition, a weighted mean of the last `MEMORY_BARS` bars. If the two differ, something between
the candles and the model is broken, however strange the market is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cryptocast.dataset import shifts
from cryptocast.dataset.averages import DECAYS, MEMORY_BARS, RANGE_DECAYS, SIGMA_FLOOR, SLOW_DECAY
from cryptocast.dataset.bars import LONGEST_SPAN_BARS, Bars
from cryptocast.dataset.days import DAY_DECAY, days_back
from cryptocast.dataset.month import (
    BLOCK_BARS,
    HALF_LIVES,
    LARGEST_MOVE,
    TIMES_A_DAY,
    WALK_BLOCKS,
    month_days,
)
from cryptocast.dataset.profile import PROFILE_CLIP, PROFILE_PRIOR_DAYS, PROFILE_STEPS
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

    sigma, *spans = (stretch.volatility(move**2, moved, decay) for decay in DECAYS)
    width = bars.log_range**2 / _PARKINSON
    spans += [stretch.volatility(width, present, decay) for decay in RANGE_DECAYS]
    for decay in DECAYS:
        size = np.sqrt(np.pi / 2) * stretch.mean(np.abs(move), moved, decay)
        spans.append(np.maximum(size, SIGMA_FLOOR))
    falls, rises = (
        [stretch.volatility(moves**2, moved, decay) for decay in DECAYS]
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
        *_month(bars, stretch, move, moved),
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
    days = days_back(bars.market.interval_seconds)
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
            total += DAY_DECAY ** (day - 1) * (running[:, high] - running[:, low])
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


def _month(
    bars: Bars, stretch: _Stretch, move: FloatArray, moved: FloatArray
) -> tuple[FloatArray, ...]:
    """Return the volatilities of spans of days and of the best walks, as logs to sigma."""
    days = month_days(bars.market.interval_seconds)
    sigma, *others = (stretch.volatility(move**2, moved, decay) for decay in DECAYS)
    logs = np.log(np.stack([sigma, *others]) / sigma)
    if not days:
        return (*[np.zeros(len(sigma))] * len(HALF_LIVES), *[logs.mean(axis=0)] * len(WALK_BLOCKS))
    read = _Days(bars, stretch, days)
    found = []
    for half_life in HALF_LIVES:
        squares, counts = read.summed(np.stack([move**2, moved]), 0.5 ** (1 / half_life))
        usual = np.maximum(np.sqrt(squares / np.where(counts > 0, counts, 1.0)), SIGMA_FLOOR)
        found.append(np.where(squares > 0, np.log(usual / sigma), 0.0))
    ends, squares = _at_blocks(bars, move, moved)
    for blocks in WALK_BLOCKS:
        told = _outcomes(bars, ends, squares, blocks)
        *sums, count = read.summed(told, DAY_DECAY)
        sizes, widths = np.split(np.stack(sums) / np.where(count > 0, count, 1.0), 2)
        loss = np.log(np.maximum(sizes, 1e-6)) + widths
        weights = np.exp((loss.min(axis=0) - loss) * count / blocks)
        found.append((weights * logs).sum(axis=0) / weights.sum(axis=0))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Days:
    """The days before the rows of a stretch, up to the newest time at which the month is read."""

    bars: Bars
    stretch: _Stretch
    days: int

    def summed(self, values: FloatArray, decay: float) -> FloatArray:
        """Return sums [..., M] of values [..., T], of which a day further back counts less."""
        a_day = DAY_SECONDS // self.bars.market.interval_seconds
        rows = np.arange(self.stretch.first, self.stretch.end)
        closed = self.bars.first // self.bars.market.interval_seconds + rows + 1
        last, of_row = np.unique(rows - closed % (a_day // TIMES_A_DAY), return_inverse=True)
        running = np.concatenate((np.zeros((*values.shape[:-1], 1)), np.cumsum(values, -1)), -1)
        edges = np.maximum(last + 1 - a_day * np.arange(self.days + 1)[:, None], 0)
        of_day = running[..., edges[:-1]] - running[..., edges[1:]]
        sums = np.tensordot(of_day, decay ** np.arange(self.days), ([-2], [0]))
        return np.asarray(sums[..., of_row])


def _at_blocks(bars: Bars, move: FloatArray, moved: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return the bars [E] that end a block, and the mean squares [4, E] of the walks at those.

    The bars of a block weigh alike.
    """
    closed = bars.first // bars.market.interval_seconds + np.arange(len(move)) + 1
    ends = np.flatnonzero(closed % BLOCK_BARS == 0)
    ago = np.arange(MEMORY_BARS)[::-1] // BLOCK_BARS * BLOCK_BARS
    kernels = DECAYS ** ago[:, None]
    total, norm = (
        sliding_window_view(np.append(np.zeros(MEMORY_BARS - 1), values), MEMORY_BARS)[ends]
        @ kernels
        for values in (move**2, moved)
    )
    return ends, (total / np.where(norm > 0, norm, 1.0)).T


def _outcomes(bars: Bars, ends: IntArray, squares: FloatArray, blocks: int) -> FloatArray:
    """Return [9, T] of the moves over so many blocks that end with each.

    Their sizes in the volatilities of the four walks when they began, the logs of those, and 1.
    """
    begin, end, before = ends[:-blocks], ends[blocks:], squares[:, :-blocks]
    known = ~bars.missing[begin] & ~bars.missing[end] & (before[0] > 0)
    begin, end = begin[known], end[known]
    width = np.maximum(np.sqrt(before[:, known]), SIGMA_FLOOR)
    size = np.abs(np.cumsum(bars.log_return)[end] - np.cumsum(bars.log_return)[begin])
    largest = LARGEST_MOVE * np.sqrt(blocks * BLOCK_BARS) * width[0]
    told = np.zeros((2 * len(DECAYS) + 1, len(bars)))
    sizes, logs, there = np.split(told, [len(DECAYS), 2 * len(DECAYS)])
    sizes[:, end], logs[:, end], there[:, end] = (
        np.minimum(size, largest) / width,
        np.log(width),
        1.0,
    )
    return told
