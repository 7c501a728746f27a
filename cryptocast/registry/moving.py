"""MLflow keeps absolute URIs; a workspace may be copied or moved. This lets them follow."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_URIS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow(file: Path, location: str) -> None:
    """Let MLflow's absolute URIs follow a workspace that was copied or moved."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        found = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
        for (old,) in found.fetchall():
            if old == location or not str(old).endswith("/mlartifacts"):
                continue
            for table, column in _URIS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - ours
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (location, len(old) + 1, old, len(old) + 1, old + "/"),
                )
