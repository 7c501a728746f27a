"""cryptocast query."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, line, table
from cryptocast.display import counted, size

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.store.exporter import Asked

NAME = "query"
EXAMPLE = 'cryptocast query "SELECT count(*) FROM candles"'

_SHOWN_ROWS = 1000
_WIDEST = 100_000


def command(
    run: Run,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; SHOW TABLES lists them.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write instead: .parquet, .csv, .csv.gz or .json."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Rows at most.", show_default="1000; a million with --out"),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that it may take.")] = 60,
) -> Answer:
    """Ask the database in SQL. It runs on a copy, so that it blocks no tick and changes nothing.

    Tables and views are described by: cryptocast guide scripts.
    """
    from cryptocast.documents import document
    from cryptocast.workflows.export import AskedFile, query
    from cryptocast.workspace import MOST_ROWS

    most = limit or (_SHOWN_ROWS if out is None else MOST_ROWS)
    with run.open() as ws:
        asked = query(ws, sql, out=out, most=most, seconds=timeout)
    if isinstance(asked, AskedFile):
        told = f"{counted(asked.rows, 'row')} in {out} ({size(asked.bytes)})"
        cut = _cut(most) if asked.rows == most else []
        return Answer(document(asked), lambda console: line(console, told), cut)
    rows = [[_value(cell) for cell in row] for row in asked.rows]
    documents = [dict(zip(asked.columns, row, strict=True)) for row in rows]
    data = {"columns": asked.columns, "rows": documents, "more": asked.more}
    return Answer(data, lambda console: _show(console, asked, rows), _cut(most) * asked.more)


def _cut(most: int) -> list[str]:
    return [f"these are the first {most:,} rows; --limit N gives more"]


def _show(console: Console, asked: Asked, rows: list[list[Any]]) -> None:
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    # No value is cut off, so that it can be copied; a narrow terminal wraps the lines.
    console.width = _WIDEST
    console.print(table("", asked.columns, cells))


def _value(cell: Any) -> Any:
    """Return a value as JSON knows it: times as ISO 8601 with `Z`, and nothing lost of the rest."""
    from datetime import datetime
    from decimal import Decimal

    from cryptocast.values import iso

    if isinstance(cell, datetime) and cell.tzinfo is not None:
        return iso(cell.timestamp())
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, dict):
        return {str(key): _value(item) for key, item in cell.items()}
    if isinstance(cell, list | tuple):
        return [_value(item) for item in cell]
    return cell if isinstance(cell, bool | int | float | str | None) else str(cell)
