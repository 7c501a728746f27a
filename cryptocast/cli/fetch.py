"""cryptocast fetch; and how fetched candles are shown by every command that fetches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import CandleFiles, Run, completing, read_time
from cryptocast.cli.root.output import Answer, table

if TYPE_CHECKING:
    from rich.table import Table

    from cryptocast.workflows.serving.fetching import FetchReport

NAME = "fetch"
EXAMPLE = "cryptocast fetch --days 30"


def command(
    run: Run,
    days: Annotated[
        float | None,
        typer.Option(
            help="The last N days of candles. Default: [data] days (7), or from the newest stored "
            "candle on if that is older."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="The first open time (ISO 8601).")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The end of the open times, exclusive. Default: now."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Also ask for bars that are confirmed missing.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="file",
            autocompletion=completing(lambda: ("file",)),
            help="Import candles from --path into --market.",
        ),
    ] = None,
    path: CandleFiles = None,
    market: Annotated[
        str | None,
        typer.Option(help="With --source file: a symbol or a market id (bitvavo:BTC/EUR:5m)."),
    ] = None,
) -> Answer:
    """Fetch the missing candles: up to now, of a range, or from files.

    Candles that are already stored are not asked for again. If it is interrupted, the same
    command continues.
    """
    from cryptocast.workflows.fetch import fetch, import_files

    _check_import(source, path, market, repair)
    first, last = read_time(start), read_time(end)
    with run.open() as ws:
        run.progress.stage("fetch candles")
        if path is not None and market is not None:
            report = import_files(ws, path, market, days=days, start=first, end=last)
        else:
            report = fetch(ws, days=days, start=first, end=last, repair=repair)
    return _answer(report)


def _check_import(source: str | None, path: Path | None, market: str | None, repair: bool) -> None:
    """Raise UsageError if the options of an import do not fit together."""
    from cryptocast.errors import UsageError

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
        raise UsageError(
            "--repair cannot be combined with --source file", hint="leave one of them out"
        )


def _answer(report: FetchReport) -> Answer:
    from cryptocast.values import iso
    from cryptocast.workflows.fetch import warnings_of

    data = {
        "start": iso(report.start),
        "end": iso(report.end),
        "markets": candles_document(report),
    }
    return Answer(data, lambda console: console.print(candles_table(report)), warnings_of(report))


def candles_document(report: FetchReport) -> list[dict[str, Any]]:
    """Return per market what is stored in the range, what is new, and what is missing."""
    from cryptocast.answers.candles import gaps_document
    from cryptocast.documents import document

    hidden = ("example", "remarks", "unreachable_bars")
    return [
        document(m, times=("first", "last"), without=hidden) | {"gaps": gaps_document(m.gaps)}
        for m in report.markets
    ]


def candles_table(report: FetchReport) -> Table:
    """Return the table of fetched candles, a row per market."""
    from cryptocast.values import iso

    columns = ("market", "candles", "new", "missing", "last")
    rows = (
        [
            m.market,
            *(f"{count:,}" for count in (m.rows, m.new, m.missing)),
            "-" if m.last is None else iso(m.last),
        ]
        for m in report.markets
    )
    return table("Candles", columns, rows)
