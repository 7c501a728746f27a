"""The last price with the unconditional distribution: as wide today as on any other day.

The quantiles are those of the past returns themselves; today's volatility only translates
them into the unit that every graph answers in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptocast.models import _graphs, _quantiles
from cryptocast.models.baselines._baseline import Baseline, PastOrigins
from cryptocast.values import LEVEL_UNIT, Fitted


class Model(Baseline):
    """The constant distribution as a model kind."""

    kind = "constant"

    def learn(self, past: PastOrigins, levels: Sequence[float]) -> Fitted:
        """Take the quantiles of the returns to each step, in the unit of a typical origin.

        Without a single origin there is no typical one, and the reference shape is taken.
        """
        origins, sigma = past.origins, past.origins.sigma
        if not len(origins):
            base = _quantiles.reference_shape(levels, past.horizon)
            return Fitted(self.kind, {}, _graphs.Graph(past.lookback).constant(base))
        typical = float(np.median(sigma))
        base = _quantiles.symmetric(origins.standardised * (sigma / typical)[:, None], levels)
        graph = _graphs.Graph(past.lookback)
        widen = graph.fixed(np.full(len(base), np.log(typical / LEVEL_UNIT)))
        return Fitted(
            self.kind, {}, graph.stretched(base, graph.Sub(widen, graph.newest_feature("level")))
        )
