"""Paths that agree with served quantiles: at every served step they have the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptocast.values import FloatArray

_ROUNDS = 3
"""Each round leaves a hundredth of the error that a quantile between two paths makes."""


def joined(paths: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return log-returns [N, S] whose quantiles at the steps of `quantiles` [H, Q] are those.

    At each step the paths keep their ranks. Between two levels they keep their places, beyond
    the outer ones their distances, stretched. After the last served step each goes on from where
    it was moved to. N is many times the number of levels.
    """
    served = min(len(quantiles), paths.shape[1])
    moved = paths.copy()
    middle = len(levels) // 2
    for step in range(served):
        target, values = quantiles[step], moved[:, step]
        for _ in range(_ROUNDS):
            values = _stretched(values, np.quantile(values, levels), target, middle)
        moved[:, step] = values
    moved[:, served:] += (moved[:, served - 1] - paths[:, served - 1])[:, None]
    return moved


def _stretched(values: FloatArray, own: FloatArray, target: FloatArray, middle: int) -> FloatArray:
    """Return values [N] moved so that their quantiles `own` [Q] come to lie at `target` [Q]."""
    own = np.maximum.accumulate(own + 1e-12 * np.arange(len(own)))  # ties would divide by 0
    inside = np.interp(values, own, target)
    below = (target[middle] - target[0]) / (own[middle] - own[0])
    above = (target[-1] - target[middle]) / (own[-1] - own[middle])
    inside += below * np.minimum(values - own[0], 0.0)
    inside += above * np.maximum(values - own[-1], 0.0)
    return np.asarray(inside)
