"""Fit the scale curve and fill the library from recorded bars of several coins.

A version's own curve is the one that all share, moved towards the candles that it learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryptocast.paths.curve import ScaleCurve, fitted_leads, fixed_columns, varying_columns
from cryptocast.paths.library import Library, encode
from cryptocast.paths.predictors import Grid, Predictors, day_bars, predictors
from cryptocast.values import DAY_SECONDS, FloatArray, IntArray

WARM_UP_DAYS = 7
"""Days before the first origin of a series."""

_STRIDE = 7  # bars between origins: no factor of a day's bars, so that no time is left out
_RIDGE = 2e-2  # of variances that are some 0.1: measured on other years, better than 10 times less
_ROUNDS = 25
_OWN_DAYS = 60  # of candles: a curve of fewer was worse than the shipped one on 2018 and 2021
_PULL_DAYS = 30.0  # so many days count as much as the shared curve does
_HELD_OUT = 0.25  # of the origins, the newest
_MOST_ORIGINS = 4000  # over all markets: some seconds
_MOST_RATIO = 30.0  # larger outcomes are clipped, so that one crash is not the fit


def fit_curve(series: Sequence[Grid]) -> ScaleCurve:
    """Return the curve that fits the sizes of the moves of all series best (gamma likelihood)."""
    day = _day(series)
    sample = _Sample.of(series, day, _STRIDE)
    rows = []
    for columns, outcome in zip(sample.columns, sample.outcomes.T, strict=True):
        towards = np.zeros(columns.shape[1])
        towards[0] = np.log(outcome.mean())
        pull = np.where(np.arange(len(towards)) > 0, _RIDGE, 0.0)
        rows.append(_gamma(columns, outcome, towards, pull))
    return ScaleCurve("", day, np.stack(rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Origins of all series, and what followed each at the fitted leads."""

    origins: IntArray  # [N] Unix seconds
    columns: tuple[FloatArray, ...]  # of each lead [N, P]
    outcomes: FloatArray  # [N, K] sizes of the moves, in multiples of the level
    seen: NDArray[np.bool_]  # [N, K] False: no candle tells what followed

    @classmethod
    def of(cls, series: Sequence[Grid], day: FloatArray, stride: int) -> _Sample:
        leads = fitted_leads(len(day))
        known, sizes, seen = [], [], []
        for bars in series:
            at = np.arange(WARM_UP_DAYS * len(day), len(bars.open_time) - len(day), stride)
            after = at[:, None] + np.array(leads) - 1
            known.append(predictors(bars, at))
            sizes.append(np.abs(bars.log_return)[after])
            seen.append(~bars.missing[after])
        together, outcome = Predictors.concatenate(known), np.concatenate(sizes)
        fixed, varying = fixed_columns(together, day), varying_columns(together, day)
        return cls(
            together.origin,
            tuple(np.column_stack([fixed, *(v[:, lead - 1] for v in varying)]) for lead in leads),
            np.minimum(outcome / np.exp(together.level)[:, None], _MOST_RATIO),
            np.concatenate(seen),
        )

    def adapted(self, among: NDArray[np.bool_], start: ScaleCurve, pull: float) -> FloatArray:
        """Return coefficients [K, P] of the origins among all, drawn towards those of a curve."""
        rows = []
        for i, (columns, towards) in enumerate(zip(self.columns, start.coefficients, strict=True)):
            kept = among & self.seen[:, i]
            penalty = np.full(len(towards), pull)
            rows.append(_gamma(columns[kept], self.outcomes[kept, i], towards, penalty))
        return np.stack(rows)

    def losses(self, coefficients: FloatArray) -> FloatArray:
        """Return the loss [N] at each origin, its mean over the leads that are seen."""
        logs = np.stack([c @ b for c, b in zip(self.columns, coefficients, strict=True)], axis=1)
        logs = np.clip(logs, -5.0, 5.0)
        loss = np.where(self.seen, logs + self.outcomes * np.exp(-logs), 0.0)
        return np.asarray(loss.sum(axis=1) / np.maximum(self.seen.sum(axis=1), 1))


@dataclass(frozen=True, slots=True, eq=False)
class Adaptation:
    """The result of moving a shared curve towards some candles."""

    curve: ScaleCurve | None  # None: the shared one stays
    reason: str
    gain: float | None = None  # by how much the mean loss, a log-likelihood, is smaller
    error: float | None = None  # standard error of the gain, over days


def adapt_curve(series: Sequence[Grid], start: ScaleCurve) -> Adaptation:
    """Move a shared curve towards series of one time, if that is better on their newest quarter.

    A curve that was moved by the older three quarters alone is judged by the gamma likelihood of
    the moves of the newest. If it gains more than a standard error, all of them move the curve.
    """
    day = len(start.day)
    bars = min(len(one.open_time) for one in series)
    if bars < _OWN_DAYS * day:
        return Adaptation(None, f"{bars // day} days of candles, {_OWN_DAYS} are needed")
    room = bars - (WARM_UP_DAYS + 1) * day
    # A multiple of 12 less 1 shares no factor with a day's bars.
    stride = max(_STRIDE, -(-room * len(series) // _MOST_ORIGINS // 12) * 12 - 1)
    sample = _Sample.of(series, start.day, stride)
    cut = np.quantile(sample.origins, 1 - _HELD_OUT)
    older, newer = sample.origins + DAY_SECONDS <= cut, sample.origins > cut
    pull = _PULL_DAYS * day / room
    trial = sample.adapted(older, start, pull / (1 - _HELD_OUT))
    better = (sample.losses(start.coefficients) - sample.losses(trial))[newer]
    days = sample.origins[newer] // DAY_SECONDS
    means = np.array([better[days == one].mean() for one in np.unique(days)])
    gain, error = float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))
    judged = f"on the newest {len(means)} of {bars // day} days"
    if gain <= error:
        return Adaptation(None, f"its own is no better {judged}", gain, error)
    every = sample.adapted(np.ones(len(sample.origins), dtype=bool), start, pull)
    return Adaptation(ScaleCurve("", start.day, every), f"its own is better {judged}", gain, error)


def _day(series: Sequence[Grid]) -> FloatArray:
    """Return the log of the mean size by time of day, relative to that of the week around."""
    slots, sizes, day = [], [], day_bars(_interval(series[0]))
    for bars in series:
        size = np.abs(bars.log_return)
        days = len(size) // day
        size = size[: days * day].reshape(days, day)
        week = np.convolve(size.mean(axis=1), np.ones(7), "same")
        week /= np.convolve(np.ones(days), np.ones(7), "same")
        sizes.append((size / week[:, None]).ravel())
        slots.append(bars.open_time[: days * day] % DAY_SECONDS // _interval(bars))
    slot, size = np.concatenate(slots), np.minimum(np.concatenate(sizes), _MOST_RATIO)
    return np.log(np.bincount(slot, size, day) / np.bincount(slot, minlength=day))


def _gamma(
    columns: FloatArray, outcome: FloatArray, towards: FloatArray, pull: FloatArray
) -> FloatArray:
    """Return coefficients [P] that minimise the mean of log(mu) + y / mu, mu = exp(columns @ b).

    By Fisher scoring: its information is the same in every round. A ridge, `pull` [P] towards
    the coefficients `towards`, keeps columns that say nearly the same from cancelling each other.
    """
    b, penalty = towards.copy(), np.diag(pull)
    information = columns.T @ columns / len(columns) + penalty
    for _ in range(_ROUNDS):
        mu = np.exp(np.clip(columns @ b, -5.0, 5.0))
        slope = columns.T @ (1.0 - outcome / mu) / len(columns) + penalty @ (b - towards)
        step = np.linalg.solve(information, slope)
        b = b - step
        if np.abs(step).max() < 1e-7:
            break
    return b


def fill_library(series: Sequence[Grid], curve: ScaleCurve, stride: int) -> Library:
    """Return the residual paths that all series have at common origins, every `stride` bars.

    A residual's mean size is 1 at every lead, over all series.
    """
    first = max(int(bars.open_time[0]) for bars in series) + WARM_UP_DAYS * DAY_SECONDS
    last = min(int(bars.open_time[-1]) for bars in series) - DAY_SECONDS
    origins = np.arange(first, last, stride * _interval(series[0]))
    residuals = np.stack(
        [_residuals(bars, curve, origins) for bars in series],
        axis=1,
    )
    return Library(encode(residuals / np.abs(residuals).mean(axis=(0, 1))))


def _residuals(bars: Grid, curve: ScaleCurve, origins: IntArray) -> FloatArray:
    """Return the moves [O, D] that followed the origins, in units of the curve."""
    at = (origins - bars.open_time[0]) // _interval(bars)
    moves = bars.log_return[at[:, None] + np.arange(len(curve.day))]
    return np.asarray(moves / curve.sizes(predictors(bars, at)))


def _interval(bars: Grid) -> int:
    """Return the seconds of a bar."""
    return int(bars.open_time[1] - bars.open_time[0])
