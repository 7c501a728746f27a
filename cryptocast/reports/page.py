"""The report: one HTML file that needs nothing else, and sends nothing to anybody."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from cryptocast import display
from cryptocast.reports import _words
from cryptocast.reports._data import market_data
from cryptocast.reports.facts import MOST_SECTIONS, ReportFacts, pairs, pictured_steps

_SCRIPTS = ("pictures.js", "page.js")
_STALE_BARS = 2  # a forecast older than that deserves a word
_LONGEST = 200  # characters of an event's detail


def render(facts: ReportFacts) -> str:
    """Return the page; the first MOST_SECTIONS markets, in the order given, have pictures."""
    shown = facts.markets[:MOST_SECTIONS]
    library, script = _library(), "\n".join(_file(name) for name in _SCRIPTS)
    page = _templates().get_template("page.html")
    return page.render(
        facts=facts,
        shown=shown,
        data=[market_data(facts, market, len(shown)) for market in shown],
        steps=pictured_steps(facts.horizon),
        age=lambda at: display.span(max(facts.now - at, 0)),
        ahead=lambda step: display.span(step * facts.interval_seconds),
        policy=policy(library, script),
        style=_file("page.css"),
        library=library,
        script=script,
    )


def policy(*scripts: str) -> str:
    """Return the content security policy: only these scripts may run, and nothing may be loaded."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@cache
def _templates() -> Environment:
    """Return the templates, in which every text is escaped and an unknown name is an error."""
    environment = Environment(
        loader=PackageLoader("cryptocast.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A NaN in the data would be no JSON: better no page than one without pictures.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "counted": display.counted,
        "json": lambda detail: json.dumps(dict(detail)),
        "last_price": display.last_price,
        "moment": display.moment,
        "number": display.number,
        "percent": display.typeset_percent,
        "price": display.price,
        "skill": display.skill,
        "span": display.span,
    }
    environment.globals |= {
        "LONGEST": _LONGEST,
        "NOTHING": display.NOTHING,
        "STALE_BARS": _STALE_BARS,
        "between": display.between,
        "half_width": display.half_width,
        "pairs": pairs,
        "words": _words,
    }
    return environment


@cache
def _file(name: str) -> str:
    return resources.files("cryptocast.reports.templates").joinpath(name).read_text("utf-8")


@cache
def _library() -> str:
    """Return the charting library's script, as its package ships it."""
    from plotly.offline import get_plotlyjs

    # A browser reads every line end as \n before it takes the hash.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")
