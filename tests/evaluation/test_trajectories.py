"""Scores of whole paths, each against a slow and plain computation."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.evaluation.trajectories import (
    day_scales,
    energy,
    increments,
    jackknife,
    relative,
    reliability,
)

RNG = np.random.default_rng(3)
SCALES = (1, 6, 36, 288)


def prices(count: int, steps: int) -> np.ndarray:
    walks = np.cumsum(RNG.normal(0, 0.001, (count, steps)), axis=1)
    return 50.0 * np.exp(np.insert(walks, 0, 0.0, axis=1))


def slow_crps(values: list[float], actual: float) -> float:
    apart = sum(abs(x - actual) for x in values) / len(values)
    between = sum(abs(x - y) for x in values for y in values) / len(values) ** 2
    return apart - between / 2


def test_the_crps_is_summed_over_increments_without_overlap() -> None:
    paths, actual = prices(20, 80), prices(1, 80)[0]
    scored = increments(paths, actual, SCALES)
    for i, scale in enumerate(SCALES[:3]):
        total = 0.0
        for start in range(0, 80 - scale + 1, scale):
            moves = [1e4 * (p[start + scale] / p[start] - 1) for p in paths]
            move = 1e4 * (actual[start + scale] / actual[start] - 1)
            total += slow_crps(moves, move)
        assert scored.crps[i] == pytest.approx(total)
    assert np.isnan(scored.crps[3])  # a day is longer than these paths


def test_the_scales_are_the_same_times_at_every_interval() -> None:
    assert day_scales("5m", 300) == dict(zip(("5m", "30m", "3h", "24h"), SCALES, strict=True))
    assert day_scales("15m", 900) == {"15m": 1, "30m": 2, "3h": 12, "24h": 96}


def test_the_share_inside_is_that_of_the_ranges_of_the_paths() -> None:
    paths = prices(400, 288)
    inside = np.mean(
        [increments(paths, one, SCALES).inside[:, 0] for one in prices(20, 288)], axis=0
    )
    assert inside == pytest.approx([0.8, 0.9], abs=0.02)
    assert increments(paths, paths[0] ** 3, SCALES).inside[1, 0] < 0.6


def test_the_energy_score_is_near_that_of_all_pairs_and_least_for_the_truth() -> None:
    points, actual = RNG.normal(size=(300, 3)), np.zeros(3)
    near = np.linalg.norm(points - actual, axis=1).mean()
    every = np.mean([np.linalg.norm(points - p, axis=1).mean() for p in points])
    assert energy(points, actual) == pytest.approx(near - every / 2, rel=0.02)
    many = RNG.normal(size=(60, 3))
    own, wide = (np.mean([energy(f * points, x) for x in many]) for f in (1.0, 2.0))
    assert own < wide


def test_losses_are_compared_as_sums_and_the_error_leaves_out_whole_blocks() -> None:
    ours, theirs = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 2.0, 4.0, 4.0])
    blocks = np.array([0, 0, 1, 1])
    gain, error = relative(ours, theirs, blocks)
    assert gain == pytest.approx(0.0)
    assert error == pytest.approx(np.std([9 / 8, 3 / 4]))
    assert relative(ours, theirs, np.zeros(4))[1] is None


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = RNG.normal(size=200)
    error = jackknife(np.arange(200), lambda kept: float(values[kept].mean()))
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(200), rel=1e-3)


def test_answers_of_like_probability_are_counted_together() -> None:
    said, came = np.array([0.04, 0.06, 0.5, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    low, middle, high = reliability(said, came)
    assert (low.n, low.said, low.came) == (2, pytest.approx(0.05), 0.5)
    assert (middle.said, high.n, high.came) == (0.5, 1, 1.0)
