"""Proper scores of quantile forecasts, one figure an (origin, step); NaN where unscored.

Quantiles are [N, H, Q] and targets [N, H], both log-returns from the last close.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from cryptocast.values import FloatArray, IntArray

BP = 1e4


def crps_bp(quantiles: FloatArray, targets: FloatArray, levels: Sequence[float]) -> FloatArray:
    """[N, H] CRPS in basis points: the mean over levels of twice the pinball loss.

    With evenly spaced levels that is the quantile approximation of the continuous ranked
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
    """[N, H] 1 where the target lies in the central interval of that share, else 0.

    All NaN where the levels don't hold the interval's ends.
    """
    ends = [_index(levels, (1 - share) / 2), _index(levels, (1 + share) / 2)]
    if None in ends:
        return np.full_like(targets, np.nan)
    low, high = (quantiles[..., i] for i in ends)
    hit = ((low <= targets) & (targets <= high)).astype(np.float64)
    return np.where(np.isnan(targets), np.nan, hit)


def below(quantiles: FloatArray, targets: FloatArray) -> IntArray:
    """[H, Q] how many targets lay at or below each quantile: what calibration is judged by."""
    counts = [np.sum(targets <= quantiles[..., i], axis=0) for i in range(quantiles.shape[-1])]
    return np.stack(counts, axis=1)


def qlike(quantiles: FloatArray, targets: FloatArray, levels: Sequence[float]) -> FloatArray:
    """[N, H] QLIKE of the variance that the quantiles imply: `log(v) + r^2 / v`, v in bp^2.

    Patton (2011): a proper loss for variances where only a noisy proxy of them is seen, here
    the squared return. `v` is the quantiles' second moment over that of a standard normal's
    quantiles at the same levels, so that a normal forecast implies its own variance; what
    counts is the difference between models. NaN where there is no spread.
    """
    normal = float(np.mean(stats.norm.ppf(np.asarray(levels)) ** 2))
    moment = np.einsum("nhq,nhq->nh", quantiles, quantiles) / len(levels)
    variance = np.where(moment > 0, moment, np.nan) * BP**2 / normal
    return np.asarray(np.log(variance) + (BP * targets) ** 2 / variance)


def median(quantiles: FloatArray, levels: Sequence[float]) -> FloatArray:
    """[N, H] the quantile at level 0.5."""
    index = _index(levels, 0.5)
    assert index is not None  # settings refuse levels without it  # noqa: S101 - narrows a type
    return np.asarray(quantiles[..., index])


def mean(values: FloatArray) -> float | None:
    """Return the mean of the finite values, or None if there are none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _index(levels: Sequence[float], wanted: float) -> int | None:
    close = np.flatnonzero(np.isclose(levels, wanted, atol=1e-9))
    return int(close[0]) if len(close) else None
