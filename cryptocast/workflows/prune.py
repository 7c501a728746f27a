"""prune: remove what is no longer needed, by rules that are printed; an event lists it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptocast.drafts import disk_error, remove
from cryptocast.errors import RegistryError
from cryptocast.store import retention
from cryptocast.store.copies import compact
from cryptocast.store.retention import OldRows
from cryptocast.values import iso
from cryptocast.workflows.keeping import spent
from cryptocast.workflows.keeping.copies import remove_backup
from cryptocast.workflows.keeping.spent import Spent, size_of
from cryptocast.workflows.serving.events import PRUNED, SERVED
from cryptocast.workspace import Workspace

_NAMES_PER_KIND = 100  # in the event


@dataclass(frozen=True, slots=True)
class PruneReport:
    """The things that were removed, or with `dry_run` would be."""

    dry_run: bool
    rules: tuple[str, ...]
    spent: tuple[Spent, ...]
    rows: tuple[OldRows, ...]
    database_before: int  # bytes of its file
    database_after: int
    warnings: tuple[str, ...]


def prune(ws: Workspace, *, dry_run: bool = False, compacted: bool = False) -> PruneReport:
    """Remove what the settings `[prune]` say; with `dry_run` only look.

    Always stay: the last 2,016 origins and candles of every market, the candles that a model
    is made from, all deployments, evaluations and settings; every version of MLflow, and the
    bundles of those that served, or were promoted, within `bundles_days`, or have an alias.
    `compacted` writes the database anew, so that its file shrinks; everybody waits meanwhile.
    Files are aged by the system's clock, rows by the workspace's. Raises StoreError if
    something cannot be removed: what went before it stays gone, and is in the event.
    """
    settings = ws.settings.prune
    old = [
        *spent.old_logs(ws.folder, settings.logs_days),
        *spent.leftovers(ws.folder),
        *spent.old_backups(ws.folder, settings.backups),
    ]
    warnings = []
    try:
        old += _runs_and_bundles(ws)
    except RegistryError as error:
        warnings.append(f"runs and bundles were left alone: {error.message} ({error.hint})")
    except ModuleNotFoundError as error:  # an image that only serves
        warnings.append(f"runs and bundles were left alone: {error.name} is not installed")
    with ws.store.read() as reader:
        limits, rows = spent.old_rows(reader, ws.settings, ws.clock.now())
    before = size_of(ws.store.path)
    if not dry_run:
        _remove(ws, old, limits, rows)
        if compacted:
            ws.progress.stage("compact the database")
            compact(ws.store)
    return PruneReport(
        dry_run=dry_run,
        rules=tuple(spent.rules(settings)),
        spent=tuple(old),
        rows=tuple(rows),
        database_before=before,
        database_after=size_of(ws.store.path),
        warnings=tuple(warnings),
    )


def _runs_and_bundles(ws: Workspace) -> list[Spent]:
    """Return old runs, unless another MLflow store keeps them, and old bundles."""
    ws.progress.stage("look at MLflow")
    settings = ws.settings.prune
    elsewhere = ws.secrets.environ.get("MLFLOW_TRACKING_URI") or ws.settings.mlflow.tracking_uri
    ours = not elsewhere and (ws.folder / "mlflow.db").exists()
    aliased: set[str] = set()
    if elsewhere or ours:
        aliased = {v.version for v in ws.registry().versions() if v.aliases}
    old = [*spent.old_runs(ws.registry(), settings.runs_days)] if ours else []
    with ws.store.read() as reader:
        return [*old, *spent.old_bundles(ws.folder, reader, settings.bundles_days, aliased)]


def _remove(
    ws: Workspace, old: Sequence[Spent], limits: Mapping[str, int], rows: Sequence[OldRows]
) -> None:
    """Remove files, then rows together with the event; after a failure the event lists files."""
    removed: list[Spent] = []
    complete = False
    try:
        ws.progress.stage("remove")
        for item in old:
            ws.progress.advance(len(removed), len(old), item.name)
            if item.kind == "run":
                ws.registry().runs.remove(item.name)
            else:
                _remove_files(ws.folder / item.name, item.kind)
            removed.append(item)
        complete = True
    finally:
        detail = _detail(removed, rows if complete else ())
        if detail:
            with ws.store.write() as writer:
                if complete:
                    if served := retention.last_served(writer, limits):
                        detail[SERVED] = {market: iso(origin) for market, origin in served.items()}
                    retention.delete(writer, limits)
                writer.put_event(ws.clock.now(), PRUNED, None, detail)


def _remove_files(path: Path, kind: str) -> None:
    """Remove a file or folder; a log in use gives its contents to another file instead."""
    try:
        if kind == "rotated":
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            shutil.copyfile(path, path.with_name(f"{path.stem}.{stamp}.old"))
            path.write_bytes(b"")  # a process that appends to it goes on at its start
        elif kind == "backup":
            remove_backup(path)
        elif path.is_dir():
            remove(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error


def _detail(removed: Sequence[Spent], rows: Sequence[OldRows]) -> dict[str, Any]:
    """Return the event's detail: what was removed, by kind."""
    kinds: dict[str, list[Spent]] = {}
    for item in removed:
        kinds.setdefault(item.kind, []).append(item)
    detail: dict[str, Any] = {
        kind: {
            "count": len(items),
            "bytes": sum(item.bytes for item in items),
            "names": [item.name for item in items][:_NAMES_PER_KIND],
        }
        for kind, items in kinds.items()
    }
    if rows:
        detail["rows"] = {
            old.table: {"count": old.rows, "first": iso(old.first), "last": iso(old.last)}
            for old in rows
        }
    return detail
