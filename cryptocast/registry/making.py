"""Make MLflow's SQLite store, whole or absent, whoever else makes it at the same time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from cryptocast.drafts import take_name, to_disk


def local_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for a server or another database."""
    name = uri.removeprefix("sqlite:///")
    return None if name == uri or not name or "?" in name or ":memory:" in name else Path(name)


def make(file: Path, artifacts: str) -> None:
    """Make an empty store, unless there is one.

    MLflow's some sixty migrations take seconds and are no transaction: a process that came
    upon them half done would take them for damage. So they are done under another name, and
    of two processes that do this at once the first one's file stays. Nobody waits for
    anybody, and one that is killed leaves a draft that nothing looks at.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # late: a server needs none

    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        store: Any = SqlAlchemyStore  # MLflow does not type it
        with _written_at_leisure():
            store(f"sqlite:///{draft}", artifacts).engine.dispose()
        to_disk(draft)
        take_name(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def give_up_soon() -> None:
    """Try a database that cannot be opened three times: MLflow tries for two minutes."""
    from mlflow.store.db import utils  # late: a server needs none of it

    utils.MAX_RETRY_COUNT = 3


@contextmanager
def _written_at_leisure() -> Iterator[None]:
    """New connections wait for the disk at no commit: a draft is kept at its end or not at all.

    On a busy disk it is these waits, a thousand of them, that migrations spend their time on.
    """

    def relax(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)
