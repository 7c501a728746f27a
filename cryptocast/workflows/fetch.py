"""fetch: bring what is missing from the sources, or import candles from files."""

from __future__ import annotations

from pathlib import Path

from cryptocast.config import Settings
from cryptocast.errors import ConfigError, StateError, UsageError
from cryptocast.sources import Setup
from cryptocast.sources.file import Source
from cryptocast.values import Market, iso
from cryptocast.workflows.serving.fetching import (
    FetchPlan,
    FetchReport,
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
    market = _target(ws.settings, symbol)
    settings = ws.settings.source.model_copy(update={"name": "file", "path": str(path.absolute())})
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


def _target(settings: Settings, symbol: str) -> Market:
    """Return the market to import into. Raise ConfigError for another interval."""
    interval = settings.market.interval
    market = Market.of(symbol, settings.source.name, interval)
    if market.interval != interval:
        raise ConfigError(
            f"{market.id} is not of this workspace's interval, {interval}",
            code="config.interval",
            hint=f"write {market.source}:{market.symbol}:{interval}",
        )
    return next((m for m in settings.markets() if symbol == m.symbol), market)


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
