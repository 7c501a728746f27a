"""mirror: a copy of the database that anybody may keep open, renewed after each tick."""

from __future__ import annotations

from pathlib import Path

from cryptocast.errors import CryptocastError
from cryptocast.store import Store
from cryptocast.store.copies import snapshot

MIRROR = "mirror.duckdb"
"""The name of the copy in the workspace's folder."""


def renew_mirror(store: Store, folder: Path) -> list[str]:
    """Put a fresh copy in the mirror's place, whole or not at all; return what went wrong.

    Whoever has the old one open keeps it as it was. Nothing is copied if nothing has changed.
    """
    file = folder / MIRROR
    try:
        if file.exists() and file.stat().st_mtime_ns >= store.path.stat().st_mtime_ns:
            return []
        with snapshot(store) as copy:
            with copy.write():
                pass  # the log of a killed process becomes part of the copy
            copy.path.chmod(0o444)
            copy.path.replace(file)
    except OSError as error:
        return [f"{file} cannot be renewed: {error.strerror}"]
    except CryptocastError as error:
        return [f"{file} was not renewed: {error.message}"]
    return []
