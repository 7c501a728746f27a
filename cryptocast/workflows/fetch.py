"""fetch: bring what is missing from the sources, or import candles from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from cryptocast import plugins
from cryptocast.display import counted
from cryptocast.errors import ConfigError, StateError, UsageError
from cryptocast.sources import Setup, open_source
from cryptocast.sources.file import Source
from cryptocast.values import Gap, Market, iso
from cryptocast.workflows.serving.bring import OVERLAP_BARS
from cryptocast.workflows.serving.fetching import (
    FetchPlan,
    FetchReport,
    MarketFetch,
    Range,
    RangeOptions,
    carry_out,
    plan_fetch,
)
from cryptocast.workspace import Workspace


def fetch(
    ws: Workspace,
    *,
    days: float | None = None,
    start: int | None = None,
    end: int | None = None,
    repair: bool = False,
) -> FetchReport:
    """Ask once for every bar of a range that is missing and not confirmed missing.

    The range is the last days, or `[start, end)`; without either it begins `[data] days` ago,
    or after the last stored candle if that is older. With `repair` bars that are confirmed
    missing are asked for too. If the source of a market fails, its `error` says so and the
    others go on. Raises UsageError for an empty or contradictory range, and the first
    market's error if every market failed.
    """
    if days is not None and (start is not None or end is not None):
        raise UsageError(
            "--days cannot be combined with --start or --end", hint="give either --days, or a range"
        )
    if days is not None and not days > 0:
        raise UsageError(f"--days {days:g} is no range", hint="--days 7 brings the last 7 days")
    options = RangeOptions(days, start, end)
    plans = []
    with ws.store.read() as reader:
        spans = reader.spans(ws.markets())
        for market in ws.markets():
            now = ws.clock.now()
            wanted = options.resolve(market, spans.get(market), now, ws.settings.data.days)
            source = ws.source(market.source)
            plans.append(plan_fetch(reader, source, market, wanted, now, repair=repair))
    return carry_out(ws, plans, "backfill")


def import_files(
    ws: Workspace,
    path: Path,
    symbol: str,
    *,
    days: float | None = None,
    start: int | None = None,
    end: int | None = None,
) -> FetchReport:
    """Import the candles of a file, folder or glob into a market: all, or those of a range.

    `symbol` is a configured symbol or any full market id of the workspace's interval. New
    rows have provenance `imported`; if a stored candle has other values it is revised, and an
    event keeps the old ones. Raises ConfigError for another interval, StateError if no candle
    closed by now, and what the file source raises.
    """
    market = _target(ws, symbol)
    settings = replace(ws.settings.source, name="file", path=str(path.absolute()))
    source = Source(Setup(settings, [market], ws.secrets, clock=ws.clock))
    options = RangeOptions(days, start, end)
    now = ws.clock.now()
    try:
        if options.given:
            with ws.store.read() as reader:
                stored = reader.spans([market]).get(market)
            wanted = options.resolve(market, stored, now, ws.settings.data.days)
        else:
            wanted = _whole(source, market, now)
        return carry_out(ws, [FetchPlan(source, market, *wanted, (wanted,))], "imported")
    finally:
        source.close()


def _target(ws: Workspace, symbol: str) -> Market:
    """Return the market to import into. Raise ConfigError for another interval or no source."""
    interval = ws.settings.market.interval
    market = Market.of(symbol, ws.settings.source.name, interval)
    plugins.require(plugins.SOURCES, market.source.partition(":")[0], key="--market")
    if market.interval != interval:
        raise ConfigError(
            f"{market.id} is not of this workspace's interval, {interval}",
            code="config.interval",
            hint=f"write {market.source}:{market.symbol}:{interval}",
        )
    if ":" in market.source:  # only the plug-in knows what may stand behind the colon
        named = replace(ws.settings.source, name=market.source, base_url=None)
        open_source(Setup(named, [market], ws.secrets, clock=ws.clock)).close()
    return next((m for m in ws.settings.markets() if symbol == m.symbol), market)


def _whole(source: Source, market: Market, now: float) -> Range:
    """Return the range that the files hold. Raise StateError if none of it has closed by now."""
    span = source.span(market)
    closed = market.floor(now)
    if span is None or market.floor(span[0]) >= closed:
        raise StateError(
            f"the files hold no candle of {market.symbol} that closed by {iso(closed)}",
            code="state.no_candles",
            hint="check --path and --as-of",
        )
    return market.floor(span[0]), min(market.floor(span[1]) + market.interval_seconds, closed)


def warnings_of(report: FetchReport) -> list[str]:
    """Return warnings about failed markets, refused or replaced rows, and gaps."""
    return [f"{m.market}: {text}" for m in report.markets for text in _market_warnings(m)]


def _market_warnings(m: MarketFetch) -> Iterator[str]:
    if m.error is not None:
        yield f"{m.error.message} ({m.error.hint})"
    if m.rejected:
        yield f"{counted(m.rejected, 'row')} refused, for example {m.example}"
    yield from m.remarks
    if m.revised > OVERLAP_BARS:  # this many are asked for again every time
        yield (
            f"{counted(m.revised, 'stored candle')} had other values and were replaced "
            "(the events candle.revised hold the old ones)"
        )
    gaps, end = m.gaps, _end_of_files(m)
    if end is not None:
        gaps = gaps[:-1]
        yield (f"its files end at {iso(end)} (recorded candles are used with --as-of {iso(end)})")
    if gaps:
        yield _gaps_warning(gaps)
    if m.unreachable_bars:
        yield (
            f"{counted(m.unreachable_bars, 'bar')} of these are older than what "
            f"{m.market.partition(':')[0]} still provides "
            "(import them: cryptocast fetch --source file)"
        )


def _gaps_warning(gaps: Sequence[Gap]) -> str:
    missing = sum(gap.bars for gap in gaps)
    verb = "is" if missing == 1 else "are"
    first = "" if len(gaps) == 1 else ", the first"
    return (
        f"{counted(missing, 'bar')} {verb} missing in {counted(len(gaps), 'gap')}{first} "
        f"from {iso(gaps[0].start)} to {iso(gaps[0].end)}; nothing is invented for them"
    )


def _end_of_files(market: MarketFetch) -> int | None:
    """Return where the newest candle of files ends if the range goes on after it, or None."""
    if not market.gaps or market.last is None or not market.market.startswith("file:"):
        return None
    return market.gaps[-1].start if market.gaps[-1].start > market.last else None
