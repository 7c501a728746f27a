"""cryptocast export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.root.options import Run, Symbols, completing, read_time
from cryptocast.cli.root.output import Answer, line
from cryptocast.display import counted, size

if TYPE_CHECKING:
    from cryptocast.workflows.export import ExportReport

KINDS = ("candles", "forecasts", "scores", "evaluations", "scorecard")
"""What can be exported: the store's kinds and the scorecard, which loads without the store."""

_What = Annotated[
    str,
    typer.Argument(autocompletion=completing(lambda: KINDS), help="What to write: {choices}."),
]

NAME = "export"
EXAMPLE = "cryptocast export candles --out candles.parquet"


def command(
    run: Run,
    what: _What,
    out: Annotated[
        Path, typer.Option(help="The file to write or replace: .parquet, .csv, .csv.gz or .json.")
    ],
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="The first open time, origin or evaluation.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="TIME", help="The end of the range, exclusive.")
    ] = None,
    symbols: Symbols = None,
) -> Answer:
    """Write stored candles, forecasts or scores into a Parquet, CSV or JSON file.

    Scores are one row per forecast and step; evaluations are the results of `evaluate`, one row
    per model, market and step; the scorecard is that of `monitor`. The source "file" reads
    Parquet and CSV files that hold one market's candles: choose it with --symbol if several are
    stored.
    """
    from cryptocast.documents import document
    from cryptocast.workflows.export import export

    with run.open() as ws:
        run.progress.stage(f"export {what}")
        report = export(
            ws,
            what,
            out,
            symbols=tuple(symbols or ()),
            start=read_time(start),
            end=read_time(end),
        )
    data = document(report, times=("start", "end", "first", "last"))
    return Answer(data, lambda console: line(console, _sentence(report, out)))


def _sentence(report: ExportReport, out: Path) -> str:
    thing = report.what.removesuffix("s") if report.what.endswith("s") else f"{report.what} row"
    rows, markets = counted(report.rows, thing), counted(len(report.markets), "market")
    return f"{rows} of {markets} in {out} ({size(report.bytes)})"
