"""The backups of a workspace: where they lie, which there are, and their removal."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptocast.drafts import disk_error, remove

FOLDER = "backups"
"""Where backups are kept in a workspace, unless another folder is named."""

CARD = "backup.json"
"""The file that marks a folder as a backup, and says of what."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole: where it lies, when it was made, and its size."""

    folder: Path
    made_at: float
    bytes: int


def backups(workspace: Path, folder: Path) -> list[Backup]:
    """Return the backups of a workspace in a folder, newest first.

    A backup that was renamed or copied is none any more: it may be a workspace in use.
    """
    home = workspace.resolve()
    inside = folder.resolve() == home / FOLDER  # then they are ours, even if we were moved
    found = []
    for file in folder.glob(f"*/{CARD}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            card = json.loads(file.read_text(encoding="utf-8"))
            ours = inside or card["workspace"] == str(home)
            if ours and card["name"] == file.parent.name:
                found.append(Backup(file.parent, float(card["made_at"]), int(card["bytes"])))
    return sorted(found, key=lambda backup: -backup.made_at)


def remove_backup(folder: Path) -> None:
    """Remove a backup; from the first moment on it is none any more."""
    try:
        (folder / CARD).unlink()
    except OSError as error:
        raise disk_error(error, folder) from error
    remove(folder)
