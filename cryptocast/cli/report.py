"""cryptocast report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, percent, print_document, size, table

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.report import ReportReport

NAME = "report"
EXAMPLE = "cryptocast report --out report.html"


def command(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write or replace.", show_default="reports/report.html"),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.01, help="The last N days.", show_default="30")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show it on 127.0.0.1 until stopped (Ctrl-C: exit 0).")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="With --serve; 0 takes a free one.")
    ] = 8080,
) -> Answer | None:
    """Write one HTML page: forecasts against what came, skill, coverage, calibration, incidents.

    It needs no server and asks nothing of any. With --serve it is made anew where a candle has
    closed since, and read from disk at each look.
    """
    from cryptocast.workflows.report import report

    with run.open() as ws:
        run.progress.stage("report")
        if not serve:
            return _answer(report(ws, out=out, days=days))
        from cryptocast.cli._page_server import PageServer

        def make() -> ReportReport:
            return report(ws, out=out, days=days)

        first = make()
        run.close()
        with PageServer(first.file, port, make, ws) as server:
            _tell(run, first, server.address)
            server.serve_until_stopped()
    return None


def _tell(run: Run, made: ReportReport, address: str) -> None:
    if run.as_json:
        print_document(NAME, _data(made) | {"address": address})
    elif not run.quiet:
        print(f"{made.file} at {address} (Ctrl-C ends it)", flush=True)


def _data(made: ReportReport) -> dict[str, Any]:
    from cryptocast.values import iso

    facts = made.facts
    return {
        "file": str(made.file),
        "bytes": made.bytes,
        "start": iso(facts.start),
        "end": iso(facts.end),
        "verdict": None if facts.verdict is None else facts.verdict.verdict,
        "markets": [
            {
                "market": found.market.id,
                "candles": len(found.candles),
                "mode": None if found.outcomes is None else found.outcomes.mode,
                "forecasts": 0 if found.outcomes is None else len(found.outcomes.origins),
                "n": 0 if found.outcomes is None else found.outcomes.total.n,
                "skill_vs_random_walk": None
                if found.outcomes is None
                else found.outcomes.total.skill,
                "coverage80": None if found.outcomes is None else found.outcomes.total.coverage80,
                "coverage90": None if found.outcomes is None else found.outcomes.total.coverage90,
                "incidents": len(found.incidents),
            }
            for found in facts.markets
        ],
    }


def _answer(made: ReportReport) -> Answer:
    data = _data(made)

    def show(console: Console) -> None:
        rows = [
            [
                m["market"],
                f"{m['forecasts']:,}",
                m["mode"] or "-",
                percent(m["skill_vs_random_walk"], 2),
                percent(m["coverage80"]).lstrip("+"),
                f"{m['incidents']:,}",
            ]
            for m in data["markets"]
        ]
        columns = ("market", "forecasts", "mode", "skill", "in 80 %", "incidents")
        console.print(table(f"From {data['start']} to {data['end']}", columns, rows))
        console.print(f"{made.file} ({size(made.bytes)})", soft_wrap=True, markup=False)

    return Answer(data, show)
