"""Candles, and what lacks of them, as documents."""

from __future__ import annotations

import math
from collections.abc import Sequence

from typing_extensions import TypedDict

from cryptocast.documents import Moment, documented
from cryptocast.values import Candles, Gap, iso


@documented
class GapDocument(TypedDict):
    """A run of missing bars."""

    start: Moment
    """The open time of the first."""
    end: Moment
    """The open time after the last."""
    bars: int
    """How many."""


@documented
class CandleDocument(TypedDict):
    """The prices of `[open_time, open_time + interval)`."""

    open_time: Moment
    """Where the bar begins."""
    open: float
    """In quote currency, like the next three."""
    high: float
    """The highest price."""
    low: float
    """The lowest price."""
    close: float
    """The last price."""
    volume: float | None
    """In base currency; null where the source has none."""


def gaps_document(gaps: Sequence[Gap]) -> list[GapDocument]:
    """Return gaps with their first and end time and their number of bars."""
    return [{"start": iso(gap.start), "end": iso(gap.end), "bars": gap.bars} for gap in gaps]


def candles_document(candles: Candles) -> list[CandleDocument]:
    """Return each candle."""
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    rows = zip(candles.open_time.tolist(), *(column.tolist() for column in columns), strict=True)
    return [
        {
            "open_time": iso(moment),
            "open": opened,
            "high": high,
            "low": low,
            "close": close,
            "volume": None if math.isnan(volume) else volume,
        }
        for moment, opened, high, low, close, volume in rows
    ]
