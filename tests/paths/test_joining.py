"""Paths agree with the served quantiles at every served step."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.paths.joining import joined

LEVELS = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2))


def walks(count: int, steps: int = 30) -> np.ndarray:
    moves = np.random.default_rng(3).standard_t(4, (count, steps))
    return np.cumsum(0.001 * moves, axis=1)


def served(scale: float, shift: float = 0.0, steps: int = 24) -> np.ndarray:
    """Quantiles [H, Q] of a skewed distribution, wider than the walks' by `scale`."""
    shape = np.quantile(np.random.default_rng(4).gamma(3.0, 1.0, 20_000) - 3, LEVELS)
    return scale * 0.001 * np.sqrt(np.arange(1, steps + 1))[:, None] * shape + shift


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_paths_have_the_served_quantiles(scale: float) -> None:
    target = served(scale, shift=0.0004)
    moved = joined(walks(1000), target, LEVELS)
    unit = scale * 0.001 * np.sqrt(np.arange(1, 25))[:, None]
    error = np.quantile(moved[:, :24], LEVELS, axis=0).T - target
    assert np.abs(error / unit).max() < 1e-3


def test_paths_keep_their_ranks_and_go_on_from_where_they_were_moved_to() -> None:
    before = walks(1000)
    after = joined(before, served(2.0), LEVELS)
    for step in range(24):
        assert (np.argsort(before[:, step]) == np.argsort(after[:, step])).all()
    assert np.allclose(np.diff(after[:, 23:], axis=1), np.diff(before[:, 23:], axis=1))


def test_shorter_paths_keep_the_quantiles_of_the_steps_that_they_have() -> None:
    target = served(1.0)
    moved = joined(walks(1000, steps=7), target, LEVELS)
    assert moved.shape == (1000, 7)
    assert np.abs(np.quantile(moved, LEVELS, axis=0).T - target[:7]).max() < 1e-6


def test_paths_that_do_not_move_are_spread_and_stay_finite() -> None:
    assert np.isfinite(joined(np.zeros((1000, 30)), served(1.0), LEVELS)).all()
