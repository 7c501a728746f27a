"""Sums over the whole days before a bar, by doublings: their bits don't depend on other bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptocast.values import DAY_SECONDS, FloatArray

MOST_DAYS = 32
"""Days that a feature looks back: 14 give two thirds of the profile's gain, 56 no more."""

DAY_DECAY = 0.97
"""How much a day further back counts for."""

_LEAST_A_DAY = 24  # bars: of fewer, yesterday's would reach into the future that is forecast
_MOST_BARS = 9_216  # 32 days of five minutes: of finer candles there are fewer days


def days_back(interval_seconds: int) -> int:
    """Return how many whole days features look back, 0 for candles over an hour."""
    a_day = DAY_SECONDS // interval_seconds
    return min(MOST_DAYS, _MOST_BARS // a_day) if a_day >= _LEAST_A_DAY else 0


def over_days(values: FloatArray, first: int, a_day: int, days: int) -> FloatArray:
    """Return sums [..., R] of the values [..., T] at each row and whole days before it.

    The rows are those from `first` on; a day further back counts `DAY_DECAY` times as much.
    """
    end = values.shape[-1]
    total = np.zeros((*values.shape[:-1], end - first))
    for day in range(days - 1, -1, -1):
        total *= DAY_DECAY
        ago = day * a_day
        if end > ago:
            part = values[..., max(first - ago, 0) : end - ago]
            total[..., total.shape[-1] - part.shape[-1] :] += part
    return total


def runs(values: FloatArray, lengths: Sequence[int]) -> FloatArray:
    """Return the sums [L, ..., T] over each of L numbers of bars up to each, by doublings."""
    totals = np.zeros((len(lengths), *values.shape))
    double, span, offsets = values.copy(), 1, [0] * len(lengths)
    while span <= max(lengths):
        for i, length in enumerate(lengths):
            if length & span:
                totals[i, ..., offsets[i] :] += double[..., : max(double.shape[-1] - offsets[i], 0)]
                offsets[i] += span
        double[..., span:] += double[..., :-span]
        span *= 2
    return totals


def shifted(values: FloatArray, bars: int) -> FloatArray:
    """Return what the values [..., T] were some bars before, 0 before the first."""
    moved = np.zeros_like(values)
    moved[..., bars:] = values[..., : max(values.shape[-1] - bars, 0)]
    return moved
