"""backup: a consistent copy of the workspace, which is a workspace itself."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptocast import __version__, config
from cryptocast.drafts import abandoned, arriving, discard, disk_error
from cryptocast.errors import StoreError, UsageError
from cryptocast.store.copies import copy_sqlite, copy_store
from cryptocast.workspace import Workspace

FOLDER = "backups"
"""Where backups are kept, unless another folder is named."""

CARD = "backup.json"
"""The file that says of a folder that it is a backup, and of what."""

_FOLDERS = ("bundles", "mlartifacts", "reports", "archive")
_SPARE_BYTES = 50_000_000  # what a backup leaves free on its disk: the loop needs some
_TRIES = 5  # at a folder of which a file goes while it is copied
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole: where it lies, when it was made, what it takes."""

    folder: Path
    made_at: float
    bytes: int


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that was just made and checked, and the older ones that went for it."""

    backup: Backup
    files: int
    rows: Mapping[str, Mapping[str, int]]  # of each database: table -> rows
    held_seconds: float  # how long forecasts could not be written
    removed: tuple[Path, ...]
    warnings: tuple[str, ...]


def backup(ws: Workspace, *, out: Path | None = None, keep: int | None = None) -> BackupReport:
    """Copy what the workspace holds into `out`, by default `backups/<stamp>` inside it.

    Databases first: what their rows name is on the disk before they are written. They are
    read again as a whole. `.env`, logs and hidden files are left out. `keep` removes all but
    the newest so many backups of this workspace in the same folder, after the new one is
    whole. Raises UsageError for an `out` that cannot be, StoreError where a database is busy
    or damaged or the disk refuses: nothing is left then.
    """
    made_at = time.time()
    folder = (out or _free_name(ws, made_at)).expanduser().resolve()
    _demand_place(ws, folder)
    _demand_room(ws, folder)
    for left in abandoned(ws.folder / FOLDER):  # of backups that were killed
        discard(left)
    with arriving(folder) as part:
        shutil.copyfile(ws.file, part / config.FILE_NAME)
        rows, held = _databases(ws, part)
        ws.progress.stage("copy the files")
        for name in _FOLDERS:
            ws.progress.advance(_FOLDERS.index(name), len(_FOLDERS), name)
            _copy_folder(ws.folder / name, part / name)
        files, size = _measure(part)
        card = {
            "workspace": str(ws.folder.resolve()),
            "name": folder.name,
            "made_at": made_at,
            "cryptocast": __version__,
            "files": files,
            "bytes": size,
            "rows": rows,
        }
        (part / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    removed = []
    if keep is not None:
        for old in backups(ws, folder.parent)[keep:]:
            remove(old)
            removed.append(old.folder)
    made = Backup(folder, made_at, size)
    return BackupReport(made, files, rows, held, tuple(removed), tuple(_warnings(ws)))


def backups(ws: Workspace, folder: Path) -> list[Backup]:
    """The backups of this workspace in a folder, newest first.

    One that was renamed or copied is no longer a backup: it may be a workspace in use.
    """
    home = ws.folder.resolve()
    ours = folder.resolve() == home / FOLDER  # also after the workspace was moved
    found = []
    for file in folder.glob(f"*/{CARD}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            card = json.loads(file.read_text(encoding="utf-8"))
            mine = ours or card["workspace"] == str(home)
            if mine and card["name"] == file.parent.name:
                found.append(Backup(file.parent, float(card["made_at"]), int(card["bytes"])))
    return sorted(found, key=lambda b: -b.made_at)


def remove(old: Backup) -> None:
    """Remove a backup; from the first moment on it is none any more."""
    try:
        (old.folder / CARD).unlink()
        shutil.rmtree(old.folder)
    except OSError as error:
        raise disk_error(error, old.folder) from error


def _free_name(ws: Workspace, made_at: float) -> Path:
    """A folder named after the second, and the next number where that is taken."""
    stamp = datetime.fromtimestamp(made_at, UTC).strftime("%Y%m%dT%H%M%SZ")
    names = itertools.chain([stamp], (f"{stamp}-{number}" for number in itertools.count(2)))
    return next(ws.folder / FOLDER / n for n in names if not (ws.folder / FOLDER / n).exists())


def _demand_place(ws: Workspace, folder: Path) -> None:
    home = ws.folder.resolve()
    if home.is_relative_to(folder) or (
        folder.is_relative_to(home) and not folder.is_relative_to(home / FOLDER)
    ):
        raise UsageError(
            f"{folder} cannot be a backup of {home}: one lies inside the other",
            hint=f"name a folder outside of it, or leave --out away for {home / FOLDER}",
        )
    if folder == home / FOLDER or (folder.exists() and not folder.is_dir()):
        raise UsageError(
            f"{folder} cannot become a backup", hint="name a folder that is not there yet"
        )
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a folder that is not there yet")


def _demand_room(ws: Workspace, folder: Path) -> None:
    """A disk that a backup fills stops the loop: so it is not begun where it may not fit."""
    files = [ws.folder / name for name in ("cryptocast.duckdb", "mlflow.db", "optuna.db")]
    needed = sum(file.stat().st_size for file in files if file.exists())
    needed += sum(_measure(ws.folder / name)[1] for name in _FOLDERS)
    place = next(path for path in folder.parents if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE_BYTES:
        raise StoreError(
            f"the backup takes {needed / 1e6:,.0f} MB, and {place} has {free / 1e6:,.0f} MB free",
            code="store.full",
            hint="free some space, or name another disk with --out",
        )


def _databases(ws: Workspace, part: Path) -> tuple[dict[str, Mapping[str, int]], float]:
    """Copy and check the databases that are there; forecasts first."""
    ws.progress.stage("copy the databases")
    store = ws.store.path
    rows: dict[str, Mapping[str, int]] = {}
    held = 0.0
    if store.exists():
        copied = copy_store(ws.store, part / store.name)
        rows[store.name], held = copied.rows, copied.held_seconds
    for file in (ws.folder / "mlflow.db", ws.optuna):
        ws.progress.advance(len(rows), 3, file.name)
        if file.exists():
            wait = ws.settings.store.wait_seconds
            rows[file.name] = copy_sqlite(file, part / file.name, wait).rows
    return rows, held


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder, again where something in it was replaced meanwhile."""
    if not source.is_dir():
        return
    for left in reversed(range(_TRIES)):
        shutil.rmtree(target, ignore_errors=True)
        try:
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))
            return
        except OSError as error:
            if not left or "No such file" not in str(error):
                raise disk_error(error, source) from error
        time.sleep(_PAUSE_SECONDS)


def _measure(folder: Path) -> tuple[int, int]:
    """How many files a folder holds, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _warnings(ws: Workspace) -> Iterator[str]:
    """What a person might think is in the backup, and is not."""
    if ws.settings.mlflow.tracking_uri or ws.secrets.environ.get("MLFLOW_TRACKING_URI"):
        yield "runs and versions are in another MLflow store: back that up too"
