"""The time of day: volatility has its hours, and they return.

The log-volatility of a bar is taken to have two harmonics of the day (Andersen & Bollerslev
1998 find that few suffice). A forecast is widened by the season's mean over the bars ahead
minus its mean over the bars that sigma remembers; both means only turn and damp a harmonic,
so four numbers serve all steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptocast.models import _graphs, _quantiles
from cryptocast.models.baselines._baseline import Baseline, PastOrigins, learn_correction
from cryptocast.values import DAY_SECONDS, Fitted, FloatArray

SIGMA_DECAY = 0.94  # of sigma per bar: its memory (dataset.features.DECAY)
_HARMONICS = (1, 2)
_BOUND = 0.7


class Model(Baseline):
    """Seasonal volatility as a model kind."""

    kind = "seasonal"

    def learn(self, past: PastOrigins, levels: Sequence[float]) -> Fitted:
        """Find the season, then the quantiles of what it leaves unexplained."""
        ratios = past.origins.standardised
        sine, cosine = past.newest("day_sin", "day_cos").T
        clock = np.stack([sine, cosine, 2 * sine * cosine, cosine**2 - sine**2], axis=1)
        season = learn_correction(clock, paths(ratios.shape[1], past.bar_seconds), ratios, _BOUND)
        base = _quantiles.symmetric(ratios / np.exp(season.log_scale(clock)), levels)
        graph = _graphs.Graph(past.lookback)
        log_scale = season.draw(graph, _clock(graph))
        return Fitted(self.kind, {}, graph.stretched(base, log_scale))


def paths(horizon: int, bar_seconds: int) -> FloatArray:
    """Return [H, 4, 4] how a sine and a cosine at the origin look from step h, minus from sigma.

    With z = cos + i sin of the origin's time, the bar j ahead has z * turn**j. If the length of
    a bar is unknown or a whole number of days, there is no season: all zero.
    """
    turned = np.zeros((horizon, 2 * len(_HARMONICS), 2 * len(_HARMONICS)))
    steps = np.arange(1, horizon + 1)
    for i, harmonic in enumerate(_HARMONICS):
        turn = np.exp(2j * np.pi * harmonic * (bar_seconds % DAY_SECONDS) / DAY_SECONDS)
        ahead = np.cumsum(turn**steps) / steps
        remembered = (1 - SIGMA_DECAY) / (1 - SIGMA_DECAY / turn)
        seen = ahead - remembered
        place = slice(2 * i, 2 * i + 2)
        # Rows: sine and cosine at the origin; columns: the weights of the season's two.
        turned[:, place, place] = np.stack(
            [np.stack([seen.real, -seen.imag], 1), np.stack([seen.imag, seen.real], 1)], axis=1
        )
    return turned


def _clock(graph: _graphs.Graph) -> str:
    """Return [N, 4] the sine and cosine of the time of day and of its double."""
    sine, cosine = graph.newest_feature("day_sin"), graph.newest_feature("day_cos")
    product = graph.Mul(sine, cosine)
    squares = graph.Sub(graph.Mul(cosine, cosine), graph.Mul(sine, sine))
    return graph.Concat(sine, cosine, graph.Add(product, product), squares, axis=1)
