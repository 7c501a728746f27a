"""AR(1): the last return echoes; the spread around it is the random walk's.

`r[t+1] = phi * r[t] + sigma[t] * shock` (Box & Jenkins 1970, with EWMA volatility): the
return to step h is expected to be `r[t] * (phi + ... + phi**h)`. It is the yardstick for
direction: on thin markets phi < 0 is the bounce between bid and ask, not skill.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptocast.models import _graphs, _quantiles
from cryptocast.models.baselines._baseline import Baseline, PastOrigins
from cryptocast.values import FEATURES, Fitted, FloatArray

_CLIP = 0.9  # beyond, an echo would be a trend


class Model(Baseline):
    """AR(1) as a model kind."""

    kind = "ar1"

    def learn(self, past: PastOrigins, levels: Sequence[float]) -> Fitted:
        """Find phi, then the quantiles of what its expectation leaves unexplained."""
        ratios, returns = past.origins.standardised, past.newest("return")
        weights = echo(phi(returns[:, 0], ratios[:, 0]), ratios.shape[1])
        base = _quantiles.symmetric(ratios - returns * weights, levels)
        graph = _graphs.Graph(past.lookback)
        places = np.zeros((len(FEATURES), len(weights)))
        places[FEATURES.index("return")] = weights
        shift = graph.MatMul(graph.newest(), graph.fixed(places))
        return Fitted(self.kind, {}, graph.shifted(base, shift))


def phi(returns: FloatArray, following: FloatArray) -> float:
    """Return the slope of the following return on the last, by least squares through zero.

    Both are in units of the volatility known between them, which makes it weighted least
    squares: one crash does not rule the week. Clipped to +-0.9; 0 if nothing moved.
    """
    known = np.isfinite(following)
    moved = float(returns[known] @ returns[known])
    slope = float(returns[known] @ following[known]) / moved if moved > 0 else 0.0
    return min(max(slope, -_CLIP), _CLIP)


def echo(slope: float, horizon: int) -> FloatArray:
    """Return [H] `slope + ... + slope**h` over sqrt(h): the expectation per step in its unit."""
    steps = np.arange(1, horizon + 1)
    return np.asarray(np.cumsum(slope**steps) / np.sqrt(steps))
