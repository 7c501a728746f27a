"""The top of the page: what the monitor says, the figures of today, and all markets."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cryptocast.reports._html import (
    Markup,
    between,
    counted,
    moment,
    percent,
    price,
    skill,
    span,
    table,
    tag,
    together,
)
from cryptocast.reports.facts import MarketFacts, ReportFacts

_DAY = 86_400
_STALE_BARS = 2  # a forecast older than that deserves a word
_LONGEST = 200  # characters of an event's detail
_VERDICTS = ("healthy", "watch", "declined")


def headline(facts: ReportFacts) -> Markup:
    """The verdict, and cards with the figures of the worst market (or the only one)."""
    cards = tag("ul", *(_card(*texts) for texts in _cards(facts)), class_="cards")
    return together(_verdict(facts), cards)


def _verdict(facts: ReportFacts) -> Markup:
    told = facts.verdict
    if told is None:
        text = together(
            "The monitor has given no verdict yet: type ", tag("code", "cryptocast monitor"), "."
        )
        return tag("p", tag("strong", "No verdict"), " ", text, class_="verdict unknown")
    known = told.verdict if told.verdict in _VERDICTS else "unknown"
    age = span(max(facts.now - told.at, 0))
    reason = f": {told.reason}" if told.reason else ""
    return tag(
        "p",
        tag("strong", told.verdict),
        f" The monitor's verdict of {moment(told.at)} ({age} ago){reason}",
        class_=f"verdict {known}",
    )


def _card(name: str, figure: str, detail: str) -> Markup:
    inside = (tag("span", name), tag("strong", figure), tag("small", detail))
    return tag("li", *inside)


def _cards(facts: ReportFacts) -> Iterator[tuple[str, str, str]]:
    yield _newest(facts)
    productions = facts.productions
    if not productions:
        yield "Production", "none", "type cryptocast init"
    else:
        newest = productions[0]
        figure, age = f"version {newest.model_version}", span(max(facts.now - newest.at, 0))
        told = f"for {age} ({newest.action})"
        if len(productions) > 1:
            figure, told = f"{len(productions)} versions", f"the newest, {figure}, {told}"
        yield "Production", figure, told
    if facts.markets:
        yield from _quality(facts, facts.markets[0])
    day = [_lately(facts, found) for found in facts.markets]
    yield "Incidents", f"{sum(day):,}", "missed, failed or late ticks, stand-ins in the last 24 h"


def _newest(facts: ReportFacts) -> tuple[str, str, str]:
    origins = [found.newest.origin for found in facts.markets if found.newest is not None]
    if not origins:
        return "Newest forecast", "none yet", "type cryptocast forecast --once"
    behind = max(facts.now - min(origins), 0)
    stale = behind > _STALE_BARS * facts.interval_seconds
    word = "old: does anything tick?" if stale else "old"
    age = f"{span(behind)} {word}" if behind >= 1 else "just made"
    return "Newest forecast", moment(min(origins))[11:], age


def _quality(facts: ReportFacts, worst: MarketFacts) -> Iterator[tuple[str, str, str]]:
    of = "" if len(facts.markets) == 1 else f" of {worst.market.symbol}, the worst"
    found = worst.outcomes
    if found is None or not found.scored:
        yield "Skill", "unknown", f"no outcome{of} yet"
        return
    range_ = between(found.total.low, found.total.high)
    yield "Skill", skill(found.total.skill), f"against the random walk{of}; 90 %: {range_ or '-'}"
    coverage = (found.total.coverage80, found.total.coverage90)
    yield "In the 80 % range", percent(coverage[0], 1), f"of all prices{of}"
    yield "In the 90 % range", percent(coverage[1], 1), f"of all prices{of}"


def _lately(facts: ReportFacts, found: MarketFacts) -> int:
    return sum(
        i.count for i in found.incidents if i.kind != "gap" and i.end > facts.now - _DAY
    )  # a run that began before counts whole


def markets_table(facts: ReportFacts, shown: int) -> Markup:
    """All markets, worst first; those with pictures are links."""
    if len(facts.markets) < 2:
        return Markup()
    columns = ("market", "last price", "forecasts", "scored", "skill", "90 % interval",
               "in 80 %", "in 90 %", "missing", "incidents")  # fmt: skip
    rows = [_row(found, i if i < shown else None) for i, found in enumerate(facts.markets)]
    note = ""
    if shown < len(facts.markets):
        note = f" The {shown} worst have pictures below."
    made = table(f"All {len(facts.markets)} markets, worst skill first.{note}", columns, rows)
    return tag("section", tag("h2", "Markets", id="markets"), made, aria_labelledby="markets")


def _row(found: MarketFacts, place: int | None) -> list[str]:
    outcomes, symbol = found.outcomes, found.market.id
    name = symbol if place is None else tag("a", symbol, href=f"#market-{place}")
    troubles = sum(i.count for i in found.incidents if i.kind != "gap")
    last = price(float(found.candles.close[-1])) if len(found.candles) else "-"
    figures = ["-"] * 5
    if outcomes is not None and outcomes.scored:
        total = outcomes.total
        figures = [
            f"{total.n:,}",
            skill(total.skill),
            between(total.low, total.high) or "-",
            percent(total.coverage80, 1),
            percent(total.coverage90, 1),
        ]
    sets = "0" if outcomes is None else f"{len(outcomes.origins):,} {outcomes.mode}"
    return [name, last, sets, *figures, f"{sum(g.bars for g in found.gaps):,}", f"{troubles:,}"]


def events(facts: ReportFacts) -> Markup:
    """What the workspace wrote down about itself."""
    title = tag("h2", "Events", id="events")
    if not facts.events:
        told = tag("p", "Nothing was written down in this range.")
        return tag("section", title, told, aria_labelledby="events")
    rows = [
        [moment(e.at), e.kind, e.market or "all", _short(json.dumps(dict(e.detail)))]
        for e in facts.events
    ]
    columns = ("at", "kind", "market", "detail")
    newest = f"The newest {counted(len(rows), 'event')}"
    shown = table(newest, columns, rows, words=columns[1:])
    return tag("section", title, shown, aria_labelledby="events")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
