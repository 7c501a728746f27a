"""Facts that screens, alerts and metrics share: one truth for each, read from the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptocast import store
from cryptocast.compute.sets import LEVEL_SHIFT
from cryptocast.config import NotifySettings
from cryptocast.display import fixed
from cryptocast.store import Credits, Reader, StandIn
from cryptocast.values import DAY_SECONDS, Deployment, Event, Market, MonitorVerdict
from cryptocast.workspace import Workspace

MONITOR = "monitor"
"""The kind of the events that hold the monitor's verdicts."""

_SHOWN_SECONDS = (3600, 7200)


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """The facts that alerts are about, at one moment."""

    now: float  # by the workspace's clock
    system_now: float  # which rules credits
    workspace: str
    markets: tuple[Market, ...]
    served: Mapping[Market, int]  # the newest served origin
    stand_ins: Mapping[Market, StandIn]
    newest: Mapping[Market, int]  # open time of the newest candle
    missed: Mapping[Market, Sequence[int]]  # origins of the last day
    deployments: Sequence[Deployment]
    verdict: MonitorVerdict | None
    shifts: Mapping[Market, Event]  # of level, of the last day
    credits: Mapping[str, Credits]
    monthly_credits: int
    rule: NotifySettings


def alert_facts(ws: Workspace, reader: Reader) -> AlertFacts:
    """Read the facts from the store."""
    markets, now = ws.markets(), ws.clock.now()
    system_now = time.time()
    spent = reader.credits([m.source for m in markets], system_now)
    return AlertFacts(
        now=now,
        system_now=system_now,
        workspace=ws.folder.name,
        markets=markets,
        served=reader.ledger.newest_origins(markets, now),
        stand_ins=store.stand_ins(reader, markets, now),
        newest={market: span.last for market, span in reader.spans(markets, now).items()},
        missed=store.missed_origins(reader, markets, now - DAY_SECONDS),
        deployments=reader.deployments(),
        verdict=MonitorVerdict.of(reader.newest_event(MONITOR, now)),
        shifts=level_shifts(reader, markets, now),
        credits={source: cost for source, cost in spent.items() if cost.used},
        monthly_credits=ws.settings.source.monthly_credits,
        rule=ws.settings.notify,
    )


def level_shifts(reader: Reader, markets: Sequence[Market], now: float) -> dict[Market, Event]:
    """Return the newest level shift of each market that became known in the last day."""
    by_id = {market.id: market for market in markets}
    return {
        by_id[event.market]: event
        for event in reader.events(LEVEL_SHIFT)
        if event.market in by_id and now - DAY_SECONDS < event.at <= now
    }


def shift_words(event: Event) -> str:
    """Return what to say of a level shift."""
    factor = float(event.detail["factor"])
    sign, size = ("x", factor) if factor > 1 else ("/", 1 / factor)
    return (
        f"the price moved {sign} {fixed(size, 0 if size >= 10 else 2)} in the bar of "
        f"{event.detail['bar']} and stayed: it is taken for a new unit (redenomination or split), "
        "and this move is left out"
    )


def shown_steps(market: Market, horizon: int) -> tuple[int, ...]:
    """Return the steps that people look at: the first, one hour, two hours, or else the last."""
    wanted = {seconds // market.interval_seconds for seconds in _SHOWN_SECONDS}
    return tuple(sorted({1} | ({s for s in wanted if 1 <= s <= horizon} or {horizon})))
