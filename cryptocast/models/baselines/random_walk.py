"""The random walk: the last price, EWMA volatility, empirical quantiles of what came before.

Filtered historical simulation (Barone-Adesi et al. 1999): the returns to each step are divided by
the volatility known at their origin (decay 0.94, as in RiskMetrics 1996); the symmetric quantiles
of those ratios times today's volatility are the forecast. Learned anew every week from the week
before, it is W7, the yardstick that anyone can run, and the last fallback.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptocast.models import _graphs, _quantiles
from cryptocast.models.baselines._baseline import Baseline, PastOrigins
from cryptocast.values import Fitted


class Model(Baseline):
    """The random walk as a model kind."""

    kind = "random_walk"

    def learn(self, past: PastOrigins, levels: Sequence[float]) -> Fitted:
        """Take the quantiles of what came before, in units of sigma."""
        base = _quantiles.symmetric(past.origins.standardised, levels)
        return Fitted(self.kind, {}, _graphs.Graph(past.lookback).constant(base))
