"""The figures that an audit judges by."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.evaluation.audits import independent_origins, skill_against_truth
from cryptocast.values import FloatArray


def test_the_effective_number_of_origins_leaves_the_overlap_out() -> None:
    random = np.random.default_rng(0)
    path = np.cumsum(random.normal(size=(400, 524)), axis=1)
    origins, steps = 500, 24
    up = np.stack([path[:, h : h + origins] > path[:, :origins] for h in range(1, steps + 1)])
    shares = up.mean(axis=(0, 2))  # right directions of who always says up
    n = independent_origins(origins, steps)
    assert shares.std() <= 1.1 * np.sqrt(0.25 / n)
    assert independent_origins(origins, 1) == origins


def losses(random: np.random.Generator, walks: int, skill: float) -> list[FloatArray]:
    """[walks][312, 24] losses beside a truth of 1, whose noise lasts as long as targets overlap."""
    shocks = random.normal(0, 0.1, size=(walks, 312 + 23))
    means = np.lib.stride_tricks.sliding_window_view(shocks, 24, axis=1).mean(axis=-1)
    return [np.repeat(1 - skill - mean[:, None], 24, axis=1) for mean in means]


@pytest.mark.parametrize("walks", [1, 4])
def test_luck_on_few_walks_is_no_skill_that_cannot_exist(walks: int) -> None:
    random = np.random.default_rng(5)
    truth = [np.ones((312, 24))] * walks
    found = [skill_against_truth(losses(random, walks, 0.0), truth) for _ in range(200)]
    assert min(one.p_value or 0.0 for one in found) > 1e-4
    within = np.mean([abs(one.skill) <= (one.noise or 0.0) for one in found])
    assert within == pytest.approx(0.9, abs=0.06)


def test_a_skill_that_cannot_exist_is_found_on_four_walks() -> None:
    truth = [np.ones((312, 24))] * 4
    found = skill_against_truth(losses(np.random.default_rng(5), 4, 0.05), truth)
    assert found.skill == pytest.approx(0.05, abs=0.01)
    assert (found.p_value or 1.0) < 1e-4


def test_one_block_alone_has_no_noise_to_tell() -> None:
    found = skill_against_truth([np.full((20, 24), 0.9)], [np.ones((20, 24))])
    assert (found.noise, found.p_value) == (None, None)
