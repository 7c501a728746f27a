"""The time of day: volatility has its hours, and they come again.

The log-volatility of a bar is taken to have two harmonics of the day (Andersen & Bollerslev
1998 find that few suffice). A forecast is widened by the season's mean over the bars ahead
less its mean over the bars that sigma remembers; both means only turn and damp a harmonic,
so four numbers serve all steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryptocast.models import _graphs, _quantiles
from cryptocast.models.baselines import _correction
from cryptocast.models.baselines._baseline import Baseline, Past
from cryptocast.values import Fitted, FloatArray

SIGMA_DECAY = 0.94  # of sigma, a bar: its memory (dataset.features.DECAY)
_DAY = 86_400
_HARMONICS = (1, 2)
_BOUND = 0.7


class Model(Baseline):
    """Seasonal volatility as a model kind."""

    kind = "seasonal"

    def learn(self, past: Past, levels: Sequence[float]) -> Fitted:
        """Find the season, then the quantiles of what it leaves unexplained."""
        ratios = past.standardised
        sine, cosine = past.newest("day_sin", "day_cos").T
        clock = np.stack([sine, cosine, 2 * sine * cosine, cosine**2 - sine**2], axis=1)
        season = _correction.learn(clock, paths(ratios.shape[1], past.bar_seconds), ratios, _BOUND)
        base = _quantiles.symmetric(ratios / np.exp(season.log_scale(clock)), levels)
        graph = _graphs.Graph(past.lookback)
        log_scale = season.draw(graph, _clock(graph))
        return Fitted(self.kind, {}, graph.stretched(base, log_scale))


def paths(horizon: int, bar_seconds: int) -> FloatArray:
    """[H, 4, 4] how a sine and a cosine at the origin look from step h, less from sigma.

    With z = cos + i sin of the origin's time, the bar j ahead has z * turn**j. Unknown or
    whole days long, a bar has no season: all zero.
    """
    found = np.zeros((horizon, 2 * len(_HARMONICS), 2 * len(_HARMONICS)))
    steps = np.arange(1, horizon + 1)
    for i, harmonic in enumerate(_HARMONICS):
        turn = np.exp(2j * np.pi * harmonic * (bar_seconds % _DAY) / _DAY)
        ahead = np.cumsum(turn**steps) / steps
        remembered = (1 - SIGMA_DECAY) / (1 - SIGMA_DECAY / turn)
        seen = ahead - remembered
        place = slice(2 * i, 2 * i + 2)
        # Rows: sine and cosine at the origin; columns: the weights of the season's two.
        found[:, place, place] = np.stack(
            [np.stack([seen.real, -seen.imag], 1), np.stack([seen.imag, seen.real], 1)], axis=1
        )
    return found


def _clock(graph: _graphs.Graph) -> str:
    """[N, 4] sine and cosine of the time of day and of its double."""
    sine, cosine = graph.newest_feature("day_sin"), graph.newest_feature("day_cos")
    product = graph.Mul(sine, cosine)
    squares = graph.Sub(graph.Mul(cosine, cosine), graph.Mul(sine, sine))
    return graph.Concat(sine, cosine, graph.Add(product, product), squares, axis=1)
