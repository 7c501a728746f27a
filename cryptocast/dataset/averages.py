"""Exponentially weighted averages over the bars that a feature remembers, and what they average.

The bits of a bar's average depend on exactly the last `MEMORY_BARS` bars, however many others
are computed with it.
"""

from __future__ import annotations

import numpy as np

from cryptocast.dataset.bars import LONGEST_SPAN_BARS, Bars
from cryptocast.values import FloatArray

MEMORY_BARS = 1024
"""Bars that a feature looks back: a power of two, five half-lives of the slowest average."""

SIGMA_FLOOR = 1e-5
"""The least volatility of a bar, 0.1 bp, so that quantiles stay distinct."""

# Decay a bar of sigma: 0.94 as in RiskMetrics (1996), a better random walk at 5 minutes than
# 0.97. Around it a faster, a medium and a slow one (half-lives of 3, 34 and 200 bars).
DECAY = 0.94
FAST_DECAY = 0.8
MEDIUM_DECAY = 0.98
SLOW_DECAY = 0.5 ** (1 / 200)
DECAYS = np.array([DECAY, FAST_DECAY, MEDIUM_DECAY, SLOW_DECAY])
RANGE_DECAYS = np.array([FAST_DECAY, DECAY])

Moves = tuple[FloatArray, FloatArray]
"""Log-returns per bar [..., T], and 1 where one tells of its volatility, else 0."""


def moves(bars: Bars) -> Moves:
    """Return the log-return per bar [..., T], and 1 where it tells of its volatility, else 0.

    A return over n bars counts as n bars' worth of variance, one over too many as none.
    """
    spanned = np.full(bars.age.shape, np.inf)
    spanned[..., 1:] = 1.0 + bars.age[..., :-1]
    moved = (~bars.missing & (spanned <= LONGEST_SPAN_BARS)).astype(np.float64)
    return moved * bars.log_return / np.sqrt(spanned), moved


def volatility(variance: FloatArray) -> FloatArray:
    """Return the root of a variance, at least `SIGMA_FLOOR`."""
    return np.asarray(np.sqrt(np.maximum(variance, SIGMA_FLOOR**2)))


def average(values: FloatArray, weights: FloatArray, decays: FloatArray) -> FloatArray:
    """Return exponentially weighted means [S, ..., T] over exactly the last `MEMORY_BARS` bars.

    `values` is [S or 1, ..., T], `weights` [S, ..., T], `decays` [S]. If no weight was seen yet,
    the mean is 0. The bits of a bar's mean don't depend on T.
    """
    sums, norms = sweep(values * weights, decays), sweep(weights.copy(), decays)
    return np.asarray(sums / np.where(norms > 0, norms, 1.0))


def sweep(
    values: FloatArray, decays: FloatArray, first: int = 0, memory: int = MEMORY_BARS
) -> FloatArray:
    """Return weighted sums [S, ..., R] over the last `memory` values, for the rows from `first`.

    `values` [S, ..., T] are overwritten, `memory` is a power of two. The sum over 2m values is
    the sum over m plus `decay**m` times the sum over the m before (ten doublings for 1,024):
    elementwise, so that the bits don't depend on T. Few rows need ever fewer of those: of runs as
    long as the rows, each second one.
    """
    rows = values.shape[-1] - first
    power = decays.reshape(-1, *[1] * (values.ndim - 1))
    span = 1
    while span < min(rows, memory):
        values[..., span:] += power * values[..., :-span]
        power = power * power
        span *= 2
    if span == memory:
        return values[..., first:]
    lacking = max(memory - values.shape[-1], 0)
    if lacking:
        values = np.concatenate((np.zeros((*values.shape[:-1], lacking)), values), axis=-1)
    runs = values[..., -memory:].reshape(*values.shape[:-1], -1, span)
    power = power[..., None]
    while runs.shape[-2] > 1:
        runs = runs[..., 1::2, :] + power * runs[..., ::2, :]
        power = power * power
    return np.asarray(runs[..., 0, span - rows :])


def once(weights: FloatArray) -> FloatArray:
    """Return the weights [S, M, T] of M markets as [S, 1, T] if they are the same for all."""
    if weights.ndim == 3 and (weights == weights[:, :1]).all():
        return weights[:, :1]
    return weights
