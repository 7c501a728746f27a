"""Proper scores of quantile forecasts, one figure per (origin, step); NaN if unscored.

Quantiles are [N, H, Q] and targets [N, H], both log-returns from the last close.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from cryptocast.values import FloatArray, IntArray

BP = 1e4


def crps_bp(quantiles: FloatArray, targets: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return the CRPS [N, H] in basis points: the mean over levels of twice the pinball loss.

    With evenly spaced levels this is the quantile approximation of the continuous ranked
    probability score (Gneiting & Ranjan 2011, eq. 9, unweighted).
    """
    # Level by level: [N, H, Q] temporaries of a year of origins would not fit in memory.
    total = np.zeros_like(targets)
    for i, level in enumerate(levels):
        error = targets - quantiles[..., i]
        total += (2 * level - 1) * error
        total += np.abs(error, out=error)  # 2 max(q e, (q - 1) e) = (2 q - 1) e + |e|
    return np.asarray(BP * total / len(levels))


def inside(
    quantiles: FloatArray, targets: FloatArray, levels: Sequence[float], share: float
) -> FloatArray:
    """Return 1 if the target lies in the central interval of that share, else 0, [N, H].

    All values are NaN if the levels do not hold the ends of the interval.
    """
    ends = [_index(levels, (1 - share) / 2), _index(levels, (1 + share) / 2)]
    if None in ends:
        return np.full_like(targets, np.nan)
    low, high = (quantiles[..., i] for i in ends)
    hit = ((low <= targets) & (targets <= high)).astype(np.float64)
    return np.where(np.isnan(targets), np.nan, hit)


def below(quantiles: FloatArray, targets: FloatArray) -> IntArray:
    """Return the number of targets at or below each quantile [H, Q]: the basis of calibration."""
    counts = [np.sum(targets <= quantiles[..., i], axis=0) for i in range(quantiles.shape[-1])]
    return np.stack(counts, axis=1)


def qlike(quantiles: FloatArray, targets: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return the QLIKE [N, H] of the implied variance: `log(v) + r^2 / v`, v in bp^2.

    It is a proper loss for variances of which only a noisy proxy is seen (Patton 2011), here
    the squared return. `v` is the quantiles' second moment over that of a standard normal's
    quantiles at the same levels, so that a normal forecast implies its own variance. What
    counts is the difference between models. NaN if there is no spread.
    """
    normal = float(np.mean(special.ndtri(np.asarray(levels)) ** 2))
    moment = np.einsum("nhq,nhq->nh", quantiles, quantiles) / len(levels)
    variance = np.where(moment > 0, moment, np.nan) * BP**2 / normal
    return np.asarray(np.log(variance) + (BP * targets) ** 2 / variance)


def median(quantiles: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return the quantile at level 0.5, [N, H]."""
    index = _index(levels, 0.5)
    assert index is not None  # settings refuse levels without it  # noqa: S101 - narrows a type
    return np.asarray(quantiles[..., index])


def mean(values: FloatArray) -> float | None:
    """Return the mean of the finite values, or None if there are none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def row_means(values: FloatArray) -> FloatArray:
    """Return the mean of what is known in each row of values [N, K], [N]; NaN for an empty row."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _index(levels: Sequence[float], wanted: float) -> int | None:
    close = np.flatnonzero(np.isclose(levels, wanted, atol=1e-9))
    return int(close[0]) if len(close) else None
