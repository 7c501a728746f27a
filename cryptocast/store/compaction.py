"""Give back the room that removed rows took: DuckDB keeps it for new ones."""

from __future__ import annotations

import os
import time

import duckdb

from cryptocast.errors import StoreError
from cryptocast.store.connection import ALIAS, translate
from cryptocast.store.drafts import to_disk
from cryptocast.store.store import Store

_MEMORY = "1GB"
# Who has opened the old file just before the new one took its name asks for its lock at once.
_LINGER_SECONDS = 0.25


def compact(store: Store) -> None:
    """Write the database anew without the room that removed rows took, and put it in place.

    Everybody waits meanwhile. Whoever is killed here leaves the file as it was. Raises
    StoreError where the store is busy or the disk has no room for the second file.
    """
    draft = store.path.with_name(f".{store.path.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        with store.hold(read_only=False) as (connection, _):
            connection.execute(f"CHECKPOINT {ALIAS}")  # else the log would outlive its file
            connection.execute(f"SET memory_limit = '{_MEMORY}'")
            try:
                connection.execute("ATTACH ? AS compacted", [str(draft)])
                connection.execute(f"COPY FROM DATABASE {ALIAS} TO compacted")
                _demand_equal(connection)
                connection.execute("DETACH compacted")
            finally:
                connection.execute("RESET memory_limit")
            to_disk(draft)
            draft.replace(store.path)
            to_disk(store.path.parent)
            time.sleep(_LINGER_SECONDS)
    except OSError as error:
        raise translate(error, store.path) or error from error
    finally:
        draft.unlink(missing_ok=True)


def _demand_equal(connection: duckdb.DuckDBPyConnection) -> None:
    counts = []
    for database in (ALIAS, "compacted"):
        rows = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1", [database]
        ).fetchall()
        query = "SELECT count(*), bit_xor(hash(t)) FROM {}.{} AS t"
        names = [name for (name,) in rows]
        counts.append(
            [(name, connection.execute(query.format(database, name)).fetchall()) for name in names]
        )
    if counts[0] != counts[1]:
        raise StoreError(
            "the compacted database differs from the one that it was made of",
            code="store.corrupt",
            hint="nothing was changed; check the disk, and make a backup",
        )
