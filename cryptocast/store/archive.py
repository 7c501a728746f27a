"""Old candles and forecasts into files, and then out of the database: never lost between."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cryptocast.errors import StoreError
from cryptocast.store._limits import LIMITS, parameters
from cryptocast.store.connection import translate
from cryptocast.store.drafts import arriving

# Of each table the time, and its rows as a file holds them: a set with its levels.
_TABLES = {
    "candles": ("open_time", "SELECT t.* FROM candles AS t"),
    "forecast_sets": (
        "origin",
        "SELECT t.* EXCLUDE (level_set), v.levels "
        "FROM forecast_sets AS t JOIN level_sets AS v ON v.id = t.level_set",
    ),
}
FILES = tuple(f"{table}.parquet" for table in _TABLES)
"""The files of an archive."""

# Enough for any number of rows: what doesn't fit is sorted on disk.
_MEMORY = "512MB"
_ROWS_A_GROUP = 8192  # which are held in memory: a set has some hundred numbers


@dataclass(frozen=True, slots=True)
class Archived:
    """Rows of a table that are older than each market's limit; equal rows, equal `fingerprint`."""

    table: str
    rows: int
    fingerprint: str  # of the rows in any order, by this version of DuckDB


class Archiver:
    """Copies old rows into files and deletes them, through one open connection of the store."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Work through `connection`, which the store opens and closes."""
        self._connection = connection

    def look(self, limits: Mapping[str, int]) -> list[Archived]:
        """What is older than the limits (Unix seconds by market), by table."""
        given = parameters(limits)
        return [self._summary(table, _old(table), given) for table in _TABLES]

    def last_served(self, limits: Mapping[str, int]) -> dict[str, int]:
        """The newest served origin below its limit of each market that has one."""
        found = self._connection.execute(
            f"""
            SELECT market, epoch_us(max(t.origin)) // 1000000 FROM forecast_sets AS t
            JOIN {LIMITS} USING (market)
            WHERE t.served AND t.origin < to_timestamp(l.moment) GROUP BY market ORDER BY market
            """,  # noqa: S608 - constants
            parameters(limits),
        ).fetchall()
        return dict(found)

    def write(self, limits: Mapping[str, int], folder: Path) -> dict[str, str]:
        """Write those rows into `FILES` of a new folder; returns the SHA-256 of each by table.

        The folder is whole or absent, and what it holds was read again. Raises StoreError where
        the disk refuses, or gives back something else (`store.archive`).
        """
        found = self.look(limits)
        with arriving(folder) as draft:
            self._connection.execute(f"SET memory_limit = '{_MEMORY}'")
            try:
                for table, (moment, _) in _TABLES.items():
                    self._connection.execute(
                        f"""
                        COPY ({_old(table)} ORDER BY t.market, t.{moment}) TO $file
                        (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false,
                            ROW_GROUP_SIZE {_ROWS_A_GROUP})
                        """,
                        parameters(limits) | {"file": str(draft / f"{table}.parquet")},
                    )
                if self._read_again(draft) != found:
                    raise StoreError(
                        f"{folder} does not hold what was written into it",
                        code="store.archive",
                        hint="check the disk; nothing was deleted",
                    )
            except duckdb.Error as error:
                # What names our file is its fault; the rest is the database's.
                about_file = translate(error, folder) if draft.name in str(error) else None
                raise about_file or error from error
            finally:
                with suppress(duckdb.Error):
                    self._connection.execute("RESET memory_limit")
            return {table: _sha256(draft / f"{table}.parquet") for table in _TABLES}

    def holds(self, folder: Path) -> bool:
        """Whether every row of an archive is in the database too; False for one that is unlike it.

        Rows are told by their hash, so that wide sets need no memory.
        """
        if {path.name for path in folder.iterdir()} != set(FILES):
            return False
        try:
            lost = sum(self._lost(table, folder / f"{table}.parquet") for table in _TABLES)
        except duckdb.Error:
            return False  # not our file, or damaged: a person's business
        return lost == 0

    def delete(self, limits: Mapping[str, int]) -> None:
        """Remove those rows; inside a `with store.write()`."""
        for table, (moment, _) in _TABLES.items():
            self._connection.execute(
                f"""
                DELETE FROM {table} AS t USING {LIMITS}
                WHERE l.market = t.market AND t.{moment} < to_timestamp(l.moment)
                """,  # noqa: S608 - constants
                parameters(limits),
            )

    def _read_again(self, folder: Path) -> list[Archived]:
        return [
            self._summary(
                table,
                "SELECT * FROM read_parquet($file)",
                {"file": str(folder / f"{table}.parquet")},
            )
            for table in _TABLES
        ]

    def _summary(self, table: str, query: str, given: Mapping[str, object]) -> Archived:
        [(rows, fingerprint)] = self._connection.execute(
            f"SELECT count(*), coalesce(bit_xor(hash(r)), 0) FROM ({query}) AS r",  # noqa: S608 - constants
            given,
        ).fetchall()
        return Archived(table, rows, f"{fingerprint:016x}")

    def _lost(self, table: str, file: Path) -> int:
        """How many rows of a file are not in the database."""
        [(rows,)] = self._connection.execute(
            f"""
            SELECT count(*) FROM (SELECT hash(f) AS row FROM read_parquet($file) AS f)
            WHERE row NOT IN (SELECT hash(r) FROM ({_TABLES[table][1]}) AS r)
            """,  # noqa: S608 - constants
            {"file": str(file)},
        ).fetchall()
        return int(rows)


def _old(table: str) -> str:
    """The rows of a table that are older than the limits."""
    moment, rows = _TABLES[table]
    return f"{rows} JOIN {LIMITS} ON l.market = t.market WHERE t.{moment} < to_timestamp(l.moment)"


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
