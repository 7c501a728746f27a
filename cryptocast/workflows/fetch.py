"""fetch: bring what is missing from the sources into the store."""

from __future__ import annotations

from dataclasses import dataclass

from cryptocast.candles import normalise
from cryptocast.errors import UsageError
from cryptocast.values import Gap, Market, iso
from cryptocast.workspace import Workspace

_DAY = 86_400
# Holes that lie closer than this are asked for in one range: a call costs more than rows.
_JOIN_BARS = 288


@dataclass(frozen=True, slots=True)
class MarketFetch:
    """What a fetch did to one market: rows new, revised, repaired; bars still missing."""

    market: str
    rows: int  # stored in the range now
    first: int | None  # open time
    last: int | None
    new: int
    revised: int
    repaired: int
    rejected: int
    example: str | None  # of a rejected row
    missing: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class FetchReport:
    """A fetch of all markets over `[start, end)` of open times."""

    start: int
    end: int
    markets: tuple[MarketFetch, ...]


def fetch(
    ws: Workspace,
    *,
    days: float | None = None,
    start: int | None = None,
    end: int | None = None,
) -> FetchReport:
    """Ask once for every missing bar of a range: the last days, or `[start, end)`.

    Without either: from the last `[data] days`, or from the last stored candle where that
    is older. Raises UsageError for an empty or contradictory range, SourceError where a
    source fails; what came before stays stored.
    """
    if days is not None and (start is not None or end is not None):
        raise UsageError(
            "--days goes with neither --start nor --end", hint="give either --days, or a range"
        )
    if days is not None and not days > 0:
        raise UsageError(f"--days {days:g} is no range", hint="--days 7 brings the last 7 days")
    markets = ws.markets()
    reports = []
    for market in markets:
        first, last = _range(ws, market, days, start, end)
        reports.append(bring(ws, market, first, last))
    first, last = _range(ws, markets[0], days, start, end)
    return FetchReport(first, last, tuple(reports))


def bring(ws: Workspace, market: Market, start: int, end: int) -> MarketFetch:
    """Bring the bars of `[start, end)` that the store lacks, page by page."""
    interval = market.interval_seconds
    with ws.store.read() as reader:
        span = reader.span(market)
        holes = reader.gaps(market, start, end)
    source = ws.source(market.source)
    new = revised = repaired = rejected = 0
    example: str | None = None
    for first, last in _joined(holes, interval):
        for page in source.pages(market, first, last):
            clean = normalise(
                page.candles, market, now=ws.clock.now(), start=page.start, end=page.end
            )
            rejected += clean.rejected
            example = example or clean.example
            if len(clean.candles):
                with ws.store.write() as writer:
                    stored = writer.put_candles(
                        market,
                        clean.candles,
                        provenance="backfill",
                        fetched_at=ws.clock.now(),
                        repaired_before=span.last if span else None,
                    )
                new += stored.new
                revised += stored.revised
                repaired += stored.repaired
            ws.progress.advance(
                page.end - start, end - start, f"{market.symbol} to {iso(page.end)}"
            )
    with ws.store.read() as reader:
        candles = reader.candles(market, start, end)
        left = reader.gaps(market, start, end)
    return MarketFetch(
        market=market.id,
        rows=len(candles),
        first=int(candles.open_time[0]) if len(candles) else None,
        last=int(candles.open_time[-1]) if len(candles) else None,
        new=new,
        revised=revised,
        repaired=repaired,
        rejected=rejected,
        example=example,
        missing=sum(gap.bars for gap in left),
        gaps=tuple(left),
    )


def _range(
    ws: Workspace, market: Market, days: float | None, start: int | None, end: int | None
) -> tuple[int, int]:
    closed = market.floor(ws.clock.now())
    if start is not None or end is not None:
        first = market.floor(start) if start is not None else None
        last = closed if end is None else min(-market.floor(-end), closed)
        if first is None:
            first = last - round(ws.settings.data.days * _DAY)
        if first >= last:
            raise UsageError(
                f"no closed candle lies between {iso(first)} and {iso(last)}",
                hint="--start must come before --end and before now",
            )
        return first, last
    first = market.floor(closed - (days or ws.settings.data.days) * _DAY)
    if days is None:
        with ws.store.read() as reader:
            span = reader.span(market)
        if span is not None:
            first = min(first, span.last + market.interval_seconds)
    return first, closed


def _joined(holes: list[Gap], interval: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for hole in holes:
        if ranges and hole.start - ranges[-1][1] < _JOIN_BARS * interval:
            ranges[-1] = (ranges[-1][0], hole.end)
        else:
            ranges.append((hole.start, hole.end))
    return ranges
