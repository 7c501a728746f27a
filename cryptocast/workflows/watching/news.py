"""What has changed since a receiver last heard of it.

For each kind of alert and each subject (a market, a source) a receiver's memory holds a state, a
short text. Each function here compares the facts with such a memory: it yields the states that
have changed, and the alert that says so, one for all subjects that changed alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptocast.display import first_few
from cryptocast.metering import QUIET_SECONDS
from cryptocast.store import ALL_MARKETS
from cryptocast.values import Alert, Market, iso
from cryptocast.workflows.watching.facts import AlertFacts, shift_words

States = Mapping[str, str]
"""What a receiver knows of one kind: the state of each subject."""

ON, OFF = "on", "off"
_NAMED = 5
_DEPLOYED = {"promote": "was promoted", "force": "was promoted by force", "rollback": "is back"}


@dataclass(frozen=True, slots=True)
class News:
    """States of one kind that changed, with the alert about them; None: nobody need know."""

    kind: str
    states: States
    alert: Alert | None


def news(facts: AlertFacts, known: Mapping[str, States], kinds: Sequence[str]) -> list[News]:
    """Return the news of these kinds for a receiver with this memory."""
    changes = [change for kind in kinds for change in KINDS[kind](facts, known.get(kind, {}))]
    return [change for change in changes if change.states]


def _declined(facts: AlertFacts, known: States) -> Iterator[News]:
    verdict = facts.verdict
    # `watch` and `unknown` say neither: the state stays.
    state = None if verdict is None else {"declined": ON, "healthy": OFF}.get(verdict.verdict)
    if verdict is None or state is None or state == known.get("", OFF):
        return
    problem, title = "problem", "the forecasts have declined"
    if state == OFF:
        problem, title = "recovered", "the forecasts are healthy again"
    reason = verdict.reason or "the monitor gave no reason"
    yield News("declined", {"": state}, _alert(facts, "declined", problem, title, reason))


def _promotion(facts: AlertFacts, known: States) -> Iterator[News]:
    if "" not in known:  # what served before anybody listened is no news
        newest = [str(row.id) for row in facts.deployments[-1:]]
        yield News("promotion", {"": newest[0]} if newest else {}, None)
        return
    new = [row for row in facts.deployments if row.id > int(known[""])]
    if len(new) > _NAMED:  # of hundreds of markets with a model each
        states, title = {"": str(new[-1].id)}, f"{len(new)} versions were deployed"
        text = first_few([f"{row.market} {row.model_version}" for row in new], _NAMED)
        yield News("promotion", states, _alert(facts, "promotion", "news", title, text))
        return
    for row in new:
        of = "" if row.market == ALL_MARKETS else f" for {row.market}"
        before = f", in place of {row.previous_version}" if row.previous_version else ""
        title = f"version {row.model_version} {_DEPLOYED[row.action]}{of}{before}"
        alert = _alert(facts, "promotion", "news", title, row.reason)
        yield News("promotion", {"": str(row.id)}, alert)


def _fallback(facts: AlertFacts, known: States) -> Iterator[News]:
    stands = {m: m in facts.stand_ins for m in facts.markets if m in facts.served}
    began, ended = _turned(stands, known)
    if began:
        runs = [facts.stand_ins[m] for m in began]
        reasons = ", ".join(dict.fromkeys(run.reason for run in runs))
        text = f"{_names(began)}: {reasons}, since {iso(min(run.since for run in runs))}"
        title = "a stand-in serves instead of production"
        yield _turn(facts, "fallback", began, title, text)
    if ended:
        yield _turn(facts, "fallback", ended, "production serves again", _names(ended))


def _source(facts: AlertFacts, known: States) -> Iterator[News]:
    closed = {m: at + m.interval_seconds for m, at in facts.newest.items()}
    dead = {
        m: facts.now - closed.get(m, 0) > 60 * facts.rule.source_dead_minutes for m in facts.markets
    }
    began, ended = _turned(dead, known)
    if began:
        moments = [closed[m] for m in began if m in closed]
        since = f"none since {iso(min(moments))}" if moments else "there is none at all"
        title = f"no candles come from {_sources(began)}"
        yield _turn(facts, "source", began, title, f"{_names(began)}: {since}")
    if ended:
        title = f"candles come again from {_sources(ended)}"
        yield _turn(facts, "source", ended, title, _names(ended))


def _credits(facts: AlertFacts, known: States) -> Iterator[News]:
    for source, spent in facts.credits.items():
        silent_until = (spent.refused_at or -math.inf) + QUIET_SECONDS
        refused = facts.system_now < silent_until
        share = spent.credits / facts.monthly_credits
        state = ON if refused or share >= facts.rule.credits_share else OFF
        if state == known.get(source, OFF):
            continue
        problem, title = "problem", f"the credits of {source} are nearly spent"
        if state == OFF:
            problem, title = "recovered", f"there are credits of {source} again"
        text = f"{spent.credits:,} of {facts.monthly_credits:,} this month"
        text += "; it said that its plan is used up" if refused else ""
        yield News("credits", {source: state}, _alert(facts, "credits", problem, title, text))


def _missed(facts: AlertFacts, known: States) -> Iterator[News]:
    """Yield the news of missed origins.

    A state is the newest missed origin that is known, followed by `on` while no forecast is made.
    """
    silent: dict[Market, str] = {}
    back: dict[Market, str] = {}
    lost: set[int] = set()
    for market in facts.markets:
        origin = facts.served.get(market)
        if origin is None:
            continue
        mark, _, state = known.get(market.id, "0").partition(" ")
        behind = (market.floor(facts.now) - origin) // market.interval_seconds
        if behind >= facts.rule.missed_ticks:
            if state != ON:
                silent[market] = f"{mark} {ON}"
            continue
        gone = [o for o in facts.missed.get(market, ()) if o > int(mark)]
        if state == ON or len(gone) >= facts.rule.missed_ticks:
            back[market] = str(max(gone, default=int(mark)))
            lost.update(gone)
    if silent:
        text = f"{_names(silent)}: none since {iso(min(facts.served[m] for m in silent))}"
        yield _turn(facts, "missed", silent, "no forecasts are made", text)
    if back:
        text = _names(back)
        if lost:
            text += f": {len(lost)} were missed, from {iso(min(lost))} to {iso(max(lost))}"
        yield _turn(facts, "missed", back, "forecasts are made again", text)


def _shift(facts: AlertFacts, known: States) -> Iterator[News]:
    """Yield the news of level shifts; a state is the bar of the newest that is known."""
    bars = {market: str(event.detail["bar"]) for market, event in facts.shifts.items()}
    new = {market: bar for market, bar in bars.items() if known.get(market.id) != bar}
    if new:
        texts = [f"{market.symbol}: {shift_words(facts.shifts[market])}" for market in new]
        states = {market.id: bar for market, bar in new.items()}
        title = f"prices of {_names(new)} are taken for a new unit"
        alert = _alert(facts, "shift", "news", title, first_few(texts, _NAMED), tuple(states))
        yield News("shift", states, alert)


def _turned(
    now: Mapping[Market, bool], known: States
) -> tuple[dict[Market, str], dict[Market, str]]:
    """Return the markets in which it began, and in which it ended, with their new states."""
    turned = {m: ON if is_so else OFF for m, is_so in now.items()}
    turned = {m: state for m, state in turned.items() if state != known.get(m.id, OFF)}
    began = {m: state for m, state in turned.items() if state == ON}
    return began, {m: state for m, state in turned.items() if state == OFF}


def _turn(
    facts: AlertFacts, kind: str, turned: Mapping[Market, str], title: str, text: str
) -> News:
    """Return the news of markets: a problem if their states end in `on`, else its end."""
    problem = all(state.endswith(ON) for state in turned.values())
    ids = tuple(market.id for market in turned)
    alert = _alert(facts, kind, "problem" if problem else "recovered", title, text, ids)
    return News(kind, {market.id: state for market, state in turned.items()}, alert)


def _alert(
    facts: AlertFacts, kind: str, state: str, title: str, text: str, markets: tuple[str, ...] = ()
) -> Alert:
    return Alert(facts.now, kind, state, title, text, facts.workspace, markets)


def _names(markets: Iterable[Market]) -> str:
    """Return the symbols of the first few markets, and how many more there are."""
    return first_few([market.symbol for market in markets], _NAMED)


def _sources(markets: Iterable[Market]) -> str:
    return ", ".join(dict.fromkeys(market.source for market in markets))


KINDS: Mapping[str, Callable[[AlertFacts, States], Iterator[News]]] = {
    "declined": _declined,
    "promotion": _promotion,
    "fallback": _fallback,
    "source": _source,
    "credits": _credits,
    "missed": _missed,
    "shift": _shift,
}
"""The function that finds the news of each kind of `values.ALERTS`."""
