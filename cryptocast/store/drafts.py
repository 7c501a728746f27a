"""Files and folders that are whole or absent: written under a hidden name, then renamed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptocast.store.connection import translate

_DRAFT = re.compile(r"\..+\.(\d{1,10})\.(part|new)(\.wal|\.tmp)?")


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A hidden name beside `file` to write under; at the end of the block it becomes `file`.

    So `file` is whole or as it was. After an exception the hidden file is removed; what a
    killed process left is removed by the next one that writes the same file. Raises
    StoreError where the folder or the disk refuses.
    """
    part = part_of(file)
    try:
        sweep(file)
        part.touch()  # the folder's refusal comes before the long work
        yield part
        to_disk(part)
        part.replace(file)
        to_disk(file.parent)
    except OSError as error:
        raise translate(error, file) or error from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def arriving(folder: Path) -> Iterator[Path]:
    """The same for a folder that is not there yet, or is empty; its parents are made."""
    part = part_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        part.mkdir()
        yield part
        for path in (*part.rglob("*"), part):
            to_disk(path)
        part.rename(folder)
        to_disk(folder.parent)
    except OSError as error:
        raise translate(error, folder) or error from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Have the contents of a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def part_of(path: Path) -> Path:
    """The hidden name that this process writes a file or folder under."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def sweep(path: Path) -> None:
    """Remove what killed processes left of the same file or folder."""
    for left in abandoned(path.parent):
        if re.fullmatch(rf"\.{re.escape(path.name)}\.\d+\.part", left.name):
            discard(left)


def discard(part: Path) -> None:
    """Remove a draft, and what DuckDB has put beside it."""
    for path in (part, *(part.with_name(part.name + suffix) for suffix in (".wal", ".tmp"))):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def abandoned(folder: Path) -> list[Path]:
    """The drafts in a folder, also of MLflow's and DuckDB's files, whose process is no more."""
    found = ((path, _DRAFT.fullmatch(path.name)) for path in folder.glob(".*"))
    return sorted(path for path, match in found if match and not _runs(int(match[1])))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # somebody else's, or no process id at all: not ours to remove
    return True
