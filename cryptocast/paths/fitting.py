"""Fit the scale curve and fill the library from recorded bars of several coins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptocast.paths.curve import FITTED_LEADS, ScaleCurve, fixed_columns, varying_columns
from cryptocast.paths.library import Library, encode
from cryptocast.paths.predictors import LEADS, Grid, Predictors, predictors
from cryptocast.values import DAY_SECONDS, FloatArray, IntArray

STRIDE = 7
"""Every so many bars are an origin of the fit: coprime with 12, so that no time is left out."""

_BAR_SECONDS = 300
WARM_UP = 7 * LEADS
"""Bars before the first origin of a series."""

_RIDGE = 2e-2  # of variances that are some 0.1: measured on other years, better than 10 times less
_ROUNDS = 25
_MOST_RATIO = 30.0  # larger outcomes are clipped, so that one crash is not the fit


def fit_curve(series: Sequence[Grid]) -> ScaleCurve:
    """Return the curve that fits the sizes of the moves of all series best (gamma likelihood)."""
    day = _day(series)
    known, sizes = [], []
    for bars in series:
        at = np.arange(WARM_UP, len(bars.open_time) - LEADS, STRIDE)
        known.append(predictors(bars, at))
        sizes.append(np.abs(bars.log_return)[at[:, None] + np.array(FITTED_LEADS) - 1])
    together, outcome = Predictors.concatenate(known), np.concatenate(sizes)
    fixed = fixed_columns(together, day)
    varying = varying_columns(together, day)
    relative = np.minimum(outcome / np.exp(together.level)[:, None], _MOST_RATIO)
    rows = [
        _gamma(np.column_stack([fixed, *(v[:, lead - 1] for v in varying)]), relative[:, i])
        for i, lead in enumerate(FITTED_LEADS)
    ]
    return ScaleCurve(day, np.stack(rows))


def _day(series: Sequence[Grid]) -> FloatArray:
    """Return the log of the mean size by time of day, relative to that of the week around."""
    slots, sizes = [], []
    for bars in series:
        size = np.abs(bars.log_return)
        days = len(size) // LEADS
        size = size[: days * LEADS].reshape(days, LEADS)
        week = np.convolve(size.mean(axis=1), np.ones(7), "same")
        week /= np.convolve(np.ones(days), np.ones(7), "same")
        sizes.append((size / week[:, None]).ravel())
        slots.append(bars.open_time[: days * LEADS] % DAY_SECONDS // _BAR_SECONDS)
    slot, size = np.concatenate(slots), np.minimum(np.concatenate(sizes), _MOST_RATIO)
    return np.log(np.bincount(slot, size, LEADS) / np.bincount(slot, minlength=LEADS))


def _gamma(columns: FloatArray, outcome: FloatArray) -> FloatArray:
    """Return coefficients [P] that minimise the mean of log(mu) + y / mu, mu = exp(columns @ b).

    By Fisher scoring: its information is the same in every round. A small ridge keeps columns
    that say nearly the same from cancelling each other.
    """
    b = np.zeros(columns.shape[1])
    b[0] = np.log(outcome.mean())
    penalty = _RIDGE * np.eye(len(b))
    penalty[0, 0] = 0.0
    information = columns.T @ columns / len(columns) + penalty
    for _ in range(_ROUNDS):
        mu = np.exp(np.clip(columns @ b, -5.0, 5.0))
        slope = columns.T @ (1.0 - outcome / mu) / len(columns) + penalty @ b
        step = np.linalg.solve(information, slope)
        b = b - step
        if np.abs(step).max() < 1e-7:
            break
    return b


def fill_library(series: Sequence[Grid], curve: ScaleCurve, stride: int) -> Library:
    """Return the residual paths that all series have at common origins, every `stride` bars.

    A residual's mean size is 1 at every lead, over all series.
    """
    first = max(int(bars.open_time[0]) for bars in series) + WARM_UP * _BAR_SECONDS
    last = min(int(bars.open_time[-1]) for bars in series) - LEADS * _BAR_SECONDS
    origins = np.arange(first, last, stride * _BAR_SECONDS)
    residuals = np.stack(
        [_residuals(bars, curve, origins) for bars in series],
        axis=1,
    )
    return Library(encode(residuals / np.abs(residuals).mean(axis=(0, 1))))


def _residuals(bars: Grid, curve: ScaleCurve, origins: IntArray) -> FloatArray:
    """Return the moves [O, LEADS] that followed the origins, in units of the curve."""
    at = (origins - bars.open_time[0]) // _BAR_SECONDS
    moves = bars.log_return[at[:, None] + np.arange(LEADS)]
    return np.asarray(moves / curve.sizes(predictors(bars, at)))
