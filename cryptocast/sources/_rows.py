"""From the rows of an HTTP source to candles: windows, units, and the cut to what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from cryptocast.sources import _faults
from cryptocast.values import Candles, FloatArray

MILLISECONDS = 1000
# Later than any time in seconds, earlier than any in microseconds: 2001 and 2286 in ms.
_PLAUSIBLE_MILLISECONDS = (10**12, 10**13)


def windows(start: int, end: int, seconds: int) -> Iterator[tuple[int, int]]:
    """Cut `[start, end)` into pieces of at most `seconds`, oldest first."""
    if start < end:
        yield from pairwise([*range(start, end, seconds), end])


def candles_from(source: str, path: str, milliseconds: FloatArray, prices: FloatArray) -> Candles:
    """Candles from times in ms [N] and columns open, high, low, close(, volume) [N, 4 or 5].

    Raises SourceError (`source.bad_answer`) for a time that cannot be in milliseconds.
    """
    low, high = _PLAUSIBLE_MILLISECONDS
    wrong = ~((milliseconds >= low) & (milliseconds < high))
    if wrong.any():
        found = milliseconds[wrong][0]
        raise _faults.bad_answer(source, path, f"with the time {found:.15g}, no milliseconds")
    seconds = (milliseconds // MILLISECONDS).astype(np.int64)
    volume = prices[:, 4] if prices.shape[1] > 4 else None
    return Candles.of(seconds, prices[:, 0], prices[:, 1], prices[:, 2], prices[:, 3], volume)


def is_number(value: object) -> bool:
    """Whether a decoded JSON value is a number that fits a float."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 10**300
    return isinstance(value, float)


def between(candles: Candles, start: int, end: int) -> Candles:
    """The rows with open time in `[start, end)`: whether `end` is inclusive differs by source."""
    return candles.take((candles.open_time >= start) & (candles.open_time < end))
