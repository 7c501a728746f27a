"""import_files: bring candles from files into a market of any source."""

from __future__ import annotations

from pathlib import Path

from cryptocast.errors import ConfigError, StateError
from cryptocast.sources.file import Source
from cryptocast.values import Market, iso
from cryptocast.workflows.fetch import FetchReport, Plan, carry_out, range_of
from cryptocast.workspace import Workspace


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
    rows have provenance `imported`; a stored candle with other values is revised, and an
    event keeps the old ones. Raises ConfigError, StateError where no candle closed by now,
    and what the file source raises.
    """
    market = _target(ws, symbol)
    settings = ws.settings.source.model_copy(update={"name": "file", "path": str(path.absolute())})
    source = Source(settings, [market], ws.secrets, clock=ws.clock)
    try:
        if days is None and start is None and end is None:
            range_ = _whole(ws, source, market)
        else:
            with ws.store.read() as reader:
                range_ = range_of(ws, reader, market, days, start, end)
        return carry_out(ws, [Plan(source, market, *range_, [range_])], "imported")
    finally:
        source.close()


def _target(ws: Workspace, symbol: str) -> Market:
    wanted = ws.settings.market.interval
    market = Market.of(symbol, ws.settings.source.name, wanted)
    if market.interval != wanted:
        raise ConfigError(
            f"{market.id} is not of this workspace's interval, {wanted}",
            code="config.interval",
            hint=f"write {market.source}:{market.symbol}:{wanted}",
        )
    return next((m for m in ws.markets() if symbol == m.symbol), market)


def _whole(ws: Workspace, source: Source, market: Market) -> tuple[int, int]:
    span = source.span(market)
    now = market.floor(ws.clock.now())
    if span is None or market.floor(span[0]) >= now:
        raise StateError(
            f"the files hold no candle of {market.symbol} that closed by {iso(now)}",
            code="state.no_candles",
            hint="check --path and --as-of",
        )
    return market.floor(span[0]), min(market.floor(span[1]) + market.interval_seconds, now)
