"""When a model is due to be renewed: it declined, no cool-down holds, the day has room for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptocast.config import RetrainSettings
from cryptocast.errors import no_production
from cryptocast.evaluation.inputs import TESTS as INPUT_TESTS
from cryptocast.evaluation.monitoring import DECLINED, UNKNOWN
from cryptocast.values import DAY_SECONDS, Event, Market, iso
from cryptocast.workflows.learning.scope import Group, per_market
from cryptocast.workflows.watching import verdicts
from cryptocast.workflows.watching.facts import MONITOR
from cryptocast.workspace import Workspace

ATTEMPT = "retrain"
"""The kind of the events of an attempt: one when it begins, one when it has ended."""

_HOUR_SECONDS = 3600
_FRESH_SECONDS = _HOUR_SECONDS
_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class RenewalFacts:
    """The facts that decide whether a model is due."""

    now: float
    served: frozenset[Market]  # the markets that have a model
    verdict: Mapping[str, Any]  # the monitor's newest, as a document
    attempts: Mapping[str | None, Sequence[Event]]  # oldest first, by market; None: of all markets


def look(ws: Workspace) -> RenewalFacts:
    """Read the facts, and run the monitor if its newest verdict is out of date.

    That is if it is older than an hour, or than what serves. Raises StateError if no version
    serves.
    """
    now = ws.clock.now()
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets())
        newest = reader.newest_event(MONITOR, now)
        events = [event for event in reader.events(ATTEMPT) if event.at <= now]
    if not serving:
        raise no_production()
    fresh = max(now - _FRESH_SECONDS, *(row.at for row in serving.values()))
    if newest is None or newest.at < fresh:
        verdicts.keep(ws, verdicts.look(ws))
        with ws.store.read() as reader:
            # The monitor has looked a moment after `now`, and that verdict is the one to go by.
            newest = reader.newest_event(MONITOR, ws.clock.now())
    attempts: dict[str | None, list[Event]] = {}
    for event in events:
        attempts.setdefault(event.market, []).append(event)
    detail = {} if newest is None else newest.detail
    return RenewalFacts(now, frozenset(serving), detail, attempts)


def is_due(
    facts: RenewalFacts, rule: RetrainSettings, market: Market | None = None
) -> tuple[bool, str]:
    """Return whether the model should be renewed now, and why, or why not.

    `market` names the market whose own model is meant; None: the model of all markets.
    """
    verdict, reason, of_inputs = _verdict(facts.verdict, market)
    if market is not None and market not in facts.served:
        verdict, reason, of_inputs = DECLINED, "it has no model yet", False
    if verdict != DECLINED:
        return False, f"the monitor says {verdict}: {reason}"
    if of_inputs:
        return False, f"its inputs are damaged, and a new model would learn from the same: {reason}"
    events = facts.attempts.get(market.id if market else None, [])
    # The last event of each attempt; one that was killed has only its first.
    attempts = list({event.detail["started"]: event for event in events}.values())
    today = [event for event in attempts if event.at > facts.now - DAY_SECONDS]
    if len(today) >= rule.daily:
        return False, f"[retrain] daily allows {rule.daily} in 24 hours: {len(today)} were made"
    until = _cool_until(attempts, rule.cooldown_hours)
    if facts.now < until:
        return False, f"the cool-down holds until {iso(round(until))}"
    return True, f"declined: {reason}"


def has_declined(ws: Workspace, markets: Group, since: float) -> bool:
    """Return whether the forecasts have declined by the monitor's newest verdict since a moment.

    Damaged inputs alone are no decline of the model.
    """
    with ws.store.read() as reader:
        newest = reader.newest_event(MONITOR, ws.clock.now())
    if newest is None or newest.at < since:
        return False
    market = markets[0] if per_market(ws.settings) else None
    verdict, _, of_inputs = _verdict(newest.detail, market)
    return verdict == DECLINED and not of_inputs


def _verdict(verdict: Mapping[str, Any], market: Market | None) -> tuple[str, str, bool]:
    """Return the monitor's verdict, its reason, and whether only inputs are called declined."""
    declined = {
        test["name"]
        for test in verdict.get("tests") or ()
        if test["verdict"] == DECLINED and (market is None or test["market"] == market.id)
    }
    if market is not None:
        by_market = {entry["market"]: entry for entry in verdict.get("markets") or ()}
        verdict = by_market.get(market.id, {})
    of_inputs = bool(declined) and declined <= set(INPUT_TESTS)
    return str(verdict.get("verdict", UNKNOWN)), str(verdict.get("reason") or ""), of_inputs


def _cool_until(attempts: Sequence[Event], hours: float) -> float:
    """Return when the next attempt may be: each in a row that changed nothing doubles the wait."""
    if not attempts:
        return 0.0
    vain = 0
    for event in reversed(attempts):
        if event.detail["promoted"]:
            break
        vain += 1
    return attempts[-1].at + hours * _HOUR_SECONDS * (1 << min(vain, _DOUBLINGS))
