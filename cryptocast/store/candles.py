"""The stored candles: how complete they are, and what storing more would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cryptocast.store.reader import Reader, Span
from cryptocast.values import Candles, Gap, IntArray, Market

CONFIRMING_ANSWERS = 2
"""How many well-formed answers without a bar, each in a run of its own, confirm it missing."""

PRICES = ("open", "high", "low", "close")
"""The columns of a candle that always have a value."""

PROVENANCES = ("live", "backfill", "repaired", "revised", "derived", "imported")
"""How a candle came to be stored, or to have the values it has."""

REPAIRED = PROVENANCES.index("repaired")


@dataclass(frozen=True, slots=True)
class CandleSummary:
    """The stored candles of a market: all that closed, and how those of a recent range came."""

    rows: int
    first: int  # open times
    last: int
    gaps: tuple[Gap, ...] = ()  # in the range, after the first candle and before the last
    confirmed: int = 0  # how many bars of the range the source is confirmed to lack
    provenances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The rows to add, and the rows to replace as they are and as they will be."""

    new: Candles
    before: Candles
    after: Candles  # the same open times as `before`

    def revisions(self) -> Iterator[tuple[int, dict[str, float | None], dict[str, float | None]]]:
        """Yield each replaced row: open time, old and new values; a missing volume is None."""
        for row, moment in enumerate(self.before.open_time):
            yield int(moment), _values(self.before, row), _values(self.after, row)


def candle_summaries(
    reader: Reader, markets: Sequence[Market], start: int, end: int
) -> dict[Market, CandleSummary]:
    """Sum up the candles with open time before `end`; gaps and provenances from `start` on.

    Markets without candles are left out.
    """
    spans = reader.spans(markets, end)
    runs = gaps(
        reader, {m: (max(start, s.first), s.last + m.interval_seconds) for m, s in spans.items()}
    )
    confirmed = confirmed_missing(reader, {m: (start, s.last) for m, s in spans.items()})
    provenances: dict[Market, dict[str, int]] = {}
    for market, provenance, count in reader.by_market(
        markets,
        """
        SELECT market, provenance, count(*) FROM candles
        WHERE list_contains($markets, market)
            AND open_time >= to_timestamp($start) AND open_time < to_timestamp($end)
        GROUP BY market, provenance ORDER BY provenance
        """,
        start=float(start),
        end=float(end),
    ):
        provenances.setdefault(market, {})[provenance] = count
    return {
        market: CandleSummary(
            rows=span.rows,
            first=span.first,
            last=span.last,
            gaps=tuple(runs[market]),
            confirmed=confirmed[market],
            provenances=provenances.get(market, {}),
        )
        for market, span in spans.items()
    }


def gaps(reader: Reader, ranges: Mapping[Market, tuple[int, int]]) -> dict[Market, list[Gap]]:
    """Return the maximal runs of bars without a candle in each market's `[start, end)`.

    They are oldest first, and every market has an entry. Runs at the edges count: where
    nothing is stored, the whole range is one gap.
    """
    return _runs_without(reader, "SELECT market, open_time FROM candles", ranges)


def fillable_gaps(
    reader: Reader, ranges: Mapping[Market, tuple[int, int]]
) -> dict[Market, list[Gap]]:
    """Return the gaps without the bars that are confirmed missing: two answers lacked them."""
    known = f"""
        SELECT market, open_time FROM candles UNION ALL
        SELECT market, open_time FROM missing_bars WHERE answers >= {CONFIRMING_ANSWERS}
    """  # noqa: S608 - a constant
    return _runs_without(reader, known, ranges)


def _runs_without(
    reader: Reader, known: str, ranges: Mapping[Market, tuple[int, int]]
) -> dict[Market, list[Gap]]:
    """Return the runs of bars in each market's range that the query `known` has no row of."""
    runs: dict[Market, list[Gap]] = {market: [] for market in ranges}
    if not ranges:
        return runs
    interval = next(iter(ranges)).interval_seconds
    bounds = [tuple(-(-t // interval) * interval for t in pair) for pair in ranges.values()]
    firsts, stops = zip(*((first, max(first, stop)) for first, stop in bounds), strict=True)
    inside = "WHERE market = $markets[1]"
    if len(ranges) > 1:
        inside = """JOIN (
            SELECT unnest($markets) AS market, to_timestamp(unnest($firsts::BIGINT[])) AS first,
                to_timestamp(unnest($stops::BIGINT[])) AS stop
        ) USING (market) WHERE open_time >= first AND open_time < stop"""
    for market, *gap in reader.by_market(
        list(ranges),
        f"""
        WITH present AS (
            SELECT market, epoch_us(open_time) // 1000000 AS moment FROM ({known}) {inside}
                AND open_time >= to_timestamp($low) AND open_time < to_timestamp($high)
            UNION ALL SELECT unnest($markets), unnest($firsts::BIGINT[]) - $interval
            UNION ALL SELECT unnest($markets), unnest($stops::BIGINT[])
        ), neighbours AS (
            SELECT market, moment, lag(moment) OVER (PARTITION BY market ORDER BY moment)
                + $interval AS expected
            FROM present
        )
        SELECT market, expected, moment, (moment - expected) // $interval
        FROM neighbours WHERE moment > expected ORDER BY expected
        """,  # noqa: S608 - constants
        firsts=firsts,
        stops=stops,
        low=min(firsts),
        high=max(stops),
        interval=interval,
    ):
        runs[market].append(Gap(*gap))
    return runs


def confirmed_missing(
    reader: Reader, ranges: Mapping[Market, tuple[int, int]]
) -> dict[Market, int]:
    """Count the bars in each market's `[start, end)` that are confirmed missing."""
    rows = reader.by_market(
        list(ranges),
        f"""
        SELECT market, count(*) FROM missing_bars JOIN (
            SELECT unnest($markets) AS market, unnest($starts::BIGINT[]) AS start,
                unnest($ends::BIGINT[]) AS "end"
        ) AS r USING (market)
        WHERE answers >= {CONFIRMING_ANSWERS} AND open_time >= to_timestamp(r.start)
            AND open_time < to_timestamp(r."end")
        GROUP BY market
        """,  # noqa: S608 - a constant
        starts=[start for start, _ in ranges.values()],
        ends=[end for _, end in ranges.values()],
    )
    return dict.fromkeys(ranges, 0) | dict(rows)


def merge(stored: Candles, given: Candles) -> Change:
    """Compare candles of one market with those stored; both are rising in `open_time`.

    A missing volume (NaN) in `given` says nothing: the stored one is kept.
    """
    is_stored = _among(given.open_time, stored.open_time)
    before = stored.take(_among(stored.open_time, given.open_time))
    after = given.take(is_stored)
    volume = np.where(np.isnan(after.volume), before.volume, after.volume)
    after = Candles(after.open_time, after.open, after.high, after.low, after.close, volume)
    same = (before.volume == volume) | (np.isnan(before.volume) & np.isnan(volume))
    for name in PRICES:
        same &= getattr(before, name) == getattr(after, name)
    return Change(given.take(~is_stored), before.take(~same), after.take(~same))


def _among(these: IntArray, those: IntArray) -> NDArray[np.bool_]:
    """Return which of these are among those, both rising; np.isin would hash a million in 0.4 s."""
    if len(those) == 0:
        return np.zeros(len(these), dtype=np.bool_)
    place = np.minimum(np.searchsorted(those, these), len(those) - 1)
    return np.asarray(those[place] == these)


def label(open_time: IntArray, provenance: str, span: Span | None) -> IntArray:
    """Return the provenance of each new row as its place in `PROVENANCES`.

    `span` is what is stored. The rule is in the docstring of `Writer.put_candles`.
    """
    labels = np.full(len(open_time), PROVENANCES.index(provenance), dtype=np.int64)
    if provenance not in ("live", "backfill"):
        return labels
    if span is None:
        labels[:] = PROVENANCES.index("backfill")
        return labels
    labels[open_time < span.first] = PROVENANCES.index("backfill")
    labels[(open_time > span.first) & (open_time < span.last)] = REPAIRED
    return labels


def _values(candles: Candles, row: int) -> dict[str, float | None]:
    volume = float(candles.volume[row])
    values: dict[str, float | None] = {name: float(getattr(candles, name)[row]) for name in PRICES}
    return values | {"volume": None if np.isnan(volume) else volume}
