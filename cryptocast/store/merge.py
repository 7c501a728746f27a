"""What storing candles would change: which rows are new, which have other values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryptocast.store.reader import Span
from cryptocast.values import Candles, IntArray

PRICES = ("open", "high", "low", "close")
"""The columns of a candle that always have a value."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The rows to add, and the rows to replace as they are and as they will be."""

    new: Candles
    before: Candles
    after: Candles  # the same open times as `before`

    def revisions(self) -> Iterator[tuple[int, dict[str, float | None], dict[str, float | None]]]:
        """Each replaced row: its open time, its old and its new values; no volume is None."""
        for row, moment in enumerate(self.before.open_time):
            yield int(moment), _values(self.before, row), _values(self.after, row)


def merge(stored: Candles, given: Candles) -> Change:
    """Compare candles of one market with those stored; both are rising in `open_time`.

    A missing volume (NaN) in `given` says nothing: the stored one is kept.
    """
    known = np.isin(given.open_time, stored.open_time)
    before = stored.take(np.isin(stored.open_time, given.open_time))
    after = given.take(known)
    volume = np.where(np.isnan(after.volume), before.volume, after.volume)
    after = Candles(after.open_time, after.open, after.high, after.low, after.close, volume)
    same = (before.volume == volume) | (np.isnan(before.volume) & np.isnan(volume))
    for name in PRICES:
        same &= getattr(before, name) == getattr(after, name)
    return Change(given.take(~known), before.take(~same), after.take(~same))


def label(
    open_time: IntArray, provenance: str, span: Span | None, repaired_before: int | None
) -> NDArray[np.str_]:
    """The provenance of each new row, as `Writer.put_candles` says; `span` is what is stored."""
    labels = np.full(len(open_time), provenance, dtype="<U16")
    if provenance not in ("live", "backfill"):
        return labels
    if span is None:
        labels[:] = "backfill"
        return labels
    bound = span.last if repaired_before is None else min(repaired_before, span.last)
    labels[open_time < span.first] = "backfill"
    labels[(open_time > span.first) & (open_time < bound)] = "repaired"
    return labels


def _values(candles: Candles, row: int) -> dict[str, float | None]:
    volume = float(candles.volume[row])
    values: dict[str, float | None] = {name: float(getattr(candles, name)[row]) for name in PRICES}
    return values | {"volume": None if np.isnan(volume) else volume}
