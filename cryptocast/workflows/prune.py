"""prune: what is of no more use goes, by rules that are printed; what went is an event."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

from cryptocast.drafts import abandoned, disk_error, remove
from cryptocast.errors import RegistryError
from cryptocast.store import Productions, retention
from cryptocast.store.copies import compact
from cryptocast.store.retention import KEPT_ORIGINS, OldRows
from cryptocast.values import iso
from cryptocast.workflows.backup import CARD, FOLDER, backups
from cryptocast.workflows.serving.events import PRUNED, SERVED, shadowing
from cryptocast.workspace import Workspace

_DAY = 86_400
_LARGE_LOG_BYTES = 10_000_000
_SAFE_SECONDS = 3600  # a draft that is younger may be another machine's, whose processes we miss
_CHECKPOINT_SECONDS = _DAY
_TOLD = 100  # names of a kind in the event


@dataclass(frozen=True, slots=True)
class Thing:
    """What goes. A log that is `rotated` loses its contents to a file beside it, which ages."""

    kind: str  # log, rotated, leftover, run, bundle, backup
    name: str  # of a file: its path in the workspace; of a run: its id
    reason: str
    bytes: int


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What went, or with `dry_run` what would."""

    dry_run: bool
    rules: tuple[str, ...]
    things: tuple[Thing, ...]
    rows: tuple[OldRows, ...]
    database_before: int  # bytes of its file
    database_after: int
    warnings: tuple[str, ...]


def prune(ws: Workspace, *, dry_run: bool = False, compacted: bool = False) -> PruneReport:
    """Remove what the settings `[prune]` say; with `dry_run` only look.

    Always stay: the last 2,016 origins and candles of every market, the candles that a model
    is made from, all deployments, evaluations and settings; every version of MLflow, and the
    bundles of those that served, or were promoted, within `bundles_days`, or bear an alias.
    `compacted` writes the database anew, so that its file shrinks; all wait meanwhile.

    Files are aged by the system's clock, rows by the workspace's. Raises StoreError where
    something cannot be removed: what went before it stays gone, and is told by an event.
    """
    warnings: list[str] = []
    things = [*_logs(ws), *_leftovers(ws), *_backups(ws)]
    try:
        aliased = _aliased(ws)
        things += [*_runs(ws), *_bundles(ws, aliased)]
    except RegistryError as error:
        warnings.append(f"runs and bundles were left alone: {error.message} ({error.hint})")
    except ModuleNotFoundError as error:  # an image that only serves
        warnings.append(f"runs and bundles were left alone: {error.name} is not installed")
    limits, rows = _old_rows(ws)
    before = _size(ws.store.path)
    if not dry_run:
        _remove(ws, things, limits, rows)
        if compacted:
            ws.progress.stage("compact the database")
            compact(ws.store)
    after = _size(ws.store.path)
    return PruneReport(
        dry_run, tuple(_rules(ws)), tuple(things), tuple(rows), before, after, tuple(warnings)
    )


def _rules(ws: Workspace) -> Iterator[str]:
    rule = ws.settings.prune
    yield f"logs that nobody wrote to for {rule.logs_days:g} days"
    yield f"MLflow's trials, and runs deleted by hand, older than {rule.runs_days:g} days"
    yield f"bundles that served for the last time more than {rule.bundles_days:g} days ago"
    yield f"all but the newest {rule.backups} backups"
    if rule.rows_days is None:
        yield "no rows: [prune] rows_days is not set"
    else:
        yield f"rows older than {rule.rows_days:g} days, but the last {KEPT_ORIGINS:,} origins stay"


def _logs(ws: Workspace) -> Iterator[Thing]:
    limit = time.time() - ws.settings.prune.logs_days * _DAY
    for file in sorted((ws.folder / "logs").rglob("*")):
        written, size = _written(file), _size(file)
        if file.is_dir():
            continue
        if written < limit:
            yield Thing("log", _name(ws, file), f"last of {iso(round(written))}", size)
        elif file.suffix == ".log" and size > _LARGE_LOG_BYTES:
            yield Thing("rotated", _name(ws, file), "it is large", 0)


def _leftovers(ws: Workspace) -> Iterator[Thing]:
    """What killed processes left: drafts, and where trainings stood that nobody took up."""
    drafts = [d for place in (ws.folder, ws.folder / FOLDER) for d in abandoned(place)]
    drafts += (ws.folder / "bundles").glob(".*.*")
    ages = [(path, _SAFE_SECONDS) for path in drafts]
    ages += [(path, _CHECKPOINT_SECONDS) for path in (ws.folder / "checkpoints").glob("*")]
    for path, age in sorted(ages):
        if time.time() - _written(path) > age:
            yield Thing("leftover", _name(ws, path), "of a process that was killed", _size(path))


def _backups(ws: Workspace) -> Iterator[Thing]:
    for old in backups(ws, ws.folder / FOLDER)[ws.settings.prune.backups :]:
        made = f"made at {iso(round(old.made_at))}"
        yield Thing("backup", _name(ws, old.folder), made, old.bytes)


def _has_own_mlflow(ws: Workspace) -> bool:
    """Whether runs are kept in this workspace: another store is not ours to prune."""
    elsewhere = ws.secrets.environ.get("MLFLOW_TRACKING_URI") or ws.settings.mlflow.tracking_uri
    return not elsewhere and (ws.folder / "mlflow.db").exists()


def _aliased(ws: Workspace) -> set[str]:
    """The versions that MLflow has an alias for."""
    ws.progress.stage("look at MLflow")
    elsewhere = ws.secrets.environ.get("MLFLOW_TRACKING_URI") or ws.settings.mlflow.tracking_uri
    if not elsewhere and not (ws.folder / "mlflow.db").exists():
        return set()
    return {v.version for v in ws.registry().versions() if v.aliases}


def _runs(ws: Workspace) -> Iterator[Thing]:
    if not _has_own_mlflow(ws):
        return
    for run in ws.registry().old_runs(time.time() - ws.settings.prune.runs_days * _DAY):
        yield Thing("run", run.run_id, f"{run.reason}: {run.name}", run.bytes)


def _bundles(ws: Workspace, aliased: set[str]) -> Iterator[Thing]:
    """Bundles that nothing of the kept time names, and that were not written in it."""
    limit = time.time() - ws.settings.prune.bundles_days * _DAY
    with ws.store.read() as reader:
        rulings = reader.rulings()
        kept = aliased | retention.versions_since(reader, limit) | {shadowing(reader) or ""}
    kept |= Productions.of(row for written_at, row in rulings if written_at <= limit).versions()
    for written_at, row in rulings:
        if written_at > limit:
            kept |= {row.model_version, row.previous_version or ""}
    for folder in sorted((ws.folder / "bundles").glob("[!.]*")):
        if folder.name not in kept and _written(folder) < limit:
            yield Thing("bundle", _name(ws, folder), "it has not served since", _size(folder))


def _old_rows(ws: Workspace) -> tuple[dict[str, int], list[OldRows]]:
    days = ws.settings.prune.rows_days
    if days is None:
        return {}, []
    bars = ceil(ws.settings.data.days * _DAY / ws.markets()[0].interval_seconds)
    with ws.store.read() as reader:
        limits = retention.limits(reader, ws.clock.now() - days * _DAY, bars)
        return limits, retention.old_rows(reader, limits)


def _remove(
    ws: Workspace, things: list[Thing], limits: dict[str, int], rows: list[OldRows]
) -> None:
    """Remove files, then rows with the event that tells of all; of files also after a failure."""
    gone: list[Thing] = []
    whole = False
    try:
        ws.progress.stage("remove")
        for thing in things:
            ws.progress.advance(len(gone), len(things), thing.name)
            if thing.kind == "run":
                ws.registry().remove_run(thing.name)
            else:
                _take(ws.folder / thing.name, thing.kind)
            gone.append(thing)
        whole = True
    finally:
        told = _detail(gone, rows if whole else [])
        if told:
            with ws.store.write() as writer:
                if whole:
                    if served := retention.last_served(writer, limits):
                        told[SERVED] = {market: iso(origin) for market, origin in served.items()}
                    retention.delete(writer, limits)
                writer.put_event(ws.clock.now(), PRUNED, None, told)


def _take(path: Path, kind: str) -> None:
    """Remove a file or folder; a log that is in use gives its contents to another."""
    try:
        if kind == "rotated":
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            shutil.copyfile(path, path.with_name(f"{path.stem}.{stamp}.old"))
            path.write_bytes(b"")  # who appends to it goes on at its start
        elif path.is_dir():
            if kind == "backup":
                (path / CARD).unlink()  # half of one is none
            remove(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error


def _detail(gone: list[Thing], rows: list[OldRows]) -> dict[str, object]:
    kinds = dict.fromkeys(thing.kind for thing in gone)
    told: dict[str, object] = {
        kind: {
            "count": sum(thing.kind == kind for thing in gone),
            "bytes": sum(thing.bytes for thing in gone if thing.kind == kind),
            "names": [thing.name for thing in gone if thing.kind == kind][:_TOLD],
        }
        for kind in kinds
    }
    if rows:
        told["rows"] = {
            old.table: {"count": old.rows, "first": iso(old.first), "last": iso(old.last)}
            for old in rows
        }
    return told


def _name(ws: Workspace, path: Path) -> str:
    return str(path.relative_to(ws.folder))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is none."""
    with suppress(FileNotFoundError):
        return sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
    return 0


def _written(path: Path) -> float:
    """When a file, or something in a folder, was last written; now where it has just gone."""
    try:
        return max(p.stat().st_mtime for p in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()
