"""Is one forecast better than another, or was it lucky?"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from cryptocast.values import FloatArray

_LEAST = 8  # origins, below which no p-value is given


def diebold_mariano(difference: FloatArray, step: int) -> float | None:
    """One-sided p-value that the mean of `difference` [N] (loss of the baseline minus loss
    of the model, in the order of time, NaN where unscored) is not above zero.

    Diebold & Mariano (1995) with Bartlett weights (Newey & West 1987) over at least the
    `step - 1` lags that overlapping targets share, and the small-sample correction and
    Student's t of Harvey, Leybourne & Newbold (1997). None where there is too little to tell.
    """
    loss = difference[np.isfinite(difference)]
    n = len(loss)
    if n < _LEAST:
        return None
    lags = min(max(step - 1, math.floor(4 * (n / 100) ** (2 / 9))), n - 1)
    centred = loss - loss.mean()
    variance = float(centred @ centred) / n
    for lag in range(1, lags + 1):
        weight = 1 - lag / (lags + 1)
        variance += 2 * weight * float(centred[lag:] @ centred[:-lag]) / n
    correction = (n + 1 - 2 * step + step * (step - 1) / n) / n
    if variance <= 0 or correction <= 0:
        return None
    statistic = float(loss.mean()) / math.sqrt(variance / n) * math.sqrt(correction)
    return float(stats.t.sf(statistic, n - 1))
