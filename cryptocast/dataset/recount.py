"""The inputs of served windows, counted once more and another way: does each still hold?

`features` sums averages by doublings, for all bars at once; here every average is what its
definition says, a weighted mean of the last `MEMORY_BARS` bars. Where the two differ, something
between the candles and the model is broken, however strange the market is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryptocast.dataset.bars import Bars
from cryptocast.dataset.features import (
    DECAY,
    FAST_DECAY,
    LONGEST_SPAN_BARS,
    MEDIUM_DECAY,
    MEMORY_BARS,
    SIGMA_FLOOR,
    SLOW_DECAY,
)
from cryptocast.values import FEATURES, LEVEL_UNIT, FloatArray, IntArray, Windows

INPUTS = ("sigma", *FEATURES)
"""What is counted: all features but place, volume and time rest on sigma, so it comes first."""

_PARKINSON = 4 * np.log(2)


@dataclass(frozen=True, slots=True, eq=False)
class Recount:
    """The inputs of the last bars of M windows."""

    bars: IntArray  # [M] where those bars end on the grid: Unix seconds over the interval
    found: FloatArray  # [M, I] the `INPUTS` that a window holds; sigma in `values.LEVEL_UNIT`
    counted: FloatArray  # [M, I] what they are by the candles


def recount(bars: Bars, windows: Windows) -> Recount:
    """Count the inputs of the last bar of each window (one market, origins rising) again.

    `bars` reach from the first that the windows' features rest on to the newest origin.
    """
    end = (windows.origin - bars.first) // bars.market.interval_seconds
    found = np.column_stack([windows.sigma / LEVEL_UNIT, windows.inputs[:, -1]])
    first = int(end[0]) - 1
    counted = _count(bars, first, int(end[-1]))[end - 1 - first]
    return Recount(windows.origin // bars.market.interval_seconds, found, counted)


def _count(bars: Bars, first: int, end: int) -> FloatArray:
    """[end - first, I] the inputs of the bars `[first, end)`."""

    def mean(values: FloatArray, weights: FloatArray, decay: float) -> FloatArray:
        kernel = decay ** np.arange(MEMORY_BARS)
        before = np.zeros(max(MEMORY_BARS - 1 - first, 0))
        start = max(first - MEMORY_BARS + 1, 0)
        total, norm = (
            np.convolve(np.concatenate((before, each[start:end])), kernel, "valid")
            for each in (values * weights, weights)
        )
        return np.asarray(total / np.where(norm > 0, norm, 1.0))

    present = (~bars.missing).astype(np.float64)
    span = 1 + np.concatenate(([LONGEST_SPAN_BARS], bars.age[:-1]))
    moved = present * (span <= LONGEST_SPAN_BARS)
    move = moved * bars.log_return / np.sqrt(span)
    fall, rise = np.minimum(move, 0.0), np.maximum(move, 0.0)
    width = bars.log_range**2 / _PARKINSON

    def volatility(squares: FloatArray, weights: FloatArray, decay: float) -> FloatArray:
        return np.maximum(np.sqrt(mean(squares, weights, decay)), SIGMA_FLOOR)

    decays = DECAY, FAST_DECAY, MEDIUM_DECAY, SLOW_DECAY
    sigma, *spans = (volatility(move**2, moved, decay) for decay in decays)
    spans += [volatility(width, present, decay) for decay in (FAST_DECAY, DECAY)]
    for decay in decays:
        size = np.sqrt(np.pi / 2) * mean(np.abs(move), moved, decay)
        spans.append(np.maximum(size, SIGMA_FLOOR))
    falls, rises = ([volatility(x**2, moved, decay) for decay in decays] for x in (fall, rise))
    told = np.isfinite(bars.log_volume)
    volume = np.where(told, bars.log_volume, 0.0)
    usual = mean(volume, told.astype(np.float64), SLOW_DECAY)
    here = slice(first, end)
    closed = bars.open_time[here] + bars.market.interval_seconds
    day, week = (2 * np.pi * (closed % period) / period for period in (86_400, 604_800))
    features = (
        move[here] / sigma,
        bars.log_range[here] / sigma,
        *(np.log(each / sigma) for each in spans),
        *(np.log(down / up) for down, up in zip(falls, rises, strict=True)),
        (volume[here] - usual) * told[here],
        bars.place[here],
        bars.missing[here].astype(np.float64),
        np.log(sigma / LEVEL_UNIT),
        *(np.sin(day), np.cos(day), np.sin(week), np.cos(week)),
    )
    return np.column_stack([sigma / LEVEL_UNIT, *np.clip(features, -8.0, 8.0)])
