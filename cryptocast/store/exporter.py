"""Rows of the store as files: DuckDB reads, sorts and writes them by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from cryptocast.errors import StoreError
from cryptocast.store.connection import one_select, quoted, translate
from cryptocast.store.reader import Reader
from cryptocast.values import Market

FORMATS: Mapping[str, str] = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER true, COMPRESSION none",
    ".csv.gz": "FORMAT csv, HEADER true, COMPRESSION gzip",
    ".json": "FORMAT json, ARRAY true, COMPRESSION none",
}
"""How the name of a file may end, and the options with which DuckDB writes it."""

_EVER = (-62_135_596_800, 253_402_300_800)  # the years 1 to 9999
# What doesn't fit is sorted on disk.
_MEMORY = "512MB"
# On the candle grid moments are whole seconds; the others keep their microseconds.
_GRID = ("open_time", "origin", "target_time", "start_time", "end_time")
_BY_SET = "t.market, t.origin, t.model_version, t.step"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table to export, its time column, its order, and the rows that are known at `$now`."""

    name: str
    time: str
    order: str
    visible: str


_TABLES = {
    "candles": _Table(
        "candles", "open_time", "t.market, t.open_time", "epoch(t.open_time) + m.seconds <= $now"
    ),
    "forecasts": _Table("forecasts", "origin", _BY_SET, "t.issued_at <= to_timestamp($now)"),
    "scores": _Table(
        "forecast_scores",
        "origin",
        _BY_SET,
        # The view doesn't say when its forecasts were issued; their set does.
        """t.target_time <= to_timestamp($now) AND EXISTS (
            FROM forecast_sets AS s WHERE s.market = t.market AND s.origin = t.origin
                AND s.model_version = t.model_version AND s.issued_at <= to_timestamp($now))""",
    ),
    # What `evaluate` measured, in the table `scores`; the scores above are of single forecasts.
    "evaluations": _Table("scores", "at", "t.rowid", "t.at <= to_timestamp($now)"),
}
KINDS = tuple(_TABLES)
"""What can be exported."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one of `KINDS`: those of `markets` with a time in `[start, end)`, known by `now`.

    The time is `open_time` for candles, `at` for evaluations, otherwise `origin`; None is no
    bound. Known are candles that had closed, forecasts that had been issued, scores whose
    candle had closed, and evaluations that had been made.
    """

    kind: str
    markets: Sequence[Market]
    start: float | None
    end: float | None
    now: float


@dataclass(frozen=True, slots=True)
class Extent:
    """The rows of a selection, the ids of their markets, and the first and last time."""

    rows: int
    markets: tuple[str, ...]
    first: int
    last: int


def exportable_markets(reader: Reader) -> list[str]:
    """Return the ids of the markets that anything could be exported of, in order."""
    tables = ("candles", "forecast_sets", "scores")
    query = " UNION ".join(f"SELECT market FROM {table}" for table in tables)  # noqa: S608 - constants
    return [row[0] for row in reader.query(f"{query} ORDER BY 1")]


def extent(reader: Reader, selection: Selection) -> Extent | None:
    """Return what a selection holds, or None if it is empty."""
    time = _TABLES[selection.kind].time
    query = f"""
        SELECT count(*), list_sort(list(DISTINCT t.market)),
            epoch_us(min(t.{time})) // 1000000, epoch_us(max(t.{time})) // 1000000
        {_source(selection)}
        """
    [(rows, markets, first, last)] = reader.query(query, _values(selection))
    return Extent(rows, tuple(markets), first, last) if rows else None


def evaluation(
    reader: Reader,
    number: int | None,
    *,
    markets: Sequence[str] | None,
    step: int | None,
    most: int,
) -> list[dict[str, Any]]:
    """Return rows of an evaluation, or of the newest, with the columns of `schemas.SCORES`.

    Besides there are `evaluation`, `in_sample`, and in Unix seconds `at`, `start_time` and
    `end_time`. With `markets` (ids) or `step` only theirs are returned, `most` at most.
    """
    rows = reader.query(
        """
        SELECT to_json(s) FROM (
            SELECT * EXCLUDE (written_at) REPLACE (epoch("at") AS "at",
                epoch(start_time) AS start_time, epoch(end_time) AS end_time)
            FROM scores
            WHERE evaluation = coalesce($number, (SELECT max(evaluation) FROM scores))
                AND ($markets::VARCHAR[] IS NULL OR list_contains($markets, market))
                AND ($step::INTEGER IS NULL OR step = $step)
            ORDER BY rowid LIMIT $most
        ) AS s
        """,
        {"number": number, "markets": markets, "step": step, "most": most},
    )
    return [json.loads(text) for (text,) in rows]


def copy(reader: Reader, selection: Selection, file: Path, suffix: str) -> None:
    """Write a selection, by market and time, into a file of the format of `suffix`.

    Times are TIMESTAMPTZ in Parquet, otherwise ISO 8601 text with `Z`; a number that is not
    finite is NULL in text. Raises StoreError if the file cannot be written, and
    `store.memory` if very wide forecasts cannot be sorted.
    """
    columns = "t.*"
    if suffix != ".parquet":
        columns = _as_text(reader.query(f"DESCRIBE {_TABLES[selection.kind].name}"))
    query = f"""
        COPY (SELECT {columns} {_source(selection)} ORDER BY {_TABLES[selection.kind].order})
        TO $file ({FORMATS[suffix]}, USE_TMP_FILE false)
        """
    try:
        with frugally(reader, file, file):
            reader.query(query, _values(selection) | {"file": str(file)})
    except duckdb.OutOfMemoryException as error:
        detail = str(error).partition("\n")[0]
        raise StoreError(
            f"these {selection.kind} cannot be sorted in {_MEMORY} of memory: {detail}",
            code="store.memory",
            hint="export a shorter range with --start and --end",
        ) from error


@contextmanager
def frugally(reader: Reader, draft: Path, file: Path) -> Iterator[None]:
    """Write `draft`, which becomes `file`, with little memory, enough for any number of rows.

    Raises StoreError, about `file`, for what the draft or its disk refuses.
    """
    reader.query(f"SET memory_limit = '{_MEMORY}'")
    try:
        yield
    except duckdb.Error as error:
        # An error that names our file is the file's; the rest are the database's.
        about_file = translate(error, file) if draft.name in str(error) else None
        raise about_file or error from error
    finally:
        with suppress(duckdb.Error):
            reader.query("RESET memory_limit")


@dataclass(frozen=True, slots=True)
class Asked:
    """The first rows that a query returns, and whether there are more."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]  # times are datetimes in UTC
    more: bool


def ask(copy: Path, sql: str, *, most: int, seconds: float) -> Asked:
    """Return at most `most` rows of one SELECT, run on a copy of the database.

    Raises UsageError (`usage.sql`) for anything but one SELECT, for an error in it, and if it
    takes longer than `seconds`.
    """
    with one_select(copy, sql, seconds, None) as (connection, rows):
        cursor = connection.execute(f"SELECT * FROM {rows} LIMIT {most + 1}")  # noqa: S608 - it is meant to be SQL, in a sandbox
        columns = tuple(str(column[0]) for column in cursor.description or ())
        found = cursor.fetchmany(most + 1)
    return Asked(columns, tuple(found[:most]), len(found) > most)


def copy_asked(copy: Path, sql: str, file: Path, suffix: str, *, most: int, seconds: float) -> int:
    """Write at most `most` rows of one SELECT into a file; return how many these are.

    Raises what `ask` raises, and StoreError if the file cannot be written.
    """
    with one_select(copy, sql, seconds, file) as (connection, rows):
        columns = "*"
        if suffix != ".parquet":
            described = connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()  # noqa: S608 - as above
            columns = _as_text(described)
        [(count,)] = connection.execute(
            f"COPY (SELECT {columns} FROM {rows} LIMIT {most}) TO '{quoted(file)}'"  # noqa: S608 - as above
            f" ({FORMATS[suffix]}, USE_TMP_FILE false)"
        ).fetchall()
    return int(count)


def _source(selection: Selection) -> str:
    table = _TABLES[selection.kind]
    return f"""
        FROM {table.name} AS t JOIN (
            SELECT unnest($markets::VARCHAR[]) AS market, unnest($seconds::BIGINT[]) AS seconds
        ) AS m ON m.market = t.market
        WHERE t.{table.time} >= to_timestamp($start) AND t.{table.time} < to_timestamp($end)
            AND {table.visible}
        """


def _values(selection: Selection) -> dict[str, object]:
    return {
        "markets": [market.id for market in selection.markets],
        "seconds": [market.interval_seconds for market in selection.markets],
        "start": _EVER[0] if selection.start is None else selection.start,
        "end": _EVER[1] if selection.end is None else selection.end,
        "now": float(selection.now),
    }


def _as_text(described: Sequence[tuple[Any, ...]]) -> str:
    """Return the expressions of the described columns as CSV and JSON show them."""
    expressions = []
    for name, sql_type, *_ in described:
        text = f't."{name}"'
        if str(sql_type) == "TIMESTAMP WITH TIME ZONE":
            fraction = "" if name in _GRID else ".%f"
            text = f"strftime({text}, '%Y-%m-%dT%H:%M:%S{fraction}Z')"
        elif str(sql_type) == "DOUBLE":
            text = f"CASE WHEN isfinite({text}) THEN {text} END"
        expressions.append(f'{text} AS "{name}"')
    return ", ".join(expressions)
