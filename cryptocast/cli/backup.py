"""cryptocast backup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, line
from cryptocast.display import counted, size

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.backup import BackupReport

NAME = "backup"
EXAMPLE = "cryptocast backup --keep 7"


def command(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder to make. Default: backups/<stamp> in the workspace.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep only the N newest backups beside it.")
    ] = None,
) -> Answer:
    """Copy the workspace, while it is in use, into a folder that is a workspace too.

    To restore it, copy that folder. Every row is read back and checked. Secrets (.env) and logs
    are left out. Forecasts wait while the database is copied: a fraction of a second.
    """
    from cryptocast.workflows.backup import backup

    with run.open() as ws:
        report = backup(ws, out=out, keep=keep)
    return _answer(report)


def _answer(report: BackupReport) -> Answer:
    from cryptocast.values import iso

    folder, size_bytes = report.backup.folder, report.backup.bytes
    data = {
        "folder": folder,
        "made_at": iso(round(report.backup.made_at)),
        "files": report.files,
        "bytes": size_bytes,
        "rows": report.rows,
        "held_seconds": round(report.held_seconds, 3),
        "removed": report.removed,
    }

    def show(console: Console) -> None:
        line(
            console,
            f"{folder}: {counted(report.files, 'file')}, {size(size_bytes)}, every row checked; "
            f"forecasts waited at most {report.held_seconds:.2f} s",
        )
        for removed in report.removed:
            line(console, f"removed {removed}")
        line(console, f"restore it with: cp -r {folder} NEW_WORKSPACE")

    return Answer(data, show, report.warnings)
