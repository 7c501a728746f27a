"""What share of the outcomes lay in the 90 % range, as served: for `worth.py`."""

from __future__ import annotations

import numpy as np
from eras import HORIZON, LEVELS, Forecast, Track, batches
from numpy.typing import NDArray

from cryptocast import calibration
from cryptocast.values import FloatArray

FORTNIGHT = 14 * 86_400

_Mask = NDArray[np.bool_]


def covered(track: Track, forecast: Forecast) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shares of outcomes inside the 90 % range: as it is [H], calibrated [H], in fortnights [K].

    Every origin is served in turn, as the tick does: the scale starts at 1 and follows the
    outcomes that are known.
    """
    rows = track.judged(every=1)
    shape = len(track.bars), HORIZON
    low, high, targets = np.zeros(shape), np.zeros(shape), np.full(shape, np.nan)
    for batch in batches(rows):
        quantiles = forecast(batch)
        low[batch], high[batch] = quantiles[..., 0], quantiles[..., -1]
        targets[batch] = track.targets(batch)
    known = np.isfinite(targets)
    plain = (targets < low) | (targets > high)
    missed = calibrated(targets, low, high)
    length = FORTNIGHT // track.bars.market.interval_seconds
    first = range(int(rows[0]), int(rows[-1]) - length, length)
    parts = [_share(missed[at : at + length], known[at : at + length]) for at in first]
    return _share(plain, known), _share(missed, known), np.concatenate(parts)


def calibrated(targets: FloatArray, low: FloatArray, high: FloatArray) -> _Mask:
    """[T, H] whether each outcome lay outside its range as served; NaN targets are no outcomes.

    `low` and `high` are of distributions whose median is 0.
    """
    bars, horizon = targets.shape
    known, missed = np.isfinite(targets), np.zeros(targets.shape, dtype=bool)
    steps, share = np.arange(horizon), calibration.share_outside(LEVELS)
    scale = calibration.fresh(horizon)
    for row in range(bars):
        made = row - 1 - steps  # whose step ends with this bar
        there = (made >= 0) & known[made, steps]
        outside = there & missed[made, steps]
        scale = calibration.advance(scale, there.astype(int), outside.astype(int), share)
        missed[row] = (targets[row] < scale * low[row]) | (targets[row] > scale * high[row])
    return missed


def _share(missed: _Mask, known: _Mask) -> FloatArray:
    return np.asarray(1 - (missed & known).sum(axis=0) / known.sum(axis=0))
