"""How far the inputs of a model have moved from what it learned from."""

from __future__ import annotations

import numpy as np

from cryptocast.values import FloatArray

BINS = 10


def stability_index(learned: FloatArray, now: FloatArray) -> FloatArray:
    """[F] the population stability index (PSI) of each feature; `learned` [N, F], `now` [M, F].

    `sum((p - q) * log(p / q))` over the deciles of what was learned from (Siddiqi 2006,
    "Credit Risk Scorecards"): under 0.1 is called stable, over 0.25 a shift. Both figures are
    for independent rows; features of neighbouring bars are not, and a calm day alone exceeds
    them. Equal deciles count once. A share is never taken below half a row. NaN where there is
    no row.
    """
    if not len(learned) or not len(now):
        return np.full(learned.shape[1], np.nan)
    return np.array([_index(*columns) for columns in zip(learned.T, now.T, strict=True)])


def _index(learned: FloatArray, now: FloatArray) -> float:
    edges = np.unique(np.quantile(learned, np.arange(1, BINS) / BINS))
    then, today = (_shares(values, edges) for values in (learned, now))
    return float(np.sum((today - then) * np.log(today / then)))


def _shares(values: FloatArray, edges: FloatArray) -> FloatArray:
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    return np.asarray(np.maximum(counts, 0.5) / len(values))
