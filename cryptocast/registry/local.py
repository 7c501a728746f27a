"""Make a workspace's own MLflow store, a SQLite file, and keep its URIs right if it moves."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mlflow.store.db.db_types import DATABASE_ENGINES
from sqlalchemy import Engine, event

from cryptocast.drafts import take_name, to_disk
from cryptocast.errors import ConfigError, shown_url

_URIS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def local_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for a server or another database."""
    name = uri.removeprefix("sqlite:///")
    return None if name == uri or not name or "?" in name or ":memory:" in name else Path(name)


def place_of_files(uri: str, artifacts: Path | None, files: str | None) -> str | None:
    """Return the URI under which runs keep their files, or None where a server decides.

    `Registry` says what the parameters mean. Raises ConfigError if nobody says it: MLflow would
    put them into the current folder, where no other command finds them.
    """
    file = local_file(uri)
    if files is not None:
        return files if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", files) else _as_uri(Path(files))
    if artifacts is not None:
        return _as_uri(artifacts)
    if file is not None:
        return _as_uri(file.parent / "mlartifacts")
    if re.split(r"[+:]", uri, maxsplit=1)[0] not in DATABASE_ENGINES:
        return None
    raise ConfigError(
        f"the MLflow store {shown_url(uri)} is a database, which keeps no files",
        code="config.artifacts",
        hint="cryptocast config set mlflow.artifacts FOLDER_OR_URI, or name an `mlflow server`",
    )


def _as_uri(folder: Path) -> str:
    return folder.resolve().as_uri()


def make(file: Path, artifacts: str) -> None:
    """Make an empty store, unless there is one. It is whole or absent.

    MLflow's sixty or so migrations take seconds and are no transaction: another process that
    found them half done would take the store for damaged. So they run under a hidden name, and
    if two processes do this at once, the file that is ready first stays. No process waits for
    another, and a killed one leaves a draft that nothing reads.
    """
    # Late: a store on a server does not need it.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        store: Any = SqlAlchemyStore  # it has no types
        with _without_waiting_for_the_disk():
            store(f"sqlite:///{draft}", artifacts).engine.dispose()
        to_disk(draft)
        take_name(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def give_up_soon() -> None:
    """Let MLflow try a database that cannot be opened three times, not for two minutes."""
    from mlflow.store.db import utils  # late: as above

    utils.MAX_RETRY_COUNT = 3


@contextmanager
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Let new connections commit without waiting for the disk, for the block.

    A draft is kept when it is done or not at all. On a busy disk migrations spend their time in a
    thousand such waits.
    """

    def relax(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)


def update_uris(file: Path, location: str) -> None:
    """Replace MLflow's absolute URIs if the workspace was copied or moved.

    `location` is where its artefacts now lie.
    """
    with closing(sqlite3.connect(file)) as connection, connection:
        locations = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
        for (old,) in locations.fetchall():
            if old == location or not str(old).endswith("/mlartifacts"):
                continue
            for table, column in _URIS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - ours
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (location, len(old) + 1, old, len(old) + 1, old + "/"),
                )
