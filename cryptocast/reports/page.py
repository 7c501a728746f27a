"""The report: one HTML file that needs nothing else, and asks nothing of anybody."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from string import Template

from cryptocast.reports._data import market_data
from cryptocast.reports._headline import events, headline, markets_table
from cryptocast.reports._html import Markup, island, moment, span, tag, together
from cryptocast.reports._sections import section
from cryptocast.reports.facts import ReportFacts

MOST_SECTIONS = 6
"""So many markets, the worst, have pictures; the table has all."""

_TEMPLATES = "cryptocast.reports.templates"
_SCRIPTS = ("pictures.js", "page.js")


def render(facts: ReportFacts) -> str:
    """The page. Its markets stand in the order given; the first MOST_SECTIONS have a section."""
    shown = facts.markets[:MOST_SECTIONS]
    library, script = _library(), "\n".join(_file(name) for name in _SCRIPTS)
    data = [
        island(market_data(facts, found, len(shown)), id=f"data-{i}")
        for i, found in enumerate(shown)
    ]
    return Template(_file("page.html")).substitute(
        policy=policy(library, script),
        title=tag("title", f"cryptocast: {facts.workspace}, {moment(facts.now)}"),
        heading=_heading(facts),
        headline=headline(facts),
        markets=markets_table(facts, len(shown)),
        sections=together(*(section(facts, found, i) for i, found in enumerate(shown))),
        events=events(facts),
        colophon=_colophon(facts),
        style=_file("page.css"),
        data=together(*data),
        library=library,
        script=script,
    )


def policy(*scripts: str) -> str:
    """The content security policy: these very scripts may run, and nothing may be asked for."""
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _file(name: str) -> str:
    return resources.files(_TEMPLATES).joinpath(name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    """The charting library's script, as its package ships it."""
    from plotly.offline import get_plotlyjs

    # A browser reads every line end as \n before it takes the hash.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")


def _heading(facts: ReportFacts) -> Markup:
    return together(
        tag("h1", facts.workspace),
        tag(
            "p",
            f"Forecast against actual from {moment(facts.start)} to {moment(facts.end)} "
            f"({span(facts.end - facts.start)}), made from what was known at "
            f"{moment(facts.now)}. All times are UTC.",
        ),
    )


def _colophon(facts: ReportFacts) -> Markup:
    others = ""
    if facts.others:
        others = f" Also stored, not configured here: {', '.join(facts.others)}."
    return tag(
        "p",
        "Made by cryptocast report; drawn by plotly.js, which is inside this file. CRPS is the "
        "error of the whole forecast distribution in basis points (1 bp is 0.01 %); skill is 1 - "
        "CRPS / CRPS of the random walk on the same forecasts. This page asks nothing of any "
        f"server.{others}",
    )
