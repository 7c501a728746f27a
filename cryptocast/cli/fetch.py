"""cryptocast fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

NAME = "fetch"
EXAMPLE = "cryptocast fetch --days 30"


def command(
    run: Run,
    days: Annotated[float | None, typer.Option(help="The last N days of candles.")] = None,
    start: Annotated[str | None, typer.Option(help="First open time (ISO 8601).")] = None,
    end: Annotated[str | None, typer.Option(help="End of the open times, exclusive.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Ask for bars that are confirmed missing, too.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="file: import candles from --path into --market.")
    ] = None,
    path: Annotated[
        Path | None, typer.Option(help="With --source file: a file, folder or glob of candles.")
    ] = None,
    market: Annotated[
        str | None,
        typer.Option(help="With --source file: a symbol or market id, bitvavo:BTC/EUR:5m."),
    ] = None,
) -> Answer:
    """Bring the candles that are missing: up to now, of a range, or from files.

    What is stored already is not asked for again. Interrupted, it goes on where it was.
    """
    from cryptocast.cli._shared import candles_data, candles_table, fetch_warnings
    from cryptocast.errors import UsageError
    from cryptocast.values import iso, parse_time
    from cryptocast.workflows.fetch import fetch, import_files

    if source not in (None, "file"):
        raise UsageError(
            f"--source {source} cannot be imported from",
            hint="--source file --path FILE --market ID imports; other sources are settings",
        )
    if (source is None) != (path is None) or (source is None) != (market is None):
        raise UsageError(
            "--source file, --path and --market go together",
            hint="cryptocast fetch --source file --path candles.parquet "
            "--market bitvavo:BTC/EUR:5m",
        )
    if source is not None and repair:
        raise UsageError("--repair does not go with --source file", hint="leave one of them out")
    first = None if start is None else parse_time(start)
    last = None if end is None else parse_time(end)
    with run.open() as ws:
        run.progress.stage("fetch candles")
        if path is not None and market is not None:
            report = import_files(ws, path, market, days=days, start=first, end=last)
        else:
            report = fetch(ws, days=days, start=first, end=last, repair=repair)
    data = {
        "start": iso(report.start),
        "end": iso(report.end),
        "markets": candles_data(report),
    }
    return Answer(
        data, lambda console: console.print(candles_table(report)), fetch_warnings(report)
    )
