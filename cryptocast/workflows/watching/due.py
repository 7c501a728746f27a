"""Is a model due to be renewed: it declined, no cool-down holds, the day's budget is not spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptocast.errors import no_production
from cryptocast.evaluation.inputs import TESTS as INPUT_TESTS
from cryptocast.evaluation.monitoring import DECLINED, UNKNOWN
from cryptocast.store import Event
from cryptocast.values import Deployment, Market, iso
from cryptocast.workflows.watching import verdicts
from cryptocast.workflows.watching.facts import MONITOR
from cryptocast.workspace import Workspace

ATTEMPT = "retrain"
"""The kind of the events of an attempt: one when it begins, one when it has ended."""

_HOUR = 3600
_FRESH_SECONDS = _HOUR
_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Known:
    """What decides whether a model is due."""

    served: frozenset[Market]  # those that have a model
    told: Mapping[str, Any]  # what the monitor said last
    attempts: Mapping[str | None, Sequence[Event]]  # oldest first, by market; None: of all


def is_due(
    ws: Workspace, market: Market | None = None, *, known: Known | None = None
) -> tuple[bool, str]:
    """Whether the model (of a market) should be renewed now, and why, or why not.

    The monitor is asked anew where its newest verdict is older than an hour, or than what
    serves. `known`: what was read for several markets together.
    """
    known = known or look(ws)
    verdict, why, of_inputs = _verdict(known, market)
    if verdict != DECLINED:
        return False, f"the monitor says {verdict}: {why}"
    if of_inputs:
        return False, f"its inputs are damaged, and a new model would learn from the same: {why}"
    settings, now = ws.settings.retrain, ws.clock.now()
    events = known.attempts.get(market.id if market else None, [])
    # Of each attempt the last word; one that was killed has only its first.
    attempts = list({event.detail["started"]: event for event in events}.values())
    today = [event for event in attempts if event.at > now - 24 * _HOUR]
    if len(today) >= settings.daily:
        return False, f"[retrain] daily allows {settings.daily} in 24 hours: {len(today)} were made"
    until = _cool_until(attempts, settings.cooldown_hours)
    if now < until:
        return False, f"the cool-down holds until {iso(round(until))}"
    return True, f"declined: {why}"


def look(ws: Workspace) -> Known:
    """Read it, and ask the monitor where what it said is too old."""
    rows, now = serving(ws), ws.clock.now()
    fresh = max(now - _FRESH_SECONDS, *(row.at for row in rows.values()))
    with ws.store.read() as reader:
        newest = reader.newest_event(MONITOR, now)
        events = [event for event in reader.events(ATTEMPT) if event.at <= now]
    if newest is None or newest.at < fresh:
        verdicts.keep(ws, verdicts.look(ws))
        with ws.store.read() as reader:
            newest = reader.newest_event(MONITOR, now)
    attempts: dict[str | None, list[Event]] = {}
    for event in events:
        attempts.setdefault(event.market, []).append(event)
    return Known(frozenset(rows), {} if newest is None else newest.detail, attempts)


def _verdict(known: Known, market: Market | None) -> tuple[str, str, bool]:
    """The monitor's verdict, its reason, and whether nothing but inputs is called declined."""
    if market is not None and market not in known.served:
        return DECLINED, "it has no model yet", False
    told = known.told
    declined = {
        test["name"]
        for test in told.get("tests") or ()
        if test["verdict"] == DECLINED and (market is None or test["market"] == market.id)
    }
    if market is not None:
        each = {found["market"]: found for found in told.get("markets") or ()}
        told = each.get(market.id, {})
    of_inputs = bool(declined) and declined <= set(INPUT_TESTS)
    return str(told.get("verdict", UNKNOWN)), str(told.get("reason") or ""), of_inputs


def serving(ws: Workspace) -> dict[Market, Deployment]:
    """What serves each market; StateError where nothing does."""
    with ws.store.read() as reader:
        found = reader.productions().of_markets(ws.markets())
    if not found:
        raise no_production()
    return found


def _cool_until(attempts: Sequence[Event], hours: float) -> float:
    """When the next attempt may be: each one in a row that changed nothing doubles the wait."""
    if not attempts:
        return 0.0
    vain = 0
    for event in reversed(attempts):
        if event.detail["promoted"]:
            break
        vain += 1
    return attempts[-1].at + hours * _HOUR * (1 << min(vain, _DOUBLINGS))
