"""Quantiles of standardised returns, which the random walk and the networks share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptocast.values import FloatArray

MIN_STEP = 0.01
"""Neighbouring quantiles differ by at least this, in units of sigma * sqrt(step).

With the floor of sigma (0.1 bp) that is 1e-7 of the price: 9 significant digits show it.
"""

_LEAST_INDEPENDENT = 20  # a step with fewer targets that don't overlap has no shape of its own


def symmetric(values: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return quantiles [H, Q] about zero of the values [N, H]; the median is exactly 0.

    NaN values are left out. The quantiles are those of the absolute values, mirrored: the trend of
    a week is not a forecast, and each tail learns from twice the data. A step with too few targets
    that don't overlap takes the shape of the step before; step 1 takes that of Student's t with 4
    degrees of freedom.
    """
    level = np.asarray(levels)
    shape = reference(levels)
    rows = []
    for step in range(1, values.shape[1] + 1):
        column = np.abs(values[:, step - 1])
        column = column[np.isfinite(column)]
        if len(column) >= _LEAST_INDEPENDENT * step:
            side = np.sign(np.round(level - 0.5, 9))
            shape = side * np.quantile(column, np.abs(2 * level - 1))
        rows.append(spread(shape))
    return np.stack(rows)


def crps(quantiles: FloatArray, values: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return [N, H], twice the mean pinball loss of the quantiles [H, Q] for the values [N, H].

    It is in the unit of the values, and NaN if a value is NaN.
    """
    total = np.zeros_like(values)
    for level, quantile in zip(levels, quantiles.T, strict=True):
        error = values - quantile
        total += 2 * np.maximum(level * error, (level - 1) * error)
    return np.asarray(total / len(levels))


def reference(levels: Sequence[float]) -> FloatArray:
    """Return quantiles [Q] of Student's t with 4 degrees of freedom and unit variance.

    In closed form (Shaw 2006, "Sampling Student's T distribution", section 4).
    """
    level = np.asarray(levels)
    alpha = 4 * level * (1 - level)
    root = np.cos(np.arccos(np.sqrt(alpha)) / 3) / np.sqrt(alpha)
    side = np.sign(np.round(level - 0.5, 9))
    return np.asarray(side * 2 * np.sqrt(np.maximum(root - 1, 0)) / np.sqrt(2))


def reference_shape(levels: Sequence[float], horizon: int) -> FloatArray:
    """Return quantiles [H, Q] of a random walk that learned nothing: the last fallback."""
    return np.tile(spread(reference(levels)), (horizon, 1))


def spread(quantiles: FloatArray) -> FloatArray:
    """Push quantiles [..., Q] outwards from the median until all are `MIN_STEP` apart."""
    middle = quantiles.shape[-1] // 2
    gaps = np.maximum(np.diff(quantiles, axis=-1), MIN_STEP)
    up = np.cumsum(gaps[..., middle:], axis=-1)
    down = np.cumsum(gaps[..., :middle][..., ::-1], axis=-1)[..., ::-1]
    centre = quantiles[..., middle : middle + 1]
    return np.concatenate([centre - down, centre, centre + up], axis=-1)
