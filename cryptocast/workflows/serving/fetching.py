"""fetching: plan what to ask a source for, bring it, and report what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from cryptocast.errors import CryptocastError, UsageError
from cryptocast.seams import CandleSource
from cryptocast.store import Reader, Span, confirmed_missing, fillable_gaps, gaps
from cryptocast.values import DAY_SECONDS, Gap, Market, iso
from cryptocast.workflows.serving.bring import OVERLAP_BARS, Brought, Errand, bring
from cryptocast.workspace import Workspace

Range = tuple[int, int]
"""Open times `[start, end)`."""


@dataclass(frozen=True, slots=True)
class MarketFetch:
    """The result of a fetch for one market: rows new, revised, repaired; bars still missing."""

    market: str
    rows: int  # stored in the range now
    first: int | None  # open time
    last: int | None
    new: int
    revised: int
    repaired: int
    rejected: int
    example: str | None  # of a rejected row
    remarks: tuple[str, ...]  # of the source
    missing: int
    confirmed: int  # how many of the missing bars only `repair` asks for again
    gaps: tuple[Gap, ...]
    unreachable_bars: int  # missing, and older than what the source still gives
    error: CryptocastError | None  # what ended it early; what came before stays stored


@dataclass(frozen=True, slots=True)
class FetchReport:
    """The result of a fetch of several markets over `[start, end)` of open times."""

    start: int
    end: int
    markets: tuple[MarketFetch, ...]

    def demand_all(self, but: Collection[str] = ()) -> None:
        """Raise the first error if the fetch of any market, but these ids, ended early."""
        for market in self.markets:
            if market.error is not None and market.market not in but:
                raise self.named(market.market, market.error)

    def named(self, market: str, error: CryptocastError) -> CryptocastError:
        """Return the error of a market with its name in the message, if there are several."""
        message = error.message if len(self.markets) == 1 else f"{market}: {error.message}"
        return type(error)(message, hint=error.hint, code=error.code, retry=error.retry)

    @property
    def errors(self) -> dict[str, CryptocastError]:
        """The error that ended a market's fetch early, by the market's id."""
        return {m.market: m.error for m in self.markets if m.error is not None}


@dataclass(frozen=True, slots=True)
class RangeOptions:
    """The part of a market's history that a person asked for; every field may be left out."""

    days: float | None = None
    start: int | None = None  # open time
    end: int | None = None  # open time, exclusive

    @property
    def given(self) -> bool:
        """True if the person named any range at all."""
        return (self.days, self.start, self.end) != (None, None, None)

    def resolve(
        self, market: Market, stored: Span | None, now: float, default_days: float
    ) -> Range:
        """Return the range of closed candles that the options mean for one market.

        Without any option it begins `default_days` ago, or after the newest stored candle if
        that is older. Raises UsageError for an empty range.
        """
        closed = market.floor(now)
        if self.start is None and self.end is None:
            first = market.floor(closed - (self.days or default_days) * DAY_SECONDS)
            if self.days is None and stored is not None:
                first = min(first, stored.last + market.interval_seconds)
            return first, closed
        last = closed if self.end is None else min(-market.floor(-self.end), closed)
        first = last - round(default_days * DAY_SECONDS)
        if self.start is not None:
            first = market.floor(self.start)
        if first >= last:
            raise UsageError(
                f"no closed candle lies between {iso(first)} and {iso(last)}",
                hint="--start must come before --end and before now",
            )
        return first, last


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """The ranges to ask one market's source for, and the range that the report is about."""

    source: CandleSource
    market: Market
    start: int
    end: int
    ranges: tuple[Range, ...]  # to be asked for in this order
    unreachable_bars: int = 0


def plan_fetch(
    reader: Reader, source: CandleSource, market: Market, wanted: Range, now: float, *, repair: bool
) -> FetchPlan:
    """Plan to ask for every bar that is missing, with `repair` also for confirmed ones.

    The order is such that kills and failures leave one unbroken series.
    """
    find = gaps if repair else fillable_gaps
    holes = [(gap.start, gap.end) for gap in find(reader, {market: wanted})[market]]
    unreachable_bars = 0
    if source.bars_back is not None:
        interval = market.interval_seconds
        oldest = market.floor(now) - source.bars_back * interval
        lost = [(start, min(end, oldest)) for start, end in holes if start < oldest]
        unreachable_bars = sum(end - start for start, end in lost) // interval
        holes = [(max(start, oldest), end) for start, end in holes if end > oldest]
    span = reader.spans([market]).get(market)
    if span is not None:
        holes = _in_order(holes, market, span.first, span.last, source.bars_a_call)
    return FetchPlan(source, market, *wanted, tuple(holes), unreachable_bars)


def carry_out(ws: Workspace, plans: Sequence[FetchPlan], provenance: str) -> FetchReport:
    """Bring what is planned. Raise the first market's error if every market failed."""
    errands = [Errand(plan.source, plan.market, plan.ranges) for plan in plans if plan.ranges]
    brought = bring(ws, errands, provenance=provenance) if errands else {}
    with ws.store.read() as reader:
        markets = [_result(reader, plan, brought.get(plan.market, Brought())) for plan in plans]
    first, last = min(plan.start for plan in plans), max(plan.end for plan in plans)
    report = FetchReport(first, last, tuple(markets))
    if all(market.error is not None for market in markets):
        report.demand_all()
    return report


def _result(reader: Reader, plan: FetchPlan, brought: Brought) -> MarketFetch:
    market, start, end = plan.market, plan.start, plan.end
    wanted = {market: (start, end)}
    span = reader.spans([market], end, start).get(market)
    missing = gaps(reader, wanted)[market]
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
        remarks=brought.remarks,
        missing=sum(gap.bars for gap in missing),
        confirmed=confirmed_missing(reader, wanted)[market],
        gaps=tuple(missing),
        unreachable_bars=plan.unreachable_bars,
        error=brought.error,
    )


def _in_order(
    holes: Sequence[Range], market: Market, first: int, last: int, bars_a_call: int
) -> list[Range]:
    """Return the holes of a series, stored from `first` to `last`, in the order to ask for them.

    What lies before the first stored candle is asked for backwards, a call at a time: the
    series grows at its start. Holes and the end come oldest first.
    """
    interval = market.interval_seconds
    call = bars_a_call * interval

    def calls(start: int, end: int) -> int:
        return -(-(end - start) // call)

    before = [hole for hole in holes if hole[1] <= first]
    after = [hole for hole in holes if hole[1] > first]
    ranges = [
        (max(start, stop - call), stop)
        for start, end in reversed(before)
        for stop in range(end, start, -call)
    ]
    if after and after[-1][0] == last + interval:
        start, end = after[-1]
        overlap = max(first, start - OVERLAP_BARS * interval)
        if calls(overlap, end) == calls(start, end):  # it is never worth a call of its own
            after[-1] = (overlap, end)
    return ranges + _joined(after, calls)


def _joined(holes: Sequence[Range], calls: Callable[[int, int], int]) -> list[Range]:
    """Join neighbouring holes into one range if that takes no more calls than asking for each."""
    ranges: list[Range] = []
    for start, end in holes:
        if ranges:
            first, last = ranges[-1]
            if calls(first, end) <= calls(first, last) + calls(start, end):
                ranges[-1] = (first, end)
                continue
        ranges.append((start, end))
    return ranges
