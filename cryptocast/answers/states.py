"""The state of a workspace as a document."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from cryptocast.answers.markets import MarketStatusDocument, market_status
from cryptocast.documents import Moment, documented
from cryptocast.values import Deployment, iso
from cryptocast.workflows.status import StatusReport


@documented
class HealthVerdictDocument(TypedDict):
    """The monitor's last verdict."""

    verdict: str
    """`healthy`, `watch`, `declined` or `unknown`."""
    reason: str
    """Why, in a sentence."""
    at: Moment
    """When it was given."""


@documented
class ProductionDocument(TypedDict):
    """A version that serves."""

    market: str
    """The market's id, or `*` for all."""
    version: str
    """The registered version."""
    previous: str | None
    """The version that served before."""
    at: Moment
    """Since when it serves."""
    action: str
    """`promote`, `force` or `rollback`."""
    reason: str
    """What the gate, or the person who forced it, said."""
    promised_skill: float | None
    """CRPS skill against the random walk that the gate expects of it: 0.01 is 1 %."""


@documented
class CreditsDocument(TypedDict):
    """The cost of a metered source this month."""

    calls: int
    """The number of calls."""
    credits: int
    """The credits that they cost, estimated."""
    monthly: int
    """The budget of a month."""


@documented
class StatusDocument(TypedDict):
    """The state of the workspace."""

    now: Moment
    """When this was asked."""
    next_tick: Moment | None
    """When the next tick is due; null if nothing ticks by itself."""
    ticked_by: str | None
    """`serve-loop`, `cron`, `systemd`, `launchd`, `something`, or null: nothing."""
    issues: list[str]
    """What a person should look at, worst first."""
    health: HealthVerdictDocument | None
    """The monitor's last verdict."""
    production: ProductionDocument | None
    """The version that was deployed last."""
    productions: list[ProductionDocument]
    """All that serve some market, newest first."""
    shadow: str | None
    """The version that forecasts beside it, unserved."""
    loop: dict[str, Any] | None
    """What serve-loop says of itself in `logs/health.json`."""
    markets: list[MarketStatusDocument]
    """Worst first."""
    credits: dict[str, CreditsDocument]
    """By source, of those that have cost any."""


def status_document(report: StatusReport) -> StatusDocument:
    """Return the state of a workspace as a document."""
    productions = [_production(row, report) for row in report.productions]
    health = report.health
    return {
        "now": iso(report.now),
        "next_tick": _time(report.next_tick),
        "ticked_by": report.ticked_by,
        "issues": list(report.issues),
        "health": None
        if health is None
        else {"verdict": health.verdict, "reason": health.reason, "at": iso(health.at)},
        "production": productions[0] if productions else None,
        "productions": productions,
        "shadow": report.shadow,
        "loop": None if report.loop is None else dict(report.loop),
        "markets": [market_status(market) for market in report.markets],
        "credits": {
            source: {
                "calls": spent.calls,
                "credits": spent.credits,
                "monthly": report.monthly_credits,
            }
            for source, spent in report.credits.items()
        },
    }


def _time(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)


def _production(row: Deployment, report: StatusReport) -> ProductionDocument:
    return {
        "market": row.market,
        "version": row.model_version,
        "previous": row.previous_version,
        "at": iso(row.at),
        "action": row.action,
        "reason": row.reason,
        "promised_skill": report.promised.get(row.id),
    }
