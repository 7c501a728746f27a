"""cryptocast fetch."""

from __future__ import annotations

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
) -> Answer:
    """Bring the candles that are missing: up to now, or of a range.

    What is stored already is not asked for again. Interrupted, it goes on where it was.
    """
    from cryptocast.cli._shared import candles_data, candles_table, fetch_warnings
    from cryptocast.values import iso, parse_time
    from cryptocast.workflows.fetch import fetch

    with run.open() as ws:
        run.progress.stage("fetch candles")
        report = fetch(
            ws,
            days=days,
            start=None if start is None else parse_time(start),
            end=None if end is None else parse_time(end),
        )
    data = {
        "start": iso(report.start),
        "end": iso(report.end),
        "markets": candles_data(report),
    }
    return Answer(
        data, lambda console: console.print(candles_table(report)), fetch_warnings(report)
    )
