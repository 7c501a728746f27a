"""What alerts are about: the facts of one moment, from the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptocast.store import Credits, Reader, StandIn, monitoring
from cryptocast.values import DAY_SECONDS, Deployment, Market
from cryptocast.workspace import Workspace

MONITOR = "monitor"
"""The kind of the events that hold the monitor's verdicts."""

_SHOWN_SECONDS = (3600, 7200)


@dataclass(frozen=True, slots=True)
class Facts:
    """What alerts are about, at one moment."""

    now: float  # by the workspace's clock
    system_now: float  # which rules credits
    workspace: str
    markets: tuple[Market, ...]
    served: Mapping[Market, int]  # the newest served origin
    stand_ins: Mapping[Market, StandIn]
    newest: Mapping[Market, int]  # open time of the newest candle
    missed: Mapping[Market, Sequence[int]]  # origins of the last day
    deployments: Sequence[Deployment]
    verdict: tuple[str, str] | None  # the monitor's, and why
    credits: Mapping[str, Credits]
    monthly_credits: int
    source_dead_seconds: float
    credits_share: float
    missed_ticks: int


def look(ws: Workspace, reader: Reader) -> Facts:
    """Gather the facts from the store."""
    markets, now = ws.markets(), ws.clock.now()
    notify = ws.settings.notify
    verdict = reader.newest_event(MONITOR, now)
    system_now = time.time()
    spent = reader.credits([m.source for m in markets], system_now)
    return Facts(
        now=now,
        system_now=system_now,
        workspace=ws.folder.name,
        markets=markets,
        served=reader.ledger.newest_origins(markets, now),
        stand_ins=monitoring.stand_ins(reader, markets, now),
        newest={market: span.last for market, span in reader.spans(markets, now).items()},
        missed=monitoring.missed_origins(reader, markets, now - DAY_SECONDS),
        deployments=reader.deployments(),
        verdict=None
        if verdict is None
        else (str(verdict.detail.get("verdict")), str(verdict.detail.get("reason") or "")),
        credits={source: cost for source, cost in spent.items() if cost.used},
        monthly_credits=ws.settings.source.monthly_credits,
        source_dead_seconds=notify.source_dead_minutes * 60,
        credits_share=notify.credits_share,
        missed_ticks=notify.missed_ticks,
    )


def shown_steps(market: Market, horizon: int) -> tuple[int, ...]:
    """The steps that people look at: the first, one hour, two hours, or else the last."""
    wanted = {seconds // market.interval_seconds for seconds in _SHOWN_SECONDS}
    return tuple(sorted({1} | ({s for s in wanted if 1 <= s <= horizon} or {horizon})))
