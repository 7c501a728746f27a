"""cryptocast backup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, size

if TYPE_CHECKING:
    from rich.console import Console

NAME = "backup"
EXAMPLE = "cryptocast backup --keep 7"


def command(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder to make. By default backups/<stamp> in the workspace.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove all but the newest so many beside it.")
    ] = None,
) -> Answer:
    """Copy the workspace, while it is in use, into a folder that is a workspace too.

    Restored by copying that folder. Every row is read again; secrets (.env) and logs are left
    out. Forecasts wait for the copy of the database: a fraction of a second.
    """
    from cryptocast.values import iso
    from cryptocast.workflows.backup import backup

    with run.open() as ws:
        report = backup(ws, out=out, keep=keep)
    made = report.backup
    data = {
        "folder": str(made.folder),
        "made_at": iso(round(made.made_at)),
        "files": report.files,
        "bytes": made.bytes,
        "rows": report.rows,
        "held_seconds": round(report.held_seconds, 3),
        "removed": [str(folder) for folder in report.removed],
    }

    def show(console: Console) -> None:
        lines = [
            f"{made.folder}: {report.files:,} files, {size(made.bytes)}, every row read again; "
            f"forecasts waited {report.held_seconds:.2f} s at most",
            *(f"removed {folder}" for folder in report.removed),
            f"restore it with: cp -r {made.folder} NEW_WORKSPACE",
        ]
        console.print("\n".join(lines), soft_wrap=True, markup=False)

    return Answer(data, show, report.warnings)
