"""Facts that screens, alerts and metrics share: one truth for each, read from the store."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptocast import store
from cryptocast.config import NotifySettings
from cryptocast.store import ALL_MARKETS, Credits, Reader, StandIn
from cryptocast.values import DAY_SECONDS, OPPONENT_WALK, Deployment, Market, MonitorVerdict
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
        credits={source: cost for source, cost in spent.items() if cost.used},
        monthly_credits=ws.settings.source.monthly_credits,
        rule=ws.settings.notify,
    )


def promised_skill(row: Deployment, deployments: Sequence[Deployment]) -> float | None:
    """Return the skill that a version was expected to have when it was deployed, or None.

    This is the gate's `shrunken` skill against the random walk: what the gate measured, drawn
    towards 0 by its noise (for a base network, towards the skill that it showed on other
    markets and years). A roll-back measures nothing, so the newest comparison of the same
    version counts, for the same market or for all markets, up to that deployment. None if the
    version was never compared with the random walk.
    """
    ruling = [d for d in deployments if d.id <= row.id and d.market in (ALL_MARKETS, row.market)]
    for earlier in reversed(ruling):
        if earlier.model_version == row.model_version:
            skill = _shrunken_skill(earlier.scores)
            if skill is not None:
                return skill
    return None


def _shrunken_skill(scores: str) -> float | None:
    """Read the shrunken skill against the random walk from the `scores` of a deployment."""
    try:
        for comparison in json.loads(scores or "{}").get("gate") or ():
            skill = comparison.get("shrunken")
            if comparison.get("opponent") == OPPONENT_WALK and skill is not None:
                return float(skill) if math.isfinite(skill) else None
    except (ValueError, AttributeError, TypeError):
        return None  # another version of this program wrote them
    return None


def shown_steps(market: Market, horizon: int) -> tuple[int, ...]:
    """Return the steps that people look at: the first, one hour, two hours, or else the last."""
    wanted = {seconds // market.interval_seconds for seconds in _SHOWN_SECONDS}
    return tuple(sorted({1} | ({s for s in wanted if 1 <= s <= horizon} or {horizon})))
