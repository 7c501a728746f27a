"""The scale curve: the mean size of a move at every lead of the next day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryptocast.paths.predictors import Predictors
from cryptocast.values import DAY_SECONDS, FloatArray, IntArray

_LEADS = (
    *(1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 34),
    *(44, 57, 72, 90, 112, 139, 170, 205, 245, 288),
)  # of a day of 288 bars
_MOST_LOG = 3.0  # a curve further from the level of four weeks than this factor is a fault


@dataclass(frozen=True, slots=True, eq=False)
class ScaleCurve:
    """A log-linear model of E|r| at every lead, in multiples of the level of the last weeks."""

    name: str  # of its library, or of the version whose own it is
    day: FloatArray  # [D] log of the usual size by time of day from 00:00 UTC; mean size is 1
    coefficients: FloatArray  # [K, P] at `fitted_leads`: first the fixed columns, then the varying

    def sizes(self, known: Predictors) -> FloatArray:
        """Return E|r| [N, D] of the bars that follow each origin, as log-returns."""
        leads = np.log(np.arange(1, len(self.day) + 1))
        fitted = np.log(fitted_leads(len(self.day)))
        every = np.stack([np.interp(leads, fitted, c) for c in self.coefficients.T], axis=1)
        fixed, varying = fixed_columns(known, self.day), varying_columns(known, self.day)
        width = fixed.shape[1]
        log = fixed @ every[:, :width].T
        log += sum(v * every[:, width + i] for i, v in enumerate(varying))
        return np.asarray(np.exp(known.level[:, None] + np.clip(log, -_MOST_LOG, _MOST_LOG)))


def fitted_leads(day: int) -> tuple[int, ...]:
    """Return the K leads that are fitted of a day of so many bars: 21 of those of 5 minutes.

    Between them coefficients are interpolated in log(lead).
    """
    return tuple(sorted({max(1, round(lead * day / _LEADS[-1])) for lead in _LEADS}))


def fixed_columns(known: Predictors, day: FloatArray) -> FloatArray:
    """Return the columns [N, P] that are the same for all leads."""
    past = known.origin[:, None] - DAY_SECONDS // len(day) * np.arange(1, len(day) // 24 + 1)
    ones = np.ones(len(known.level))
    return np.column_stack([ones, known.sizes, known.recent, _at(day, past).mean(axis=1)])


def varying_columns(known: Predictors, day: FloatArray) -> tuple[FloatArray, ...]:
    """Return the columns that each lead has of its own, [N, D] each."""
    ahead = known.origin[:, None] + DAY_SECONDS // len(day) * np.arange(len(day))
    return known.profile, _at(day, ahead)


def _at(day: FloatArray, moments: IntArray) -> FloatArray:
    """Return the usual size of the bars that open at these moments, in their shape."""
    return np.asarray(day[moments % DAY_SECONDS // (DAY_SECONDS // len(day))])
