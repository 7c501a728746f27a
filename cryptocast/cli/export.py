"""cryptocast export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, size

NAME = "export"
EXAMPLE = "cryptocast export candles --out candles.parquet"


def command(
    run: Run,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="candles, forecasts, scores, evaluations or scorecard."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The file to write or replace: .parquet, .csv, .csv.gz or .json.")
    ],
    start: Annotated[
        str | None, typer.Option(help="First open time, origin, or time of evaluating.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="End of the range, exclusive.")] = None,
    symbol: Annotated[
        list[str] | None, typer.Option(help="Only this market or its id, repeatable.")
    ] = None,
) -> Answer:
    """Write stored candles, forecasts or scores into a Parquet, CSV or JSON file.

    Scores are a row a forecast and step; evaluations are what `evaluate` found, a row a model,
    market and step; the scorecard is that of `monitor`.
    The source "file" reads Parquet and CSV files of one market's candles: where several are
    stored, choose one with --symbol.
    """
    from cryptocast.values import iso, parse_time
    from cryptocast.workflows.export import export

    with run.open() as ws:
        run.progress.stage(f"export {what}")
        report = export(
            ws,
            what,
            out,
            symbols=tuple(symbol or ()),
            start=None if start is None else parse_time(start),
            end=None if end is None else parse_time(end),
        )
    data = {
        "what": report.what,
        "file": str(report.file),
        "format": report.format,
        "rows": report.rows,
        "bytes": report.bytes,
        "markets": list(report.markets),
        "start": None if report.start is None else iso(report.start),
        "end": None if report.end is None else iso(report.end),
        "first": iso(report.first),
        "last": iso(report.last),
    }
    rows = what if what.endswith("s") else f"{what} rows"
    line = (
        f"{_counted(report.rows, rows)} of {_counted(len(report.markets), 'markets')} "
        f"in {out} ({size(report.bytes)})"
    )
    return Answer(data, lambda console: console.print(line, soft_wrap=True, markup=False))


def _counted(number: int, plural: str) -> str:
    return f"{number:,} {plural.removesuffix('s') if number == 1 else plural}"
