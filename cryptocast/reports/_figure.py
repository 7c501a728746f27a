"""The parts that all figures are put together from."""

from __future__ import annotations

from cryptocast.reports._html import (
    Markup,
    between,
    number,
    percent,
    skill,
    tag,
    together,
)
from cryptocast.reports.facts import Score

SCORE = ("scored", "CRPS, bp", "random walk, bp", "skill", "90 % interval", "in 80 %", "in 90 %")
"""The columns of a score in a table."""

SHOWN_ROWS = 40
"""So many of the newest outcomes and incidents are in the tables."""


def picture(
    name: str,
    place: int,
    title: str,
    what: str,
    now: str,
    *alternative: Markup,
    controls: Markup | None = None,
) -> Markup:
    """A figure: its words, the place that the script draws into, and its numbers as a table."""
    drawn = tag(
        "div",
        class_=f"plot {name}",
        data_picture=name,
        data_market=str(place),
        role="img",
        aria_label=f"{title}. {now}",
    )
    return figure(title, what, now, together(controls or Markup(), drawn), *alternative)


def figure(title: str, what: str, now: str, shown: Markup, *alternative: Markup) -> Markup:
    """What it shows, what it says now, what is shown, and that as a table."""
    told = tag("p", tag("strong", "Now: "), now, class_="now")
    caption = tag("figcaption", tag("h3", title), tag("p", what, class_="what"), told)
    folded = Markup()
    if alternative:
        summary = tag("summary", "The numbers as a table")
        folded = tag("details", summary, *alternative)
    return tag("figure", caption, shown, folded)


def pair(*figures: Markup) -> Markup:
    """Two figures side by side, where there is room."""
    return tag("div", *figures, class_="pair")


def scored(score: Score) -> tuple[str, ...]:
    """A score in the columns SCORE."""
    return (
        f"{score.n:,}",
        number(score.crps_bp),
        number(score.walk_bp),
        skill(score.skill),
        between(score.low, score.high) or "-",
        percent(score.coverage80, 1),
        percent(score.coverage90, 1),
    )
