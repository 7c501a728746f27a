"""A correction of log-volatility that is linear in what is known at the origin, ridge-shrunk.

The log-scale of an origin with predictors x [P] to step h is `x @ paths[h] @ c`. The fixed
`paths` [H, P, C] say how the C free numbers run over predictors and steps, so that few
numbers serve all steps: the targets of neighbouring steps overlap, and a number a step
would be noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryptocast.models._graphs import Graph
from cryptocast.values import FloatArray

_CLIP = 12.0  # standardised targets beyond are taken as this, so that one crash does not rule
_RIDGE = 400.0  # of 20, 100, 400 and 1,600 the best over 24 steps of har, within noise


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """`log_scale = clip(x @ weights - centre, -bound, bound)`, of mean 0 in the past."""

    weights: FloatArray  # [P, H]
    centre: FloatArray  # [H]
    bound: float

    def log_scale(self, predictors: FloatArray) -> FloatArray:
        """[N, H] for predictors [N, P]."""
        return np.clip(predictors @ self.weights - self.centre, -self.bound, self.bound)

    def draw(self, graph: Graph, predictors: str) -> str:
        """The same in a graph."""
        linear = graph.MatMul(predictors, graph.fixed(self.weights))
        centred = graph.Sub(linear, graph.fixed(self.centre))
        return graph.Clip(centred, graph.fixed(-self.bound), graph.fixed(self.bound))


def learn(
    predictors: FloatArray, paths: FloatArray, ratios: FloatArray, bound: float
) -> Correction:
    """The correction that the past suggests, from predictors [N, P] and ratios [N, H].

    Ridge regression of each standardised target's size, relative to the mean size of its
    step, on `predictors @ paths`: one step of Fisher scoring for a gamma regression with a
    log link (McCullagh & Nelder 1989, 8.3), from no correction at all. More steps changed
    nothing. Step h counts 1/h, for its targets overlap so often. Where nothing is known, or
    nothing moved, there is no correction.
    """
    known = np.isfinite(ratios)
    counts = np.maximum(known.sum(axis=0), 1)
    size = np.where(known, np.minimum(np.abs(ratios), _CLIP), 0.0)
    typical = size.sum(axis=0) / counts
    excess = np.where(known & (typical > 0), size / np.where(typical > 0, typical, 1.0) - 1, 0.0)

    mean = predictors.sum(axis=0) / max(len(predictors), 1)
    centred = predictors - mean
    gram = _RIDGE * np.eye(paths.shape[2])
    slope = np.zeros(paths.shape[2])
    for step, path in enumerate(paths, start=1):
        seen = centred[known[:, step - 1]]
        gram += path.T @ (seen.T @ seen) @ path / step
        slope += path.T @ (centred.T @ excess[:, step - 1]) / step
    weights = (paths @ np.linalg.solve(gram, slope)).T
    return Correction(weights, mean @ weights, bound)
