"""backup: a consistent copy of the workspace, which is a workspace itself."""

from __future__ import annotations

import itertools
import json
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptocast import __version__, config
from cryptocast.drafts import abandoned, arriving, discard, disk_error
from cryptocast.errors import StoreError, UsageError
from cryptocast.store.copies import copy_sqlite, copy_store
from cryptocast.values import parse_path
from cryptocast.workflows.keeping.copies import CARD, FOLDER, Backup, backups, remove_backup
from cryptocast.workspace import Workspace, require_outside

_FOLDERS = ("bundles", "mlartifacts", "reports", "archive")
_SPARE_BYTES = 50_000_000  # what a backup leaves free on its disk: the loop needs some
_ATTEMPTS = 5  # at a folder if a file in it goes while it is copied
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that was just made and checked, and the older ones that it replaced."""

    backup: Backup
    files: int
    rows: Mapping[str, Mapping[str, int]]  # of each database: table -> rows
    held_seconds: float  # how long forecasts could not be written
    removed: tuple[Path, ...]
    warnings: tuple[str, ...]


def backup(ws: Workspace, *, out: Path | None = None, keep: int | None = None) -> BackupReport:
    """Copy what the workspace holds into `out`, by default `backups/<stamp>` inside it.

    Databases come first: what their rows name is on the disk before they are written. They
    are read again as a whole. `.env`, logs and hidden files are left out, and so is, with a
    warning, what is a link or no regular file: it may lead anywhere. With `keep`, only
    the newest `keep` backups of this workspace stay in the same folder, once the new one is
    whole. Raises UsageError for an impossible `out`, and StoreError if a database is busy or
    damaged or the disk refuses: then nothing is left behind.
    """
    made_at = time.time()
    home = ws.folder.resolve()
    folder = parse_path(out or _free_name(home / FOLDER, made_at)).resolve()
    _demand_place(home, folder)
    _demand_room(home, folder)
    for draft in abandoned(home / FOLDER):  # of backups that were killed
        discard(draft)
    with arriving(folder) as draft:
        shutil.copyfile(ws.file, draft / config.FILE_NAME)
        rows, held_seconds = _copy_databases(ws, draft)
        left_out = _copy_folders(ws, draft)
        files, size = _measure(draft)
        card = {
            "workspace": str(home),
            "name": folder.name,
            "made_at": made_at,
            "cryptocast": __version__,
            "files": files,
            "bytes": size,
            "rows": rows,
        }
        (draft / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    removed = [] if keep is None else [old.folder for old in backups(home, folder.parent)[keep:]]
    for old in removed:
        remove_backup(old)
    elsewhere = ws.settings.mlflow.tracking_uri or ws.secrets.environ.get("MLFLOW_TRACKING_URI")
    warnings = [f"{path} is left out: it is a link, or no regular file" for path in left_out]
    if elsewhere:
        warnings.append("runs and versions are in another MLflow store: back that up too")
    if ws.settings.tune.storage:
        warnings.append("studies are in another database: back that up too")
    return BackupReport(
        Backup(folder, made_at, size),
        files,
        rows,
        held_seconds,
        tuple(removed),
        tuple(warnings),
    )


def _free_name(folder: Path, made_at: float) -> Path:
    """Return a path named after the second, with a number if that is taken."""
    stamp = datetime.fromtimestamp(made_at, UTC).strftime("%Y%m%dT%H%M%SZ")
    names = itertools.chain([stamp], (f"{stamp}-{number}" for number in itertools.count(2)))
    return next(folder / name for name in names if not (folder / name).exists())


def _demand_place(home: Path, folder: Path) -> None:
    """Raise UsageError if a backup of the workspace `home` cannot lie in `folder`."""
    within = folder.is_relative_to(home) and not folder.is_relative_to(home / FOLDER)
    if home.is_relative_to(folder) or within:
        raise UsageError(
            f"{folder} cannot be a backup of {home}: one lies inside the other",
            hint=f"name a folder outside of it, or leave --out away for {home / FOLDER}",
        )
    if not folder.is_relative_to(home / FOLDER):
        require_outside(folder)
    if folder == home / FOLDER or (folder.exists() and not folder.is_dir()):
        raise UsageError(
            f"{folder} cannot become a backup", hint="name a folder that is not there yet"
        )
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a folder that is not there yet")


def _demand_room(home: Path, folder: Path) -> None:
    """Raise StoreError if the backup may not fit: a disk that it fills stops the loop."""
    files = [home / name for name in ("cryptocast.duckdb", "mlflow.db", "optuna.db")]
    needed = sum(file.stat().st_size for file in files if file.exists())
    needed += sum(_measure(home / name)[1] for name in _FOLDERS)
    place = next(path for path in folder.parents if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE_BYTES:
        raise StoreError(
            f"the backup takes {needed / 1e6:,.0f} MB, and {place} has {free / 1e6:,.0f} MB free",
            code="store.full",
            hint="free some space, or name another disk with --out",
        )


def _copy_databases(ws: Workspace, draft: Path) -> tuple[dict[str, Mapping[str, int]], float]:
    """Copy and check the databases that exist, forecasts first.

    Returns the rows of each table by database, and how long forecasts could not be written.
    """
    ws.progress.stage("copy the databases")
    rows: dict[str, Mapping[str, int]] = {}
    held_seconds = 0.0
    if ws.store.path.exists():
        copied = copy_store(ws.store, draft / ws.store.path.name)
        rows[ws.store.path.name], held_seconds = copied.rows, copied.held_seconds
    for file in (ws.folder / "mlflow.db", ws.optuna):
        ws.progress.advance(len(rows), 3, file.name)
        if file.exists():
            wait = ws.settings.store.wait_seconds
            rows[file.name] = copy_sqlite(file, draft / file.name, wait).rows
    return rows, held_seconds


def _copy_folders(ws: Workspace, draft: Path) -> list[Path]:
    """Copy the folders, and return what was left out of them."""
    ws.progress.stage("copy the files")
    left_out = []
    for number, name in enumerate(_FOLDERS):
        ws.progress.advance(number, len(_FOLDERS), name)
        if (ws.folder / name).is_symlink():
            left_out.append(ws.folder / name)
        else:
            left_out += _copy_folder(ws.folder / name, draft / name)
    return left_out


def _copy_folder(source: Path, target: Path) -> list[Path]:
    """Copy a folder, again if something in it was replaced meanwhile; return what was left out."""
    if not source.is_dir():
        return []
    for left in reversed(range(_ATTEMPTS)):
        shutil.rmtree(target, ignore_errors=True)
        left_out: list[Path] = []

        def ignore(folder: str, names: Sequence[str], odd: list[Path] = left_out) -> set[str]:
            odd += [path for name in names if _leads_elsewhere(path := Path(folder, name))]
            return {name for name in names if name.startswith(".") or Path(folder, name) in odd}

        try:
            shutil.copytree(source, target, ignore=ignore)
        except OSError as error:
            if not left or "No such file" not in str(error):
                raise disk_error(error, source) from error
        else:
            return left_out
        time.sleep(_PAUSE_SECONDS)
    return []


def _leads_elsewhere(path: Path) -> bool:
    """Return whether a path is a link, or neither a folder nor a regular file."""
    try:
        mode = path.lstat().st_mode
    except OSError:  # it has gone meanwhile, which is seen when it is copied
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _measure(folder: Path) -> tuple[int, int]:
    """Return how many files a folder holds, and their bytes."""
    sizes = [
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    ]
    return len(sizes), sum(sizes)
