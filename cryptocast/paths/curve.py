"""The scale curve: the mean size of a move at every lead of the next day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryptocast.paths.predictors import LEADS, Predictors
from cryptocast.values import DAY_SECONDS, FloatArray, IntArray

FITTED_LEADS = (
    *(1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 34),
    *(44, 57, 72, 90, 112, 139, 170, 205, 245, 288),
)
"""The 21 leads that are fitted; between them coefficients are interpolated in log(lead)."""

_BAR_SECONDS = 300
_HOURS = 168
_MOST_LOG = 3.0  # a curve further from the level of four weeks than this factor is a fault


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """The usual size of moves by time of day and by hour of the week, as logs; mean size is 1."""

    day: FloatArray  # [LEADS] from 00:00 UTC
    week: FloatArray  # [168] from Thursday 00:00 UTC, as Unix time counts

    def at(self, moments: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return both for the bars that open at these moments, in their shape."""
        slot = moments % DAY_SECONDS // _BAR_SECONDS
        return self.day[slot], self.week[moments // 3600 % _HOURS]


@dataclass(frozen=True, slots=True, eq=False)
class ScaleCurve:
    """A log-linear model of E|r| at every lead, in multiples of the level of the last weeks."""

    calendar: Calendar
    coefficients: FloatArray  # [21, P] at `FITTED_LEADS`, in the order of `columns`

    def sizes(self, known: Predictors) -> FloatArray:
        """Return E|r| [N, LEADS] of the bars that follow each origin, as log-returns."""
        leads = np.log(np.arange(1, LEADS + 1))
        fitted = np.log(FITTED_LEADS)
        every = np.stack([np.interp(leads, fitted, c) for c in self.coefficients.T], axis=1)
        fixed, varying = fixed_columns(known, self.calendar), varying_columns(known, self.calendar)
        width = fixed.shape[1]
        log = fixed @ every[:, :width].T
        log += sum(v * every[:, width + i] for i, v in enumerate(varying))
        return np.asarray(np.exp(known.level[:, None] + np.clip(log, -_MOST_LOG, _MOST_LOG)))


def fixed_columns(known: Predictors, calendar: Calendar) -> FloatArray:
    """Return the columns [N, P] that are the same for all leads."""
    past = known.origin[:, None] - _BAR_SECONDS * np.arange(1, 13)
    day, week = (values.mean(axis=1) for values in calendar.at(past))
    ones = np.ones(len(known.level))
    return np.column_stack([ones, known.sizes, known.recent, day, week])


def varying_columns(known: Predictors, calendar: Calendar) -> tuple[FloatArray, ...]:
    """Return the columns that each lead has of its own, [N, LEADS] each."""
    ahead = known.origin[:, None] + _BAR_SECONDS * np.arange(LEADS)
    return (known.profile, *calendar.at(ahead))
