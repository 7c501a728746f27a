"""status: production, candles, the newest forecast and the next tick, on one screen."""

from __future__ import annotations

from dataclasses import dataclass

from cryptocast.store import Tick
from cryptocast.values import Deployment, ForecastSet, Gap
from cryptocast.workspace import Workspace

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """One market: its candles of the last `[data] days`, newest forecast and last tick."""

    market: str
    rows: int  # all that are stored
    first: int | None
    last: int | None  # open time of the newest
    behind_bars: int | None  # closed bars that the store does not have yet
    gaps: tuple[Gap, ...]  # missing bars between the first and the last, in the last days
    forecast: ForecastSet | None
    tick: Tick | None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The workspace at a moment."""

    now: float
    production: Deployment | None
    next_tick: float
    markets: tuple[MarketStatus, ...]


def status(ws: Workspace) -> StatusReport:
    """Look at the store; nothing is fetched."""
    now = ws.clock.now()
    markets = []
    with ws.store.read() as reader:
        production = reader.deployment()
        for market in ws.markets():
            interval, closed = market.interval_seconds, market.floor(now)
            span = reader.span(market, closed)
            gaps: list[Gap] = []
            if span is not None:
                start = max(span.first, closed - round(ws.settings.data.days * _DAY))
                gaps = reader.gaps(market, start, span.last) if start < span.last else []
            markets.append(
                MarketStatus(
                    market=market.id,
                    rows=span.rows if span else 0,
                    first=span.first if span else None,
                    last=span.last if span else None,
                    behind_bars=max(0, (closed - span.last) // interval - 1) if span else None,
                    gaps=tuple(gaps),
                    forecast=reader.newest(market, now),
                    tick=reader.last_tick(market),
                )
            )
    market = ws.markets()[0]
    next_tick = market.floor(now) + market.interval_seconds + ws.settings.loop.delay_seconds
    return StatusReport(now, production, next_tick, tuple(markets))
