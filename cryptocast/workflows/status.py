"""status: production, candles, the newest forecast and the next tick, on one screen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from cryptocast.store import Credits, Tick
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
    confirmed: int  # of the missing bars: those that the source lacks
    provenances: Mapping[str, int]  # how the candles of the last days came
    forecast: ForecastSet | None
    tick: Tick | None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The workspace at a moment."""

    now: float
    production: Deployment | None
    next_tick: float
    markets: tuple[MarketStatus, ...]
    credits: Mapping[str, Credits]  # of each source that has cost any this month


def status(ws: Workspace) -> StatusReport:
    """Look at the store; nothing is fetched."""
    now = ws.clock.now()
    markets = []
    with ws.store.read() as reader:
        production = reader.deployment()
        for market in ws.markets():
            interval, closed = market.interval_seconds, market.floor(now)
            span = reader.span(market, closed)
            start = closed - round(ws.settings.data.days * _DAY)
            first, last = (max(span.first, start), span.last) if span else (start, start)
            gaps = reader.gaps(market, first, last) if first < last else []
            markets.append(
                MarketStatus(
                    market=market.id,
                    rows=span.rows if span else 0,
                    first=span.first if span else None,
                    last=span.last if span else None,
                    behind_bars=max(0, (closed - span.last) // interval - 1) if span else None,
                    gaps=tuple(gaps),
                    confirmed=reader.confirmed_missing(market, first, last),
                    provenances=reader.provenances(market, start, closed),
                    forecast=reader.newest(market, now),
                    tick=reader.last_tick(market),
                )
            )
        sources = dict.fromkeys(market.source for market in ws.markets())
        spent = {source: reader.credits(source, time.time()) for source in sources}
    market = ws.markets()[0]
    next_tick = market.floor(now) + market.interval_seconds + ws.settings.loop.delay_seconds
    credits = {source: found for source, found in spent.items() if found.calls}
    return StatusReport(now, production, next_tick, tuple(markets), credits)
