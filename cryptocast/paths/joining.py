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
    first = paths[:, :served].T
    order = np.argsort(first, axis=1, kind="stable")
    ranked = np.take_along_axis(first, order, axis=1)  # [served, N]: moving keeps their order
    place = np.asarray(levels) * (len(paths) - 1)
    below = place.astype(np.intp)
    share, above = place - below, np.minimum(below + 1, len(paths) - 1)
    for _ in range(_ROUNDS):
        own = (1 - share) * ranked[:, below] + share * ranked[:, above]
        for step in range(served):
            ranked[step] = _stretched(ranked[step], own[step], quantiles[step], len(levels) // 2)
    moved = paths.copy()
    np.put_along_axis(moved[:, :served].T, order, ranked, axis=1)
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
