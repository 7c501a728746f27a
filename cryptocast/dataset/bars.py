"""Lay candles on the clock's grid: one place for every bar, with the missing ones marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cryptocast.values import Candles, FloatArray, IntArray, Market

LONGEST_SPAN_BARS = 12
"""The longest gap in bars whose move is used: longer ones say nothing of a bar's volatility."""


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """T consecutive bars from `first`; a bar without a candle repeats the close before it.

    Gaps are bridged only here: nothing of it is ever stored.
    """

    market: Market
    first: int  # open time of bar 0, Unix seconds
    log_close: FloatArray  # [T] last known log price; before the first candle: its close
    log_return: FloatArray  # [T] 0 if missing
    log_range: FloatArray  # [T] log(high / low), 0 if missing
    place: FloatArray  # [T] place of the close in the range, -0.5 (low) .. 0.5 (high)
    log_volume: FloatArray  # [T] log(1 + volume), NaN if there is none
    missing: NDArray[np.bool_]  # [T]
    age: IntArray  # [T] bars since the last candle; 0 if there is one

    def __len__(self) -> int:
        return int(self.log_close.shape[-1])

    @property
    def open_time(self) -> IntArray:
        """Open times [T] in Unix seconds."""
        return self.first + self.market.interval_seconds * np.arange(len(self), dtype=np.int64)

    def index(self, moment: int) -> int:
        """Return the bar that opens at `moment`; also the number of bars that closed by then."""
        return (moment - self.first) // self.market.interval_seconds

    def part(self, start: int, end: int) -> Bars:
        """Return the bars `[start, end)` as they are: what is bridged or aged stays so."""
        first = self.first + start * self.market.interval_seconds
        columns = {field.name: getattr(self, field.name) for field in fields(self)[2:]}
        return Bars(self.market, first, **{name: c[..., start:end] for name, c in columns.items()})


def stacked(several: Sequence[Bars]) -> Bars:
    """Return bars of the same range as those of the first market, with columns [M, T]."""
    columns = {f.name: np.stack([getattr(b, f.name) for b in several]) for f in fields(Bars)[2:]}
    return Bars(several[0].market, several[0].first, **columns)


def needed_start(candles: Candles, market: Market, start: int, latest: int) -> int:
    """Return from which open time on `[start, ...)` has to be laid out: `latest` at the latest.

    Empty bars before the first candle tell nothing but that its move spans too long a gap, for
    which a few are enough: every bar from it on gets the same bits.
    """
    if not len(candles):
        return latest
    first = int(candles.open_time[0]) - (LONGEST_SPAN_BARS + 1) * market.interval_seconds
    return max(start, min(first, latest))


def lay_out(candles: Candles, market: Market, start: int, end: int) -> Bars:
    """Lay normalised candles on the grid of open times `[start, end)`.

    Candles outside the range are left out. Raises ValueError if none lies inside.
    """
    step = market.interval_seconds
    length = (end - start) // step
    candles = candles.take(slice(*np.searchsorted(candles.open_time, (start, end))))
    if not len(candles):
        raise ValueError("no candle in the range")
    at = (candles.open_time - start) // step

    present = np.zeros(length, dtype=bool)
    present[at] = True
    # For each bar, the row of the last candle at or before it; leading bars take the first.
    row = np.maximum(np.cumsum(present) - 1, 0)
    log_close = np.log(candles.close)[row]
    bar = np.arange(length, dtype=np.int64)
    age = bar - np.maximum.accumulate(np.where(present, bar, -1))  # counted from before the first

    return Bars(
        market=market,
        first=start,
        log_close=log_close,
        log_return=np.concatenate(([0.0], np.diff(log_close))),
        log_range=_spread(at, length, np.log(candles.high / candles.low), 0.0),
        place=_spread(at, length, _place(candles), 0.0),
        log_volume=_spread(at, length, np.log1p(candles.volume), np.nan),
        missing=~present,
        age=age,
    )


def _place(candles: Candles) -> FloatArray:
    width = candles.high - candles.low
    safe = np.where(width > 0, width, 1.0)
    place = np.where(width > 0, (candles.close - candles.low) / safe - 0.5, 0.0)
    return np.asarray(np.clip(place, -0.5, 0.5))


def _spread(at: IntArray, length: int, values: FloatArray, blank: float) -> FloatArray:
    full = np.full(length, blank)
    full[at] = values
    return full
