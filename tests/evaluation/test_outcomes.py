"""Figures of served forecasts over a range, against what a slow loop finds."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.evaluation.outcomes import (
    ServedFigures,
    coverage_by_hour,
    coverage_by_step,
    rolling_skill,
    step_calibration,
)
from cryptocast.values import FloatArray

N, H = 400, 4
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
Z = np.array([-1.645, -0.674, 0.0, 0.674, 1.645])
ROWS = np.arange(N)
ORIGINS = 1_717_372_800 + 300 * ROWS


def drawn(seed: int = 1) -> FloatArray:
    """Overlapping targets [N, H] of a random walk, some of them unknown."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 1e-3, N + H)
    targets = np.stack([np.convolve(steps, np.ones(k), "valid")[:N] for k in range(1, H + 1)], 1)
    targets[random.random((N, H)) < 0.1] = np.nan
    return targets


def fan(factor: float = 1.0) -> FloatArray:
    sigma = 1e-3 * np.sqrt(np.arange(1, H + 1))
    return np.broadcast_to(factor * sigma[None, :, None] * Z, (N, H, len(Z)))


def figures(factor: float = 1.0, walk: float = 1.3) -> ServedFigures:
    return ServedFigures.of(fan(factor), fan(walk), drawn(), LEVELS)


def test_means_are_those_of_the_scored_pairs() -> None:
    of_all = figures()
    means = of_all.means()
    scored = np.isfinite(of_all.loss)
    assert means.n == scored.sum()
    assert means.crps_bp == pytest.approx(of_all.loss[scored].mean())
    assert means.skill == pytest.approx(1 - of_all.loss[scored].mean() / of_all.walk[scored].mean())
    assert means.coverage90 == pytest.approx(of_all.in90[scored].mean())
    assert means.coverage80 is None  # the levels hold no such range
    second = of_all.at_step(2).at_origins(np.arange(N) < 10)
    np.testing.assert_array_equal(second.loss, of_all.loss[:10, 1:2])


def test_without_a_walk_there_is_no_skill() -> None:
    means = figures(walk=np.nan).means()
    assert (means.walk_bp, means.skill) == (None, None)
    nothing = figures().at_origins(np.zeros(N, dtype=bool)).means()
    assert (nothing.n, nothing.crps_bp, nothing.skill) == (0, None, None)


def test_rolling_skill_is_a_ratio_of_means_over_each_window() -> None:
    of_all = figures()
    rolled = rolling_skill(of_all.loss, of_all.walk, ROWS, day_bars=60)
    assert rolled is not None
    assert rolled.window_bars == 60
    assert (rolled.low < rolled.skill).all()
    assert (rolled.skill < rolled.high).all()
    rows = np.flatnonzero(np.isfinite(of_all.loss).any(axis=1))
    for last, skill in zip(rolled.times, rolled.skill, strict=True):
        at = int(np.searchsorted(rows, last))
        window = rows[at - 59 : at + 1]
        ratio = np.nansum(of_all.loss[window]) / np.nansum(of_all.walk[window])
        assert skill == pytest.approx(1 - ratio)
    assert rolled.times[-1] == rows[-1]


def test_a_short_range_has_shorter_windows_or_none() -> None:
    of_all = figures()
    short = rolling_skill(of_all.loss[:80], of_all.walk[:80], ROWS, day_bars=288)
    assert short is not None
    assert short.window_bars == np.isfinite(of_all.loss[:80]).any(axis=1).sum() // 4
    assert rolling_skill(of_all.loss[:30], of_all.walk[:30], ROWS, day_bars=288) is None
    assert rolling_skill(of_all.loss, np.full((N, H), np.nan), ROWS, day_bars=60) is None


def test_coverage_is_counted_by_step_and_by_hour() -> None:
    hits = figures().in90
    steps = coverage_by_step(hits)
    assert steps.n.tolist() == np.isfinite(hits).sum(axis=0).tolist()
    assert steps.share == pytest.approx(np.nanmean(hits, axis=0))
    assert (steps.low < steps.share).all()
    assert (steps.share < steps.high).all()
    hours = coverage_by_hour(hits, ORIGINS)
    hour = ORIGINS // 3600 % 24
    for at in range(24):
        assert hours.n[at] == np.isfinite(hits[hour == at]).sum()
        assert hours.share[at] == pytest.approx(np.nanmean(hits[hour == at]))


def test_hours_without_an_outcome_have_no_share() -> None:
    hours = coverage_by_hour(figures().in90[:12], ORIGINS[:12])
    assert hours.n[0] > 0
    assert hours.n[1:].tolist() == [0] * 23
    assert np.isnan(hours.share[1:]).all()


def test_calibration_counts_the_outcomes_between_quantiles() -> None:
    targets, quantiles = drawn(), fan()
    found = step_calibration(quantiles, targets, 3)
    known = np.isfinite(targets[:, 2])
    assert found.n == known.sum()
    for i in range(len(LEVELS)):
        assert found.below[i] == pytest.approx(np.mean(targets[known, 2] <= quantiles[known, 2, i]))
    assert found.between.sum() == pytest.approx(1)
    assert found.between[0] == found.below[0]
