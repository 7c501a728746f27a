"""cryptocast report."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, line, print_document, table
from cryptocast.display import NOTHING, percent, size

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.reports.facts import MarketFacts
    from cryptocast.workflows.report import ReportReport

NAME = "report"
EXAMPLE = "cryptocast report --out report.html"


def command(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write or replace. Default: reports/report.html."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.01, help="The last N days. Default: 30.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show it on 127.0.0.1 until stopped (Ctrl-C: exit 0).")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="With --serve; 0 takes a free one.")
    ] = 8080,
) -> Answer | None:
    """Write one HTML page: forecasts and outcomes, skill, coverage, calibration, incidents.

    It needs no server and loads nothing from anywhere. With --serve it is read from disk per
    request, and made anew if a candle has closed since.
    """
    from cryptocast.workflows.report import report

    with run.open() as ws:
        run.progress.stage("report")
        make = partial(report, ws, out=out, days=days)
        first = make()
        if not serve:
            return _answer(first)
        from cryptocast.cli.screens.page import PageServer

        run.close()
        with PageServer(first.file, port, make, ws) as server:
            if run.as_json:
                print_document(NAME, _document(first) | {"address": server.address})
            elif not run.quiet:
                print(f"{first.file} at {server.address} (Ctrl-C ends it)", flush=True)
            server.serve_until_stopped()
    return None


def _document(page: ReportReport) -> dict[str, Any]:
    from cryptocast.values import iso

    facts = page.facts
    return {
        "file": page.file,
        "bytes": page.bytes,
        "start": iso(facts.start),
        "end": iso(facts.end),
        "verdict": None if facts.verdict is None else facts.verdict.verdict,
        "markets": [_market_document(market) for market in facts.markets],
    }


def _market_document(facts: MarketFacts) -> dict[str, Any]:
    outcomes = facts.outcomes
    total = None if outcomes is None else outcomes.total
    return {
        "market": facts.market.id,
        "candles": facts.stored,
        "mode": None if outcomes is None else outcomes.mode,
        "forecasts": 0 if outcomes is None else outcomes.sets,
        "n": 0 if total is None else total.n,
        "skill_vs_random_walk": None if total is None else total.skill,
        "coverage80": None if total is None else total.coverage80,
        "coverage90": None if total is None else total.coverage90,
        "missing": facts.missing_bars,
        "incidents": facts.troubles(),
    }


def _answer(page: ReportReport) -> Answer:
    data = _document(page)

    def show(console: Console) -> None:
        rows = [
            [
                market["market"],
                f"{market['forecasts']:,}",
                market["mode"] or NOTHING,
                percent(market["skill_vs_random_walk"], 2),
                percent(market["coverage80"], sign=False),
                f"{market['missing']:,}",
                f"{market['incidents']:,}",
            ]
            for market in data["markets"]
        ]
        columns = ("market", "counted", "mode", "skill", "in 80%", "missing", "incidents")
        console.print(table(f"From {data['start']} to {data['end']}", columns, rows))
        line(console, f"{page.file} ({size(page.bytes)})")

    return Answer(data, show)
