"""A market's part of the page: pictures, words and tables."""

from __future__ import annotations

from collections.abc import Sequence

from cryptocast.reports import _words as words
from cryptocast.reports._data import pairs, promise
from cryptocast.reports._figure import SCORE, SHOWN_ROWS, figure, picture, scored
from cryptocast.reports._html import (
    Markup,
    counted,
    moment,
    price,
    skill,
    span,
    table,
    tag,
    together,
)
from cryptocast.reports._quality import quality
from cryptocast.reports.facts import MarketFacts, ReportFacts, pictured_steps


def section(facts: ReportFacts, found: MarketFacts, place: int) -> Markup:
    """Everything about one market."""
    outcomes = found.outcomes
    title = f"{found.market.symbol} · {found.market.source}, {found.market.interval} candles"
    pictures = [_forecast(found, place)]
    if outcomes is not None and outcomes.scored:
        pictures += quality(facts, outcomes, place)
    else:
        pictures.append(_nothing_scored(facts, found))
    pictures += [_versions(facts, found), _incidents(found, place)]
    return tag(
        "section",
        tag("h2", title, id=f"market-{place}"),
        _switch(facts, found, place),
        *pictures,
        class_="market",
        aria_labelledby=f"market-{place}",
    )


def _switch(facts: ReportFacts, found: MarketFacts, place: int) -> Markup:
    """Which step ahead the pictures of past forecasts show."""
    if found.outcomes is None:
        return Markup()
    choices = [
        tag(
            "label",
            tag(
                "input",
                type="radio",
                name=f"step-{place}",
                value=str(i),
                data_market=str(place),
                checked=i == 0,
            ),
            tag("span", span(step * facts.interval_seconds)),
        )
        for i, step in enumerate(pictured_steps(facts.horizon))
    ]
    legend = tag("legend", "Past forecasts, made so long before:")
    return tag("fieldset", legend, *choices, class_="switch controls")


def _forecast(found: MarketFacts, place: int) -> Markup:
    views = [("6 h", "6"), ("1 day", "24"), ("1 week", "168"), ("all", "0")]
    buttons = [
        tag("button", label, type="button", data_hours=hours, data_market=str(place))
        for label, hours in views
    ]
    for label, shift in (("earlier", "-1"), ("later", "1")):
        moved = {"data_shift": shift, "data_market": str(place)}
        buttons.append(tag("button", label, type="button", **moved))
    controls = tag("div", *buttons, class_="controls", role="group", aria_label="Range shown")
    what = (
        f"Candles of {found.market.symbol}, and over each moment the range that was forecast for "
        "it at the chosen distance: the darker band is to hold 80 % of the prices, the lighter "
        "90 %. After the dotted line: the ranges of the newest forecast. Drag to zoom in, click "
        "twice to zoom out."
    )
    if not len(found.candles):
        missing = "There are no candles in this range: type cryptocast fetch."
        return figure("Price and forecasts", what, missing, Markup())
    rows = _fan_table(found)
    return picture(
        "price", place, "Price and forecasts", what, words.forecast_now(found), *rows,
        controls=controls,
    )  # fmt: skip


def _fan_table(found: MarketFacts) -> list[Markup]:
    newest = found.newest
    if newest is None:
        return []
    ranges = pairs(newest.levels)[:2]
    columns = ["for", "median", *(f"{share:.0%} range" for share, _, _ in ranges)]
    rows = [
        [
            moment(newest.target_time(step)),
            price(row[len(newest.levels) // 2]),
            *(f"{price(row[low])} to {price(row[high])}" for _, low, high in ranges),
        ]
        for step, row in enumerate(newest.quantiles, 1)
    ]
    return [table(f"The forecast of {moment(newest.origin)}", columns, rows)]


def _nothing_scored(facts: ReportFacts, found: MarketFacts) -> Markup:
    if found.outcomes is None:
        told = "Nothing was forecast in this range yet."
        todo = ("cryptocast forecast --once", "or, to play the past again,", "cryptocast replay")
    else:
        first = int(found.outcomes.origins[0]) + facts.interval_seconds
        told = (
            f"{counted(len(found.outcomes.origins), 'forecast')} made, and no price that they are "
            f"for is known yet; the first is due at {moment(first)}."
        )
        todo = ("cryptocast fetch", "brings them; or wait for", "cryptocast serve-loop")
    first_word, second = (tag("code", todo[i]) for i in (0, 2))
    text = together(told, " Type ", first_word, f" {todo[1]} ", second, ".")
    return tag("div", tag("h3", "How good are they?"), tag("p", text), class_="nothing")


def _versions(facts: ReportFacts, found: MarketFacts) -> Markup:
    served = [
        [v.version, f"{v.sets:,}", f"{v.fallbacks:,}", *scored(v.score)]
        for v in (found.outcomes.versions if found.outcomes is not None else ())
    ]
    columns = ("version", "forecasts", "as stand-in", *SCORE)
    versions = table("What each version served in this range", columns, served)
    deployed: Sequence[Sequence[str]] = [
        [
            str(d.id),
            moment(d.at),
            d.model_version,
            d.action,
            skill(promise(d)),
            d.reason,
        ]
        for d in reversed(facts.deployed(found.market))
    ][:SHOWN_ROWS]
    heads = ("no.", "at", "version", "how", "promised skill", "why")
    deployments = table(
        "Deployments, newest first", heads, deployed, words=("at", "version", "how", "why")
    )
    what = (
        "Which version served, how well, and what the gate had measured before it was let in "
        "(the promise). A version with a name like builtin:random_walk stood in for another."
    )
    shown = together(versions, deployments)
    return figure("Versions and deployments", what, words.versions_now(facts, found), shown)


def _incidents(found: MarketFacts, place: int) -> Markup:
    what = (
        "Candles that are missing, ticks that came late, failed or never ran, and forecasts that a "
        "stand-in made, at the time that they belong to."
    )
    newest = list(reversed(found.incidents))[:SHOWN_ROWS]
    rows = [[moment(i.start), i.kind, f"{i.count:,}", moment(i.end), i.detail] for i in newest]
    title, told = "Gaps and incidents", words.incidents_now(found)
    if not rows:
        return figure(title, what, told, Markup())
    columns = ("from", "what", "how many", "to", "detail")
    caption = f"The newest {len(rows)} of {len(found.incidents):,}"
    shown = table(caption, columns, rows, words=("what", "to", "detail"))
    return picture("incidents", place, title, what, told, shown)
