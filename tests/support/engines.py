"""In-memory DuckDBs that are used again: starting one takes 20 ms of a processor.

A command starts one and throws it away, and tests run thousands of commands in one process. An
engine holds no file once its store has detached it, so the next store can have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from cryptocast.sources import _tables
from cryptocast.store import connection, store

# Memory is not given back after each query, which takes a third of a small query's time.
_FREELY = {
    "allocator_flush_threshold": "128MB",
    "allocator_bulk_deallocation_flush_threshold": "512MB",
}

Engines = list[duckdb.DuckDBPyConnection]

_idle: Engines = []  # of stores
_readers: Engines = []  # of the source that reads files
_plain: Engines = []  # of the tests themselves


class Lent:
    """An engine that goes back to the others when its user closes or drops it."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, idle: Engines) -> None:
        self._engine: duckdb.DuckDBPyConnection | None = engine
        self._idle = idle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> None:
        if self._engine is not None:
            self._idle.append(self._engine)
            self._engine = None

    __del__ = close


def _lend(path: Path) -> Lent:
    """Return an engine that spills beside this file: one that was given back, or a new one."""
    while _idle:
        engine = _idle.pop()
        if _serves(engine, path):
            return Lent(engine, _idle)
        engine.close()
    engine = connection.new_engine(path)
    for name, most in _FREELY.items():
        engine.execute(f"SET GLOBAL {name} = '{most}'")
    return Lent(engine, _idle)


def _serves(engine: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Return whether this engine can be had: no fatal error ended it and it holds no file."""
    folder = f"{path}.tmp".replace("'", "''")
    try:
        engine.execute(f"SET GLOBAL temp_directory = '{folder}'")
        attached = engine.execute("SELECT count(path) FROM duckdb_databases()").fetchone()
    except duckdb.Error:
        return False
    return attached == (0,)


def _lend_reader(*arguments: Any, **options: Any) -> Lent:
    """Return an engine that reads files: these leave nothing behind in it."""
    engine = _readers.pop() if _readers else duckdb.connect(*arguments, **options)
    return Lent(engine, _readers)


@pytest.fixture(autouse=True)
def _kept_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "new_engine", _lend)
    names = SimpleNamespace(connect=_lend_reader, Error=duckdb.Error)
    monkeypatch.setattr(_tables, "duckdb", names)


@contextmanager
def opened(file: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database as somebody with plain DuckDB would, with its times in UTC."""
    engine = _plain.pop() if _plain else duckdb.connect()
    options = "TYPE duckdb, READ_ONLY" if read_only else "TYPE duckdb"
    engine.execute(f"ATTACH ? AS theirs ({options})", [str(file)])
    try:
        with engine.cursor() as cursor:
            cursor.execute("USE theirs")
            cursor.execute("SET TimeZone = 'UTC'")
            yield cursor
    finally:
        engine.execute("DETACH theirs")
    _plain.append(engine)
