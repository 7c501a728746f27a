"""Things that a workspace no longer needs: old logs, drafts, backups, runs, bundles and rows.

Each function returns what is spent by one rule. Files are aged by the system's clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from cryptocast.config import PruneSettings, Settings
from cryptocast.drafts import abandoned
from cryptocast.store import Productions, Reader, retention
from cryptocast.store.retention import KEPT_ORIGINS, OldRows
from cryptocast.values import DAY_SECONDS, iso
from cryptocast.workflows.keeping.copies import FOLDER, backups
from cryptocast.workflows.serving.events import shadowing

if TYPE_CHECKING:
    from cryptocast.registry import Registry  # loads MLflow, which an image that serves lacks

_LARGE_LOG_BYTES = 10_000_000
_SAFE_SECONDS = 3600  # a younger draft may be another machine's, whose processes we can't see
_CHECKPOINT_SECONDS = DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Spent:
    """Something to remove. A log that is `rotated` loses its contents to a file beside it."""

    kind: str  # log, rotated, leftover, run, bundle, backup
    name: str  # of a file, its path in the workspace; of a run, its id
    reason: str
    bytes: int


def rules(settings: PruneSettings) -> Iterator[str]:
    """Yield the rules for people."""
    yield f"logs that nobody wrote to for {settings.logs_days:g} days"
    yield f"MLflow's trials, and runs deleted by hand, older than {settings.runs_days:g} days"
    yield f"bundles that served for the last time more than {settings.bundles_days:g} days ago"
    yield f"all but the newest {settings.backups} backups"
    if settings.rows_days is None:
        yield "no rows: [prune] rows_days is not set"
    else:
        days = f"{settings.rows_days:g}"
        yield f"rows older than {days} days, but the last {KEPT_ORIGINS:,} origins stay"


def old_logs(workspace: Path, days: float) -> Iterator[Spent]:
    """Yield logs that nobody wrote to for so many days, and large ones to rotate."""
    limit = time.time() - days * DAY_SECONDS
    for file in sorted((workspace / "logs").rglob("*")):
        written, size = _written(file), size_of(file)
        name = str(file.relative_to(workspace))
        if file.is_dir() or file.suffix == ".lock":  # a held lock is not written to
            continue
        if written < limit:
            yield Spent("log", name, f"last written at {iso(round(written))}", size)
        elif file.suffix == ".log" and size > _LARGE_LOG_BYTES:
            yield Spent("rotated", name, "it is large", 0)


def leftovers(workspace: Path) -> Iterator[Spent]:
    """Yield what killed processes left: drafts, and checkpoints of trainings not taken up."""
    drafts = [*abandoned(workspace), *abandoned(workspace / FOLDER)]
    drafts += (workspace / "bundles").glob(".*.*")
    ages = [(path, _SAFE_SECONDS) for path in drafts]
    ages += [(path, _CHECKPOINT_SECONDS) for path in (workspace / "checkpoints").glob("*")]
    for path, age in sorted(ages):
        if time.time() - _written(path) > age:
            name = str(path.relative_to(workspace))
            yield Spent("leftover", name, "left by a process that was killed", size_of(path))


def old_backups(workspace: Path, kept: int) -> Iterator[Spent]:
    """Yield all backups in the workspace but the newest."""
    for old in backups(workspace, workspace / FOLDER)[kept:]:
        name = str(old.folder.relative_to(workspace))
        yield Spent("backup", name, f"made at {iso(round(old.made_at))}", old.bytes)


def old_runs(registry: Registry, days: float) -> Iterator[Spent]:
    """Yield MLflow's trials, and runs deleted by hand, that are older than so many days."""
    for run in registry.runs.old(time.time() - days * DAY_SECONDS):
        yield Spent("run", run.run_id, f"{run.reason}: {run.name}", run.bytes)


def old_bundles(workspace: Path, reader: Reader, days: float, aliased: set[str]) -> Iterator[Spent]:
    """Yield bundles that were neither used nor written within so many days.

    Used are versions that made a set, were promoted, served, or shadow; versions with an
    alias stay too.
    """
    limit = time.time() - days * DAY_SECONDS
    rulings = reader.rulings()
    kept = aliased | retention.versions_since(reader, limit) | {shadowing(reader) or ""}
    kept |= Productions.of(row for written_at, row in rulings if written_at <= limit).versions()
    for written_at, row in rulings:
        if written_at > limit:
            kept |= {row.model_version, row.previous_version or ""}
    for folder in sorted((workspace / "bundles").glob("[!.]*")):
        if folder.name not in kept and _written(folder) < limit:
            name = str(folder.relative_to(workspace))
            yield Spent("bundle", name, "it has not served since", size_of(folder))


def old_rows(
    reader: Reader, settings: Settings, now: float
) -> tuple[dict[str, int], list[OldRows]]:
    """Return the rows older than `[prune] rows_days`, and the limit of each market.

    The candles that a model is made from always stay.
    """
    days = settings.prune.rows_days
    if days is None:
        return {}, []
    bars = ceil(settings.data.days * DAY_SECONDS / settings.markets()[0].interval_seconds)
    limits = retention.limits(reader, now - days * DAY_SECONDS, bars)
    return limits, retention.old_rows(reader, limits)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 if it does not exist."""
    with suppress(FileNotFoundError):
        return sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
    return 0


def _written(path: Path) -> float:
    """Return when a file, or something in a folder, was last written; now if it has just gone."""
    try:
        return max(p.stat().st_mtime for p in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()
