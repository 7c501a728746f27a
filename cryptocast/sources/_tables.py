"""Candles out of one Parquet or CSV file, whatever its columns are like.

DuckDB reads both in the tick at a tenth of the import cost of polars. This is the one
exception to "only `store` touches DuckDB": the connection is in memory, for files only, and
never opens the database of a workspace.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from cryptocast.errors import SourceError
from cryptocast.sources import _columns
from cryptocast.sources._columns import quoted
from cryptocast.values import Candles, FloatArray


@dataclass(frozen=True, slots=True)
class _Table:
    """How one file is read; `scan` and `time.inside` have parameters: path, start, end."""

    scan: str
    time: _columns.Time
    columns: Mapping[str, str]  # ours -> theirs, without the time
    texts: tuple[str, ...]  # those of theirs that are text


class Tables:
    """An in-memory DuckDB that reads files of candles, and remembers how each is read.

    `columns` are the settings': our names to those in the files.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._wanted = columns
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._known: dict[tuple[str, int, int], _Table] = {}

    def read(self, file: Path, start: int, end: int) -> Candles:
        """The rows of a file with a time in `[start, end)`, in its order.

        Raises SourceError: source.no_file, source.empty_file, source.bad_file.
        """
        table = self._table(file)
        wrong = [f"({_columns.not_a_number(name)})" for name in table.texts]
        parts = [
            _columns.number(name, _columns.TEXT if name in table.texts else "")
            for name in table.columns.values()
        ]
        selected = [f"{table.time.seconds} AS t", f"{' OR '.join(wrong) or 'false'} AS bad"]
        selected += [f"{part} AS p{i}" for i, part in enumerate(parts)]
        # A row whose time cannot be read might belong here: it comes along, to be told.
        query = (
            f"SELECT {', '.join(selected)} FROM {table.scan} "  # noqa: S608 - names are quoted
            f"WHERE ({table.time.inside}) OR {table.time.seconds} IS NULL"
        )
        found = self._run(file, query, [start, end], "fetchnumpy")
        # DuckDB masks a column only where it holds a NULL; numpy.ma itself is slow to import.
        if np.any(getattr(found["t"], "mask", False)):
            missing = f"{table.time.seconds} IS NULL"
            raise self._bad_value(file, table, table.time.column, missing, "a time")
        if np.any(found["bad"]):
            conditions = {name: _columns.not_a_number(name) for name in table.texts}
            name = next(n for n, c in conditions.items() if self._where(file, table, n, c))
            raise self._bad_value(file, table, name, conditions[name], "a number")
        prices = [_filled(found[f"p{i}"]) for i in range(len(parts))]
        return Candles.of(np.asarray(found["t"], dtype=np.int64), *prices)

    def bounds(self, file: Path) -> tuple[int, int] | None:
        """The first and the last time in a file in Unix seconds; None where it has no row."""
        table = self._table(file)
        seconds = table.time.seconds
        query = f"SELECT min({seconds}), max({seconds}) FROM {table.scan}"  # noqa: S608
        first, last = self._run(file, query, [], "fetchall")[0]
        return None if first is None else (int(first), int(last))

    def close(self) -> None:
        """Give back the memory."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _table(self, file: Path) -> _Table:
        """How a file is read; found out again only when the file has changed."""
        try:
            state = file.stat()
        except OSError:
            message = f"there is no file {file}"
            raise SourceError(message, code="source.no_file", hint="check [source] path") from None
        if state.st_size == 0:
            message = f"{file} is empty"
            raise SourceError(message, code="source.empty_file", hint="check [source] path")
        key = (str(file), state.st_mtime_ns, state.st_size)
        if key not in self._known:
            self._known[key] = self._discover(file)
        return self._known[key]

    def _discover(self, file: Path) -> _Table:
        # All of a CSV is read as text: a type guessed from its first rows fails at a later one.
        text = file.name.lower().endswith((".csv", ".csv.gz"))
        scan = "read_csv(?, all_varchar=true, header=true)" if text else "read_parquet(?)"
        described = self._run(file, f"DESCRIBE SELECT * FROM {scan}", [], "fetchall")  # noqa: S608
        types = {str(row[0]): str(row[1]) for row in described}
        time_column, columns = _columns.choose(file, types, self._wanted)

        def magnitude(number: str) -> tuple[int, int, float | None]:
            query = f"SELECT count(*), count({number}), max(abs({number})) FROM {scan}"  # noqa: S608
            row: tuple[int, int, float | None] = self._run(file, query, [], "fetchall")[0]
            return row

        time = _columns.time_of(file, time_column, types[time_column], magnitude)
        texts = tuple(name for name in columns.values() if types[name] == _columns.TEXT)
        return _Table(scan, time, columns, texts)

    def _run(self, file: Path, query: str, values: Sequence[object], fetch: str) -> Any:
        """Run a query over a file; what DuckDB says of it becomes a SourceError."""
        if self._connection is None:
            self._connection = duckdb.connect(":memory:")
            # Text without an offset is UTC, whatever the machine's own zone.
            self._connection.execute("SET TimeZone = 'UTC'")
        try:
            # The path is a parameter, and still a glob to DuckDB: its own `[` and `*` are escaped.
            done = self._connection.execute(query, [glob.escape(str(file)), *values])
            return getattr(done, fetch)()
        except duckdb.Error as error:
            first = " ".join(" ".join(str(error).splitlines()[:2]).split())[:200]
            raise bad_file(
                f"{file} cannot be read: {first}", hint="check that it is whole, or write it again"
            ) from None

    def _where(self, file: Path, table: _Table, column: str, wrong: str) -> list[tuple[int, Any]]:
        """The number (from 1) and the value of the first row of a file that is `wrong`."""
        value = f"row_number() OVER () AS number, {quoted(column)} AS value, {wrong} AS wrong"
        rows = f"SELECT {value} FROM {table.scan}"  # noqa: S608 - names are quoted
        query = (
            f"SELECT number, CAST(value AS VARCHAR) FROM ({rows}) WHERE wrong ORDER BY 1 LIMIT 1"  # noqa: S608
        )
        found: list[tuple[int, Any]] = self._run(file, query, [], "fetchall")
        return found

    def _bad_value(
        self, file: Path, table: _Table, column: str, wrong: str, wish: str
    ) -> SourceError:
        number, value = self._where(file, table, column, wrong)[0]
        shown = "nothing" if value is None else repr(value[:40])
        return bad_file(
            f"{file}: column '{column}' of row {number} holds {shown}, which is not {wish}",
            hint="mend or remove that row",
        )


def bad_file(message: str, *, hint: str) -> SourceError:
    """The error of a file that cannot be used."""
    return SourceError(message, code="source.bad_file", hint=hint)


def _filled(column: Any) -> FloatArray:
    """A column that DuckDB gave, its NULLs as NaN: whether to drop them is not judged here."""
    numbers = column.astype(np.float64)
    return np.asarray(numbers.filled(np.nan) if hasattr(numbers, "filled") else numbers)
