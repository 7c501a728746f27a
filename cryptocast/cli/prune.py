"""cryptocast prune."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, line, table
from cryptocast.display import size

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.prune import PruneReport

NAME = "prune"
EXAMPLE = "cryptocast prune --dry-run"


def command(
    run: Run,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be removed.")
    ] = False,
    days: Annotated[
        float | None,
        typer.Option(help="Remove rows older than N days. Default: [prune] rows_days (none)."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(help="Keep only the N newest backups. Default: [prune] backups (7)."),
    ] = None,
    compact: Annotated[
        bool,
        typer.Option("--compact", help="Shrink the database's file; ticks wait for seconds."),
    ] = False,
) -> Answer:
    """Remove old logs, MLflow trials, bundles, backups, leftovers, and rows if asked to.

    The settings [prune] are the rules. The last 2,016 origins of each market, deployments and
    versions are always kept. An event "pruned" records what was removed.
    """
    from cryptocast.workflows.prune import prune

    with run.open({"prune.rows_days": days, "prune.backups": keep}) as ws:
        report = prune(ws, dry_run=dry_run, compacted=compact)
    return Answer(_document(report), lambda console: _show(console, report), report.warnings)


def _document(report: PruneReport) -> dict[str, Any]:
    from cryptocast.documents import document

    return {
        "dry_run": report.dry_run,
        "rules": report.rules,
        "things": [document(item) for item in report.spent],
        "rows": [document(rows, times=("first", "last")) for rows in report.rows],
        "bytes": sum(item.bytes for item in report.spent),
        "database": {
            "before_bytes": report.database_before,
            "after_bytes": report.database_after,
        },
    }


def _show(console: Console, report: PruneReport) -> None:
    verb = "would be removed" if report.dry_run else "was removed"
    rows = list(_rows(report))
    if rows:
        console.print(table(f"What {verb}", ("kind", "name", "reason", "size"), rows))
    else:
        console.print(f"Nothing {verb}.")
    for rule in report.rules:
        line(console, f"rule: {rule}")
    before, after = size(report.database_before), size(report.database_after)
    console.print(f"database: {before}" + (f", now {after}" if before != after else ""))


def _rows(report: PruneReport) -> Iterator[list[str]]:
    from cryptocast.values import iso

    for item in report.spent:
        yield [item.kind, item.name, item.reason, size(item.bytes)]
    for old in report.rows:
        span = f"{iso(old.first)[:10]} to {iso(old.last)[:10]}"
        yield ["rows", old.table, span, f"{old.rows:,} rows"]
