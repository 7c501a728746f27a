"""Turn what a source gave into aligned, rising, unique, closed and sane candles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryptocast.values import Candles, IntArray, Market, iso

_Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Normalised:
    """The candles that are left, and counts of all other rows.

    Each row of the input is either in `candles` or in exactly one of the counts.
    """

    candles: Candles  # aligned, rising in open_time, unique, closed, sane
    rejected: int  # rows whose values are impossible
    refused: IntArray  # the aligned times of those rows: the source has these bars
    example: str | None  # the oldest of those: its time, the reason and its values
    duplicates: int  # rows that another row of the same open time replaced
    unclosed: int  # rows of a candle that is still open at `now`
    out_of_range: int  # rows with an open time outside [start, end)


def normalise(
    raw: Candles,
    market: Market,
    *,
    now: float,
    start: float = -math.inf,
    end: float = math.inf,
) -> Normalised:
    """Align, sort, de-duplicate and check the candles of one market.

    Times are floored to the interval. Rows are dropped, in this order, if they lie outside
    `[start, end)` (Unix seconds), if their candle is not closed at `now`, and if their values are
    impossible: a price that is not finite or not above zero, a high below the low, a volume that
    is negative or infinite. Of the rows left for one open time the last in the input wins, so an
    impossible row never hides a sane one.

    Nothing is mended: an open or close outside `[low, high]` (venues do publish them) is
    kept as given, and a volume of NaN means that the source has none.
    """
    interval = market.interval_seconds
    times = raw.open_time // interval * interval
    inside = (times >= start) & (times < end)
    closed = times + interval <= now
    faults = _faults(raw)
    bad = np.logical_or.reduce([mask for mask, _ in faults])

    rejected = np.flatnonzero(inside & closed & bad)
    kept = np.flatnonzero(inside & closed & ~bad)
    # Of the rows of one time the last, which comes first from behind.
    _, place = np.unique(times[kept][::-1], return_index=True)
    index = kept[::-1][place]
    return Normalised(
        candles=replace(raw.take(index), open_time=times[index]),
        rejected=len(rejected),
        refused=times[rejected],
        example=_example(raw, times, rejected, faults),
        duplicates=len(kept) - len(index),
        unclosed=int(np.count_nonzero(inside & ~closed)),
        out_of_range=int(np.count_nonzero(~inside)),
    )


def aggregate(candles: Candles, finer_seconds: int, seconds: int) -> Candles:
    """Put normalised candles of `finer_seconds` together to candles of `seconds`.

    A candle that lacks any of its parts is left out: nothing is invented.
    """
    opens = candles.open_time // seconds * seconds
    starts = np.flatnonzero(np.append(True, opens[1:] != opens[:-1])[: len(opens)])
    if not len(starts):
        return candles
    lasts = np.append(starts[1:], len(opens)) - 1
    whole = Candles(
        opens[starts],
        candles.open[starts],
        np.maximum.reduceat(candles.high, starts),
        np.minimum.reduceat(candles.low, starts),
        candles.close[lasts],
        np.add.reduceat(candles.volume, starts),
    )
    return whole.take(lasts - starts + 1 == seconds // finer_seconds)


def _faults(raw: Candles) -> list[tuple[_Mask, str]]:
    """Return each fault that a row can have, worst first: the rows that have it, and its name."""
    prices = np.stack([raw.open, raw.high, raw.low, raw.close])
    finite: _Mask = np.logical_and.reduce(np.isfinite(prices))
    positive: _Mask = np.logical_and.reduce(prices > 0)
    return [
        (~finite, "a price is not a finite number"),
        (~positive, "a price is not above zero"),
        (raw.high < raw.low, "high is below low"),
        (np.isinf(raw.volume), "volume is infinite"),
        (raw.volume < 0, "volume is negative"),
    ]


def _example(
    raw: Candles,
    times: IntArray,
    rejected: NDArray[np.intp],
    faults: list[tuple[_Mask, str]],
) -> str | None:
    """Return the oldest rejected row as one phrase, or None if none was rejected."""
    if len(rejected) == 0:
        return None
    row = rejected[np.argmin(times[rejected])]
    reason = next(words for mask, words in faults if mask[row])
    values = ", ".join(
        f"{name} {getattr(raw, name)[row]:.12g}"
        for name in ("open", "high", "low", "close", "volume")
    )
    return f"{iso(int(times[row]))}: {reason} ({values})"
