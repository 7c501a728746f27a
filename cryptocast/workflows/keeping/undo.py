"""Make the folder of a workspace, and undo a first start that leaves nothing of use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path

from cryptocast import config
from cryptocast.errors import CryptocastError, UsageError
from cryptocast.locks import lock_file
from cryptocast.store import Store
from cryptocast.workspace import FOLDERS, Workspace

_Contents = Mapping[Path, bytes | None]  # entries; with the text of the settings among them


def make_folders(folder: Path) -> None:
    """Make the folder of a workspace and those in it. Raise UsageError if the disk refuses."""
    with refusals_named(folder):
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)


@contextmanager
def refusals_named(folder: Path) -> Iterator[None]:
    """Raise UsageError if the disk refuses to let the folder become a workspace."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{folder} cannot become a workspace: {error.strerror}",
            code="usage.workspace",
            hint="name a folder that you may write in: --workspace DIR",
        ) from None


@contextmanager
def undone_if_useless(ws: Workspace) -> Iterator[None]:
    """Restore the folder if the block fails and leaves nothing that a second start could use.

    That is so if no candle is stored, or, in a new workspace, too few for any forecast. What
    another process makes at the same time is left alone.
    """
    before, new = _contents(ws.folder), not ws.file.is_file()
    try:
        yield
    except CryptocastError as error:
        if error.code == "init.running":
            raise
        too_few = new and error.code == "state.not_enough_candles"
        if too_few or not _has_candles(ws.store):
            ws.close()
            lock_file(ws.folder, "init").unlink(missing_ok=True)
            _restore(ws.folder, before)
        if too_few:
            days = max(7, ceil(ws.settings.data.days))
            error.hint = f"give init more: --days {days}, or files"
        raise


def _has_candles(store: Store) -> bool:
    try:
        with store.read() as reader:
            return bool(reader.stored_markets())
    except CryptocastError:
        return True  # unknown: rather leave a file than lose one


def _contents(folder: Path) -> _Contents | None:
    """Return the folder's entries with the text of the settings, or None if there is no folder."""
    if not folder.is_dir():
        return None
    return {p: p.read_bytes() if p.name == config.FILE_NAME else None for p in folder.iterdir()}


def _restore(folder: Path, before: _Contents | None) -> None:
    """Remove what this run made, and put the settings back as they were."""
    for path in folder.iterdir():
        if path in (before or {}):
            if (text := (before or {})[path]) is not None:
                path.write_bytes(text)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if before is None:
        folder.rmdir()
