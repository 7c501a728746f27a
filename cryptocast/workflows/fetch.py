"""fetch: bring what is missing from the sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cryptocast.errors import CryptocastError, UsageError
from cryptocast.seams import CandleSource
from cryptocast.store import Reader
from cryptocast.values import Gap, Market, iso
from cryptocast.workflows.serving.bring import OVERLAP_BARS, Brought, Errand, bring
from cryptocast.workspace import Workspace

_DAY = 86_400

Range = tuple[int, int]


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
    confirmed: int  # of the missing: those that are asked for by `repair` alone
    gaps: tuple[Gap, ...]
    unreachable_bars: int  # missing, and older than what the source still gives
    error: CryptocastError | None  # what ended it early; what came before stays stored


@dataclass(frozen=True, slots=True)
class FetchReport:
    """A fetch of all markets over `[start, end)` of open times."""

    start: int
    end: int
    markets: tuple[MarketFetch, ...]

    def demand_all(self) -> None:
        """Raise the first error, where a market's fetch ended early."""
        for market in self.markets:
            if market.error is not None:
                raise market.error

    def demand(self, markets: Sequence[Market]) -> None:
        """The same for these markets alone."""
        wanted = {market.id for market in markets}
        replace(self, markets=tuple(m for m in self.markets if m.market in wanted)).demand_all()


@dataclass(slots=True)
class Plan:
    """What to ask of one market's source, over its part of the range."""

    source: CandleSource
    market: Market
    start: int
    end: int
    ranges: list[Range] = field(default_factory=list)
    unreachable_bars: int = 0


def fetch(
    ws: Workspace,
    *,
    days: float | None = None,
    start: int | None = None,
    end: int | None = None,
    repair: bool = False,
) -> FetchReport:
    """Ask once for every bar of a range that is missing and not confirmed missing.

    The range: the last days, or `[start, end)`; without either from the last `[data] days`,
    or from the last stored candle where that is older. With `repair` bars that are confirmed
    missing are asked for too. A market whose source fails is told in its `error` while the
    others go on. Raises UsageError for an empty or contradictory range, and the first
    market's error where every market failed.
    """
    if days is not None and (start is not None or end is not None):
        raise UsageError(
            "--days goes with neither --start nor --end", hint="give either --days, or a range"
        )
    if days is not None and not days > 0:
        raise UsageError(f"--days {days:g} is no range", hint="--days 7 brings the last 7 days")
    plans = []
    with ws.store.read() as reader:
        for market in ws.markets():
            first, last = range_of(ws, reader, market, days, start, end)
            plan = Plan(ws.source(market.source), market, first, last)
            _fill(plan, reader, ws.clock.now(), repair=repair)
            plans.append(plan)
    return carry_out(ws, plans, "backfill")


def carry_out(ws: Workspace, plans: Sequence[Plan], provenance: str) -> FetchReport:
    """Bring what is planned; raise the first market's error where every market failed."""
    errands = [
        Errand(plan.source, plan.market, tuple(plan.ranges)) for plan in plans if plan.ranges
    ]
    brought = bring(ws, errands, provenance=provenance) if errands else {}
    with ws.store.read() as reader:
        done = [_told(reader, plan, brought.get(plan.market, Brought())) for plan in plans]
    if all(market.error is not None for market in done):
        raise done[0].error or AssertionError("a fetch has at least one market")
    first, last = min(plan.start for plan in plans), max(plan.end for plan in plans)
    return FetchReport(first, last, tuple(done))


def _told(reader: Reader, plan: Plan, brought: Brought) -> MarketFetch:
    market, start, end = plan.market, plan.start, plan.end
    span = reader.span(market, end, start)
    gaps = reader.gaps(market, start, end)
    return MarketFetch(
        market=market.id,
        rows=span.rows if span else 0,
        first=span.first if span else None,
        last=span.last if span else None,
        new=brought.new,
        revised=brought.revised,
        repaired=brought.repaired,
        rejected=brought.rejected,
        example=brought.example,
        missing=sum(gap.bars for gap in gaps),
        confirmed=reader.confirmed_missing(market, start, end),
        gaps=tuple(gaps),
        unreachable_bars=plan.unreachable_bars,
        error=brought.error,
    )


def range_of(
    ws: Workspace,
    reader: Reader,
    market: Market,
    days: float | None,
    start: int | None,
    end: int | None,
) -> Range:
    """The range of one market that `fetch`'s options mean; UsageError where there is none."""
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
        span = reader.span(market)
        if span is not None:
            first = min(first, span.last + market.interval_seconds)
    return first, closed


def _fill(plan: Plan, reader: Reader, now: float, *, repair: bool) -> None:
    """Plan the ranges to ask for, so that kills and failures leave one unbroken series.

    What lies before the first stored candle is asked for backwards, a call at a time: the
    series grows at its start. Holes and the end come oldest first.
    """
    market, interval = plan.market, plan.market.interval_seconds
    call = plan.source.bars_a_call * interval
    find = reader.gaps if repair else reader.holes
    holes = [(gap.start, gap.end) for gap in find(market, plan.start, plan.end)]
    if plan.source.bars_back is not None:
        oldest = market.floor(now) - plan.source.bars_back * interval
        lost = [(start, min(end, oldest)) for start, end in holes if start < oldest]
        plan.unreachable_bars = sum(end - start for start, end in lost) // interval
        holes = [(max(start, oldest), end) for start, end in holes if end > oldest]

    def calls(start: int, end: int) -> int:
        return -(-(end - start) // call)

    span = reader.span(market)
    if span is None:
        plan.ranges = holes
        return
    before = [hole for hole in holes if hole[1] <= span.first]
    after = [hole for hole in holes if hole[1] > span.first]
    for start, end in reversed(before):
        plan.ranges += [(max(start, stop - call), stop) for stop in range(end, start, -call)]
    if after and after[-1][0] == span.last + interval:
        start, end = after[-1]
        overlap = max(span.first, start - OVERLAP_BARS * interval)
        if calls(overlap, end) == calls(start, end):  # it is never worth a call of its own
            after[-1] = (overlap, end)
    plan.ranges += _joined(after, calls)


def _joined(holes: Sequence[Range], calls: Callable[[int, int], int]) -> list[Range]:
    """Holes joined to one range where that takes no more calls than asking for each."""
    ranges: list[Range] = []
    for start, end in holes:
        if ranges:
            first, last = ranges[-1]
            if calls(first, end) <= calls(first, last) + calls(start, end):
                ranges[-1] = (first, end)
                continue
        ranges.append((start, end))
    return ranges
