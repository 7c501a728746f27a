"""The yardstick: a baseline learns anew every week, from the week before and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np

from cryptocast.compute.scoring import YARDSTICK_BARS, baseline
from cryptocast.models._quantiles import symmetric
from cryptocast.values import FloatArray, Windows
from support.synthetic import BAR, LEVELS, bars, windows

WEEK = YARDSTICK_BARS
LAID = bars(3 * WEEK + 500, 3)
BEFORE = windows(LAID, 16, 2 * WEEK, lookback=2)
AFTER = windows(LAID, 2 * WEEK, 3 * WEEK + 500, lookback=2)


def walk(before: Windows, after: Windows) -> FloatArray:
    """[N, H, Q] in units of sigma * sqrt(step)."""
    forecasts = baseline("random_walk", before, after, LEVELS, BAR).quantiles
    return np.asarray(forecasts / after.unit(forecasts.shape[1])[..., None])


def learned(first: int, end: int) -> FloatArray:
    return symmetric(windows(LAID, first, end, lookback=2).standardised, LEVELS)


def test_the_walk_is_learned_anew_every_week_from_the_week_before() -> None:
    found = walk(BEFORE, AFTER)
    np.testing.assert_allclose(found[0], learned(WEEK, 2 * WEEK), rtol=1e-5)
    np.testing.assert_allclose(found[WEEK - 1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[WEEK], learned(2 * WEEK, 3 * WEEK), rtol=1e-5)
    assert np.abs(found[WEEK] - found[0]).max() > 0.01


def test_no_week_is_learned_from_an_outcome_that_lay_ahead() -> None:
    ahead = 3 * WEEK - np.arange(1, 7)  # of these origins, step 6 is known at the end of the week
    moved = AFTER.targets.copy()
    moved[WEEK:] *= 50
    for row in ahead - 2 * WEEK:
        later = row + 1 + np.arange(6) > WEEK
        moved[row, later] *= 50
    other = dataclasses.replace(AFTER, targets=moved)
    np.testing.assert_array_equal(walk(BEFORE, other), walk(BEFORE, AFTER))


def test_what_is_older_than_a_week_does_not_count() -> None:
    moved = BEFORE.targets.copy()
    moved[: WEEK - 16] *= 50
    np.testing.assert_array_equal(
        walk(dataclasses.replace(BEFORE, targets=moved), AFTER), walk(BEFORE, AFTER)
    )


def test_without_an_origin_there_is_no_forecast() -> None:
    assert walk(BEFORE, AFTER.take(slice(0, 0))).shape == (0, 6, len(LEVELS))


def test_a_walk_that_is_asked_for_every_seventh_origin_has_learned_from_all() -> None:
    def forecasts(every: int) -> FloatArray:
        return baseline("random_walk", BEFORE, AFTER, LEVELS, BAR, every).quantiles

    np.testing.assert_allclose(forecasts(7), forecasts(1)[::7], rtol=1e-6)
