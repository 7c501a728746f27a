"""cryptocast prune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, size, table

if TYPE_CHECKING:
    from rich.console import Console

NAME = "prune"
EXAMPLE = "cryptocast prune --dry-run"


def command(
    run: Run,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    days: Annotated[
        float | None, typer.Option(help="Remove rows older than this. By default none are.")
    ] = None,
    keep: Annotated[int | None, typer.Option(help="How many of the newest backups stay.")] = None,
    compact: Annotated[
        bool,
        typer.Option("--compact", help="Shrink the database's file; ticks wait for seconds."),
    ] = False,
) -> Answer:
    """Remove old logs, MLflow trials, bundles, backups, leftovers, and rows where asked.

    The rules are the settings [prune]. The last 2,016 origins of each market, deployments and
    versions always stay. What went is told by the event "pruned".
    """
    from cryptocast.values import iso
    from cryptocast.workflows.prune import prune

    with run.open({"prune.rows_days": days, "prune.backups": keep}) as ws:
        report = prune(ws, dry_run=dry_run, compacted=compact)
    data = {
        "dry_run": report.dry_run,
        "rules": list(report.rules),
        "things": [
            {"kind": t.kind, "name": t.name, "reason": t.reason, "bytes": t.bytes}
            for t in report.things
        ],
        "rows": [
            {"table": r.table, "rows": r.rows, "first": iso(r.first), "last": iso(r.last)}
            for r in report.rows
        ],
        "bytes": sum(t.bytes for t in report.things),
        "database": {
            "before_bytes": report.database_before,
            "after_bytes": report.database_after,
        },
    }

    def show(console: Console) -> None:
        verb = "would go" if report.dry_run else "went"
        lines = [[t.kind, t.name, t.reason, size(t.bytes)] for t in report.things]
        lines += [
            ["rows", r.table, f"{iso(r.first)[:10]} to {iso(r.last)[:10]}", f"{r.rows:,} rows"]
            for r in report.rows
        ]
        if lines:
            console.print(table(f"What {verb}", ("kind", "name", "reason", "size"), lines))
        else:
            console.print(f"Nothing {verb}.")
        for rule in report.rules:
            console.print(f"rule: {rule}", soft_wrap=True, markup=False)
        before, after = size(report.database_before), size(report.database_after)
        console.print(f"database: {before}" + (f", now {after}" if before != after else ""))

    return Answer(data, show, report.warnings)
