"""Steps beyond those that a base network was trained for: the same numbers, read further ahead.

The network says by three numbers how the size of moves runs over its steps. How they go on to the
steps of a whole day is fitted afterwards, so that nothing of the nearer steps changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from cryptocast.models import _quantiles
from cryptocast.models._base import Base, read
from cryptocast.models.base import Series
from cryptocast.values import Fitted, FloatArray

_LEADS = 12  # leads that are fitted; between them steps are interpolated in log(step)
_LEAST_ROWS = 1000
_MOST = 20.0  # larger outcomes are clipped, so that one crash is not the fit
_RIDGE = 0.05  # of the distance from how the last trained step reads the numbers
_ROUNDS = 30


def reaching(fitted: Fitted, learned: Sequence[Series], lookback: int) -> Fitted:
    """Return a trained base network, and in its graph as many steps as the series have."""
    base = read(fitted.onnx)
    graph = extended(base, learned).graph(lookback, base.levels.tolist())
    return dataclasses.replace(fitted, onnx=graph)


def extended(base: Base, learned: Sequence[Series]) -> Base:
    """Return the network with as many steps as the series' targets [N, H] have.

    Its own steps stay as they are, and those that follow join them without a jump. A network for
    which the series hold too few outcomes of the last step is returned as it is.
    """
    targets = np.concatenate([series.targets for series in learned]).astype(np.float64)
    own, horizon = base.horizon, targets.shape[1]
    if horizon <= own or np.isfinite(targets[:, -1]).sum() < _LEAST_ROWS:
        return base
    newest = np.concatenate([series.newest for series in learned]).astype(np.float64)
    numbers = base.log_scale(newest) @ np.linalg.pinv(base.basis)
    leads = np.unique(np.geomspace(own, horizon, _LEADS + 1).round().astype(np.intp))[1:]
    basis, quantiles = [base.basis[:, -1]], [base.quantiles[-1]]
    for lead in leads:
        reading = _reading(numbers, targets[:, lead - 1], basis[0])
        left = targets[:, lead - 1 : lead] / np.exp(numbers @ reading)[:, None]
        basis.append(reading)
        quantiles.append(_quantiles.symmetric(left, base.levels.tolist())[0])
    steps, known = np.log(np.arange(own + 1, horizon + 1)), np.log([own, *leads])
    far = [
        np.stack([np.interp(steps, known, row) for row in np.transpose(rows)])
        for rows in (basis, quantiles)
    ]
    return dataclasses.replace(
        base,
        basis=np.hstack([base.basis, far[0]]),
        quantiles=np.vstack([base.quantiles, far[1].T]),
    )


def _reading(numbers: FloatArray, outcomes: FloatArray, start: FloatArray) -> FloatArray:
    """Return how the numbers [N, K] tell the log of the size of outcomes [N]: K weights.

    They minimise the mean of log(mu) + |y| / mu, mu = c exp(numbers @ weights), by Fisher scoring.
    """
    known = np.isfinite(outcomes)
    sizes = np.abs(outcomes[known])
    sizes = np.minimum(sizes / sizes.mean(), _MOST)
    columns = np.column_stack([np.ones(len(sizes)), numbers[known]])
    penalty = np.diag([0.0, *np.full(len(start), _RIDGE)])
    towards = weights = np.array([0.0, *start])
    information = columns.T @ columns / len(columns) + penalty
    for _ in range(_ROUNDS):
        ratio = sizes / np.exp(np.clip(columns @ weights, -5.0, 5.0))
        slope = columns.T @ (1.0 - ratio) / len(columns) + penalty @ (weights - towards)
        weights = weights - np.linalg.solve(information, slope)
    return np.asarray(weights[1:])
