"""Files and folders that are whole or absent: written under a hidden name, then renamed."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptocast.errors import StoreError

# What a disk or folder refuses -> our code, words and hint.
REFUSALS = (
    (
        r"No space left on device|File too large|[Qq]uota exceeded",
        "store.full",
        "cannot grow: the disk is full",
        "free some space; nothing was stored",
    ),
    (
        r"Permission denied|Read-only file system|not permitted|Cannot open file|Is a directory",
        "store.unwritable",
        "cannot be opened",
        "check that the folder exists and that you may write in it",
    ),
)

_DRAFT = re.compile(r"\..+\.(\d{1,10})\.(part|new)(\.wal|\.tmp)?")


def disk_error(error: Exception, path: Path) -> StoreError:
    """Return the StoreError for what the file system raised about `path`."""
    detail = str(error).partition("\n")[0]
    for pattern, code, words, hint in REFUSALS:
        if re.search(pattern, str(error)):
            return StoreError(f"{path} {words}: {detail}", code=code, hint=hint)
    return StoreError(f"{path} failed: {detail}", hint="check the disk and the folder")


@contextmanager
def swapping(file: Path) -> Iterator[Path]:
    """Yield a hidden name beside `file` to write under; at the end of the block it becomes `file`.

    Readers see `file` whole or as it was, but a power cut may lose it. After an exception the
    hidden file is removed. Raises OSError if the folder or the disk refuses.
    """
    draft = part_of(file)
    try:
        yield draft
        draft.replace(file)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a hidden name as `swapping` does, for a file that must survive a power cut.

    What a killed process left is removed by the next one that writes the same file. Raises
    StoreError if the folder or the disk refuses.
    """
    try:
        sweep(file)
        with swapping(file) as draft:
            draft.touch()  # the folder's refusal comes before the long work
            yield draft
            to_disk(draft)
        to_disk(file.parent)
    except OSError as error:
        raise disk_error(error, file) from error


@contextmanager
def arriving(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder to fill; at the end of the block it becomes `folder`.

    `folder` must be missing or empty then; its parents are made. Raises StoreError if the
    disk refuses.
    """
    draft = part_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        shutil.rmtree(draft, ignore_errors=True)  # a process with our number was killed here
        draft.mkdir()
        yield draft
        for path in (*draft.rglob("*"), draft):
            to_disk(path)
        draft.rename(folder)
        to_disk(folder.parent)
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def take_name(draft: Path, path: Path) -> bool:
    """Give a draft its name unless that is taken; return whether it got it.

    Of two processes that do this at once, the first one's file stays.
    """
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links.
        if path.exists():
            return False
        draft.rename(path)
    return True


def remove(path: Path) -> None:
    """Remove a file or folder; killed meanwhile, it leaves the whole or only a hidden draft.

    Raises StoreError if the disk refuses.
    """
    try:
        draft = path.rename(part_of(path))
        shutil.rmtree(draft) if draft.is_dir() else draft.unlink()
    except OSError as error:
        raise disk_error(error, path) from error


@functools.cache
def confine_libraries() -> None:
    """Let matplotlib and torch keep their caches in a folder that ends with this process.

    They make theirs at import, in the person's home folder and the machine's temporary one.
    """
    folder = tempfile.mkdtemp(prefix="cryptocast-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR"):
        os.environ.setdefault(name, folder)


def to_disk(path: Path) -> None:
    """Have the contents of a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def part_of(path: Path) -> Path:
    """Return the hidden name that this process writes a file or folder under."""
    return path.with_name(f".{path.name.removeprefix('.')}.{os.getpid()}.part")


def sweep(path: Path) -> None:
    """Remove what killed processes left of the same file or folder."""
    for draft in abandoned(path.parent):
        if re.fullmatch(rf"\.{re.escape(path.name.removeprefix('.'))}\.\d+\.part", draft.name):
            discard(draft)


def discard(draft: Path) -> None:
    """Remove a draft, and what DuckDB has put beside it."""
    for path in (draft, *(draft.with_name(draft.name + suffix) for suffix in (".wal", ".tmp"))):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def abandoned(folder: Path) -> list[Path]:
    """Return the drafts in a folder whose process is no more, MLflow's and DuckDB's included."""
    drafts = ((path, _DRAFT.fullmatch(path.name)) for path in folder.glob(".*"))
    return sorted(path for path, match in drafts if match and not _runs(int(match[1])))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # somebody else's, or no process id at all: not ours to remove
    return True
