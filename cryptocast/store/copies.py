"""Consistent copies of databases in use, which are read again as a whole, and compaction."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cryptocast.drafts import discard, disk_error, part_of, sweep, to_disk
from cryptocast.errors import StoreError
from cryptocast.store.connection import ALIAS, attach, new_engine, translated
from cryptocast.store.store import Store

_CHUNK_BYTES = 1 << 22
_MEMORY = "256MB"
_COMPACTION_MEMORY = "1GB"
# A process that opened the old file just before the swap asks for its lock at once.
_LINGER_SECONDS = 0.25
_STEP_PAGES = 1024  # of SQLite's backup, between looks at the clock
_HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy: how many rows each of its tables holds, and how long writers had to wait for it."""

    rows: Mapping[str, int]
    held_seconds: float


def copy_store(store: Store, target: Path) -> Copied:
    """Copy the database into a new file, and read the whole copy again.

    Writers wait while the bytes are copied, readers don't. A write-ahead log that a killed
    process left is copied too, and written into the copy. Raises StoreError if the store is
    busy, the disk is full, or the copy cannot be read or lacks rows.
    """
    copied = _copy_bytes(store, target)
    with translated(target), new_engine(target) as engine:
        engine.execute(f"SET memory_limit = '{_MEMORY}'")  # else it keeps every block it read
        attach(engine, target, time.monotonic(), read_only=False)
        whole = _contents(engine, ALIAS)
        engine.execute(f"DETACH {ALIAS}")
    _demand_rows(target, copied.rows, {table: rows for table, (rows, _) in whole.items()})
    return copied


@contextmanager
def snapshot(store: Store) -> Iterator[Store]:
    """Yield a private copy beside the database, to read from for long while others write on.

    It is removed at the end; what a killed process left is removed by the next one.
    """
    part = part_of(store.path)
    try:
        sweep(store.path)
        discard(part)  # a process with our number was killed here
        _copy_bytes(store, part)
        yield Store(part, store.wait_seconds)
    finally:
        discard(part)


def _copy_bytes(store: Store, target: Path) -> Copied:
    with store.hold(read_only=True) as (connection, after):
        began = time.monotonic()
        counts = 'SELECT count(*) FROM "{}"'
        rows = {
            table: int(connection.execute(counts.format(table)).fetchall()[0][0])
            for table in _tables(connection, ALIAS)
        }
        try:
            for suffix in ("", ".wal"):
                path = store.path.with_name(store.path.name + suffix)
                if path.exists():
                    source = after.enter_context(path.open("rb"))
                    with target.with_name(target.name + suffix).open("xb") as copy:
                        shutil.copyfileobj(source, copy, _CHUNK_BYTES)
        except OSError as error:
            raise disk_error(error, target) from error
        return Copied(rows, time.monotonic() - began)


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> list[str]:
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1", [database]
    ).fetchall()
    return [name for (name,) in rows]


def _contents(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, tuple[int, int]]:
    """Read every value, so that a damaged block is an error; return rows and a hash by table."""
    query = 'SELECT count(*), bit_xor(hash(t)) FROM {}."{}" AS t'
    return {
        table: connection.execute(query.format(database, table)).fetchall()[0]
        for table in _tables(connection, database)
    }


def compact(store: Store) -> None:
    """Write the database anew without the room that removed rows took, and put it in place.

    Everybody waits meanwhile. A process that is killed here leaves the file as it was. Raises
    StoreError if the store is busy or the disk has no room for the second file.
    """
    draft = store.path.with_name(f".{store.path.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        with store.hold(read_only=False) as (connection, _):
            connection.execute(f"CHECKPOINT {ALIAS}")  # else the log would outlive its file
            connection.execute(f"SET memory_limit = '{_COMPACTION_MEMORY}'")
            try:
                connection.execute("ATTACH ? AS compacted", [str(draft)])
                connection.execute(f"COPY FROM DATABASE {ALIAS} TO compacted")
                if _contents(connection, ALIAS) != _contents(connection, "compacted"):
                    raise StoreError(
                        "the compacted database differs from the one that it was made of",
                        code="store.corrupt",
                        hint="nothing was changed; check the disk, and make a backup",
                    )
                connection.execute("DETACH compacted")
            finally:
                connection.execute("RESET memory_limit")
            to_disk(draft)
            draft.replace(store.path)
            to_disk(store.path.parent)
            time.sleep(_LINGER_SECONDS)
    except OSError as error:
        raise disk_error(error, store.path) from error
    finally:
        draft.unlink(missing_ok=True)


def copy_sqlite(source: Path, target: Path, wait_seconds: float) -> Copied:
    """Copy a SQLite database by its online backup, and check the copy.

    It is a snapshot: others may read meanwhile, and write after it. Raises StoreError
    (`store.busy`) if one of them holds the file longer than `wait_seconds`, and if the copy
    is not whole.
    """
    began = time.monotonic()

    def tick(state: int, *_: int) -> None:
        if state in _HELD and time.monotonic() - began > wait_seconds:
            raise _busy(f"{source} is in use")

    try:
        with (
            closing(sqlite3.connect(source, timeout=wait_seconds)) as connection,
            closing(sqlite3.connect(target)) as copy,
        ):
            connection.execute("BEGIN")  # one snapshot to count and to copy
            rows = _sqlite_rows(connection)
            connection.backup(copy, pages=_STEP_PAGES, progress=tick)
            connection.rollback()
            held = time.monotonic() - began
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            copied = _sqlite_rows(copy)
    except (sqlite3.Error, OSError) as error:
        raise _translated_sqlite(error, source, target) from error
    if verdict != "ok":
        raise _damaged(source, verdict)
    _demand_rows(target, rows, copied)
    return Copied(rows, held)


def _sqlite_rows(connection: sqlite3.Connection) -> dict[str, int]:
    query = 'SELECT count(*) FROM "{}"'
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY 1"
    ).fetchall()
    return {name: int(connection.execute(query.format(name)).fetchone()[0]) for (name,) in names}


def _translated_sqlite(error: Exception, source: Path, target: Path) -> StoreError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return _busy(f"{source} is in use: {text}")
    if "disk is full" in text or "No space" in text:
        return StoreError(
            f"{target} cannot grow: the disk is full", code="store.full", hint="free some space"
        )
    if "malformed" in text or "not a database" in text:
        return _damaged(source, text)
    return StoreError(f"{source} cannot be copied: {text}", hint="check the disk and the folder")


def _busy(message: str) -> StoreError:
    hint = "try again when MLflow or Optuna are done with it"
    return StoreError(message, code="store.busy", hint=hint, retry=True)


def _damaged(source: Path, detail: str) -> StoreError:
    return StoreError(
        f"{source} is damaged: {detail}",
        code="store.corrupt",
        hint="restore it from a backup, or move it away",
    )


def _demand_rows(target: Path, expected: Mapping[str, int], copied: Mapping[str, int]) -> None:
    """Raise StoreError if a copy lacks rows."""
    for table, rows in expected.items():
        if copied.get(table) != rows:
            raise StoreError(
                f"{target} holds {copied.get(table, 0)} rows of {table} instead of {rows}",
                code="store.corrupt",
                hint="check the disk, then make the backup again",
            )
