"""Old rows: which there are, their archive in files, and their removal.

A row of a market is old if it is older than the market's limit. Limits are Unix seconds by
the market's id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cryptocast.drafts import arriving
from cryptocast.errors import StoreError
from cryptocast.store.exporter import frugally
from cryptocast.store.reader import Reader
from cryptocast.store.writer import Writer

KEPT_ORIGINS = 2016
"""How many of a market's newest origins, and of its newest candles, always stay."""

TABLES: Mapping[str, str] = {
    "candles": "open_time",
    "missing_bars": "open_time",
    "forecast_sets": "origin",
    "ticks": "origin",
    "events": '"at"',
}
"""The tables whose rows grow old, with the column of their age."""

# What an archive holds of each table: a set with its levels.
_ARCHIVED = {
    "candles": "SELECT t.* FROM candles AS t",
    "forecast_sets": "SELECT t.* EXCLUDE (level_set), v.levels "
    "FROM forecast_sets AS t JOIN level_sets AS v ON v.id = t.level_set",
}
FILES = tuple(f"{table}.parquet" for table in _ARCHIVED)
"""The files of an archive."""

_LIMITS = """(
    SELECT unnest($markets::VARCHAR[]) AS market, unnest($moments::BIGINT[]) AS moment
) AS l"""
_MARKETS = " UNION ".join(f"SELECT market FROM {table}" for table in TABLES)  # noqa: S608 - constants
_ROWS_PER_GROUP = 8192  # which are held in memory: a set has some hundred numbers


@dataclass(frozen=True, slots=True)
class OldRows:
    """The old rows of a table."""

    table: str
    rows: int
    first: int  # time of the oldest
    last: int  # and of the newest


@dataclass(frozen=True, slots=True)
class Archived:
    """Old rows of a table that an archive takes; equal rows have an equal `fingerprint`."""

    table: str
    rows: int
    fingerprint: str  # of the rows in any order, by this version of DuckDB


def limits(reader: Reader, before: float, kept_candles: int) -> dict[str, int]:
    """Return the limit of each market: `before`, or earlier.

    A market's newest `KEPT_ORIGINS` origins stay, and its newest `kept_candles` candles, but
    no fewer than `KEPT_ORIGINS` of them. So do all rows of the same time: what is kept can
    be scored, and drawn, as it was.
    """
    candles = max(kept_candles, KEPT_ORIGINS)
    rows = reader.query(
        f"""
        WITH newest AS (
            SELECT market, list_min(max(origin, {KEPT_ORIGINS})) AS moment
            FROM (SELECT DISTINCT market, origin FROM forecast_sets) GROUP BY market
            UNION ALL
            SELECT market, list_min(max(open_time, {candles})) FROM candles GROUP BY market
        )
        SELECT market, epoch_us(least(to_timestamp($before), min(moment))) // 1000000
        FROM ({_MARKETS}) LEFT JOIN newest USING (market)
        WHERE market IS NOT NULL GROUP BY market ORDER BY market
        """,  # noqa: S608 - constants and a number
        {"before": float(before)},
    )
    return dict(rows)


def old_rows(reader: Reader, limits: Mapping[str, int]) -> list[OldRows]:
    """Return what is old, by table; tables without old rows are left out.

    Deployments, evaluations and events without a market are never old.
    """
    tables = []
    for table, moment in TABLES.items():
        [(rows, first, last)] = reader.query(
            f"""
            SELECT count(*), epoch_us(min(t.{moment})) // 1000000,
                epoch_us(max(t.{moment})) // 1000000
            FROM {table} AS t JOIN {_LIMITS} ON l.market = t.market
            WHERE t.{moment} < to_timestamp(l.moment)
            """,  # noqa: S608 - constants
            _parameters(limits),
        )
        if rows:
            tables.append(OldRows(table, rows, first, last))
    return tables


def delete(writer: Writer, limits: Mapping[str, int], tables: Collection[str] = TABLES) -> None:
    """Remove the old rows of these tables."""
    for table in tables:
        moment = TABLES[table]
        writer.query(
            f"""
            DELETE FROM {table} AS t USING {_LIMITS}
            WHERE l.market = t.market AND t.{moment} < to_timestamp(l.moment)
            """,  # noqa: S608 - constants
            _parameters(limits),
        )


def versions_since(reader: Reader, moment: float) -> set[str]:
    """Return the versions with a set that was written at or after a moment, served or shadow."""
    rows = reader.query(
        "SELECT DISTINCT model_version FROM forecast_sets WHERE written_at >= to_timestamp(?)",
        [float(moment)],
    )
    return {version for (version,) in rows}


def last_served(reader: Reader, limits: Mapping[str, int]) -> dict[str, int]:
    """Return the newest served origin below the limit of each market that has one."""
    rows = reader.query(
        f"""
        SELECT market, epoch_us(max(t.origin)) // 1000000 FROM forecast_sets AS t
        JOIN {_LIMITS} USING (market)
        WHERE t.served AND t.origin < to_timestamp(l.moment) GROUP BY market ORDER BY market
        """,  # noqa: S608 - constants
        _parameters(limits),
    )
    return dict(rows)


def archivable(reader: Reader, limits: Mapping[str, int]) -> list[Archived]:
    """Return what an archive of the old rows would hold, by table."""
    return [_summary(reader, table, _old(table), _parameters(limits)) for table in _ARCHIVED]


def archive(reader: Reader, limits: Mapping[str, int], folder: Path) -> dict[str, str]:
    """Write the old rows into `FILES` of a new folder; return the SHA-256 of each by table.

    The folder is whole or absent, and its contents were read again. Raises StoreError if
    the disk refuses, or gives back something else (`store.archive`).
    """
    expected = archivable(reader, limits)
    with arriving(folder) as draft, frugally(reader, draft, folder):
        for table in _ARCHIVED:
            reader.query(
                f"""
                COPY ({_old(table)} ORDER BY t.market, t.{TABLES[table]}) TO $file
                (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false,
                    ROW_GROUP_SIZE {_ROWS_PER_GROUP})
                """,
                {**_parameters(limits), "file": str(draft / f"{table}.parquet")},
            )
        if _read_again(reader, draft) != expected:
            raise StoreError(
                f"{folder} does not hold what was written into it",
                code="store.archive",
                hint="check the disk; nothing was deleted",
            )
        return {table: _sha256(draft / f"{table}.parquet") for table in _ARCHIVED}


def delete_archived(writer: Writer, limits: Mapping[str, int]) -> None:
    """Remove the old rows that an archive takes."""
    delete(writer, limits, tuple(_ARCHIVED))


def is_stored(reader: Reader, folder: Path) -> bool:
    """Return whether every row of an archive is in the database too; False for another folder.

    Rows are compared by their hash, so that wide sets need no memory.
    """
    if {path.name for path in folder.iterdir()} != set(FILES):
        return False
    try:
        lost = sum(_lost(reader, table, folder / f"{table}.parquet") for table in _ARCHIVED)
    except duckdb.Error:
        return False  # not our file, or damaged: a person's business
    return lost == 0


def _parameters(limits: Mapping[str, int]) -> dict[str, object]:
    """Return the values for `_LIMITS`."""
    return {"markets": list(limits), "moments": list(limits.values())}


def _old(table: str) -> str:
    """Return the query for the old rows of a table, as an archive holds them."""
    return (
        f"{_ARCHIVED[table]} JOIN {_LIMITS} ON l.market = t.market "
        f"WHERE t.{TABLES[table]} < to_timestamp(l.moment)"
    )


def _read_again(reader: Reader, folder: Path) -> list[Archived]:
    query = "SELECT * FROM read_parquet($file)"
    files = {table: {"file": str(folder / f"{table}.parquet")} for table in _ARCHIVED}
    return [_summary(reader, table, query, file) for table, file in files.items()]


def _summary(reader: Reader, table: str, query: str, parameters: Mapping[str, object]) -> Archived:
    [(rows, fingerprint)] = reader.query(
        f"SELECT count(*), coalesce(bit_xor(hash(r)), 0) FROM ({query}) AS r",  # noqa: S608 - constants
        parameters,
    )
    return Archived(table, rows, f"{fingerprint:016x}")


def _lost(reader: Reader, table: str, file: Path) -> int:
    """Count the rows of a file that are not in the database."""
    [(rows,)] = reader.query(
        f"""
        SELECT count(*) FROM (SELECT hash(f) AS row FROM read_parquet($file) AS f)
        WHERE row NOT IN (SELECT hash(r) FROM ({_ARCHIVED[table]}) AS r)
        """,  # noqa: S608 - constants
        {"file": str(file)},
    )
    return int(rows)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
