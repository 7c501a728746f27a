"""The figures that an audit judges by."""

from __future__ import annotations

import numpy as np

from cryptocast.evaluation.audits import independent_origins


def test_the_effective_number_of_origins_leaves_the_overlap_out() -> None:
    random = np.random.default_rng(0)
    path = np.cumsum(random.normal(size=(400, 524)), axis=1)
    origins, steps = 500, 24
    up = np.stack([path[:, h : h + origins] > path[:, :origins] for h in range(1, steps + 1)])
    shares = up.mean(axis=(0, 2))  # right directions of who always says up
    n = independent_origins(origins, steps)
    assert shares.std() <= 1.1 * np.sqrt(0.25 / n)
    assert independent_origins(origins, 1) == origins
