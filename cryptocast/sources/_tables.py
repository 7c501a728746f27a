"""Candles from one file of any format, whatever its columns look like.

In a tick, DuckDB reads files at a tenth of the import cost of polars. This is the only exception
to "only `store` touches DuckDB": the connection is in memory, for files only, and never opens the
database of a workspace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
import numpy as np

from cryptocast.errors import SourceError
from cryptocast.sources import _columns, _content, _formats, _sql
from cryptocast.sources._content import bad_file
from cryptocast.sources._sql import quoted
from cryptocast.sources._text import Rows
from cryptocast.values import Candles, FloatArray, IntArray, Market

_SAMPLE_ROWS = 1000
# Nothing is ever downloaded: all readers in use come with DuckDB.
_OFFLINE: Mapping[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # A file that is small on the disk may be made to fill the memory.
    "memory_limit": "2GB",
    "max_temp_directory_size": "0B",
}


@dataclass(frozen=True, slots=True)
class View:
    """Which rows of a file are a market's, and what makes their time."""

    only: tuple[str, str] | None = None  # a column, and its value in our rows; None: all are ours
    joined: tuple[str, str] | None = None  # the columns of the day and of the time of day


@dataclass(frozen=True, slots=True)
class Table:
    """The way to read a market's rows in one file, and what is known of them."""

    time: _sql.Time
    columns: Mapping[str, str]  # ours -> theirs, without the time
    texts: tuple[str, ...]  # those of theirs that hold text
    view: View
    sample: IntArray  # the first times in Unix seconds, in the order of the file
    remarks: tuple[str, ...]

    @property
    def newest_first(self) -> bool:
        """True if the file begins with its newest row."""
        steps = np.diff(self.sample)
        return bool(np.count_nonzero(steps < 0) > np.count_nonzero(steps > 0))


class Tables:
    """An in-memory DuckDB that reads files of candles, and remembers how to read each.

    `columns` comes from the settings: our names to those in the files. Threads may share it.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._wanted = columns
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._tables: dict[tuple[str, int, int, Market], Table] = {}
        self._lock = Lock()

    def read(self, file: Path, market: Market, start: int, end: int) -> Candles:
        """Return a market's rows of a file with a time in `[start, end)`, in the order of the file.

        Raise SourceError: source.no_file, source.empty_file, source.bad_file; and ConfigError
        if the file says that none of its rows belongs to the market (`_columns.market_value`).
        """
        table = self.table(file, market)
        if table.time.outside(start, end):
            return Candles.empty()
        with self._lock, self._rows(file, table.view) as rows:
            candles = self._select(file, rows, table, start, end)
        # The last row of a time counts, which is the first of a file with its newest row first.
        return candles.take(slice(None, None, -1)) if table.newest_first else candles

    def table(self, file: Path, market: Market) -> Table:
        """Return what is known of a market's rows; looked at again only if the file has changed.

        Raise what `read` raises.
        """
        try:
            state = file.stat()
        except OSError:
            message = f"there is no file {file}"
            raise SourceError(message, code="source.no_file", hint="check [source] path") from None
        if state.st_size == 0:
            raise _content.empty_file(file)
        key = (str(file), state.st_mtime_ns, state.st_size, market)
        with self._lock:
            if key not in self._tables:
                _formats.check(file)
                with self._rows(file) as rows:
                    self._demand_bounded(file, rows)
                    self._tables[key] = self._discover(file, rows, market)
            return self._tables[key]

    def close(self) -> None:
        """Release the memory; a later `read` takes it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @property
    def _duckdb(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = duckdb.connect(":memory:", config=dict(_OFFLINE))
            # Text without an offset is UTC, whatever the time zone of the machine.
            self._connection.execute("SET TimeZone = 'UTC'")
        return self._connection

    @contextmanager
    def _rows(self, file: Path, view: View = View()) -> Iterator[Rows]:
        """Yield a view of the rows of a file, with DuckDB knowing what SQL cannot read."""
        with _formats.opened(file) as rows:
            if rows.arrow is not None:
                with self._translated(file):  # it may hold types that DuckDB does not know
                    self._duckdb.register(rows.scan, rows.arrow)
            try:
                yield self._viewed(rows, view)
            finally:
                if rows.arrow is not None:
                    self._duckdb.unregister(rows.scan)

    def _demand_bounded(self, file: Path, rows: Rows) -> None:
        """Refuse a Parquet file that unpacks to gigabytes; other formats are unpacked by us."""
        if rows.scan.startswith("read_parquet"):
            name = _sql.path_literal(file)
            counted = f"SELECT sum(num_rows) FROM parquet_file_metadata({name})"  # noqa: S608 - quoted
            self._demand_few(file, self._run(file, counted)[0][0])
            packed = f"SELECT sum(total_uncompressed_size) FROM parquet_metadata({name})"  # noqa: S608 - quoted
            if (self._run(file, packed)[0][0] or 0) > _formats.MAX_UNPACKED_BYTES:
                raise _formats.too_large(file, f"{_formats.MAX_UNPACKED_BYTES:,} bytes")

    @staticmethod
    def _demand_few(file: Path, count: int | None) -> None:
        if (count or 0) > _formats.MAX_ROWS:
            raise _formats.too_large(file, f"{_formats.MAX_ROWS:,} rows")

    def _viewed(self, rows: Rows, view: View) -> Rows:
        scan = rows.scan
        if view.joined is not None:
            both, name = _sql.day_and_time(*view.joined), quoted(" ".join(view.joined))
            scan = f"(SELECT *, {both} AS {name} FROM {scan})"  # noqa: S608 - names are quoted
        if view.only is not None:
            column, value = view.only
            self._duckdb.execute("SET VARIABLE wanted = ?", [value])
            scan = f"(SELECT * FROM {scan} WHERE {quoted(column)} = getvariable('wanted'))"  # noqa: S608
        return replace(rows, scan=scan)

    def _select(self, file: Path, rows: Rows, table: Table, start: int, end: int) -> Candles:
        wrong = {name: _sql.not_a_number(name) for name in table.texts}
        parts = [
            _sql.number(name, _sql.TEXT if name in table.texts else "")
            for name in table.columns.values()
        ]
        selected = [f"{table.time.seconds} AS t"]
        selected += [f"{part} AS p{i}" for i, part in enumerate(parts)]
        if wrong:
            selected.append(f"{' OR '.join(f'({w})' for w in wrong.values())} AS bad")
        query = f"SELECT {', '.join(selected)} FROM {rows.scan} WHERE {table.time.inside}"  # noqa: S608
        result = self._run(file, query, [start, end], fetch="fetchnumpy")
        if wrong and np.any(result["bad"]):
            name = next(n for n, w in wrong.items() if self._where(file, rows, n, w))
            raise self._bad_value(file, rows, name, wrong[name], "a number")
        prices = [_filled(result[f"p{i}"]) for i in range(len(parts))]
        return Candles.of(np.asarray(result["t"], dtype=np.int64), *prices)

    def _discover(self, file: Path, rows: Rows, market: Market) -> Table:
        described = self._run(file, f"DESCRIBE SELECT * FROM {rows.scan}")  # noqa: S608 - names are quoted
        types = {str(row[0]): str(row[1]) for row in described}
        wanted = _columns.positions(types, self._wanted) if rows.positional else self._wanted
        time_column, columns = _columns.choose(file, types, wanted, market)
        view = View(
            self._only(file, rows, types, market), self._joined(file, rows, types, time_column)
        )
        rows = self._viewed(rows, view)
        if view.joined is not None:
            time_column = " ".join(view.joined)
            types[time_column] = _sql.TEXT

        def measure(number: str) -> _sql.Extent:
            values = f"count(*), count({number}), min({number}), max({number})"
            query = f"SELECT {values} FROM {rows.scan}"  # noqa: S608 - names are quoted
            extent: _sql.Extent = self._run(file, query)[0]
            self._demand_few(file, extent[0])
            return extent

        time = _sql.time_of(file, time_column, types[time_column], measure)
        if not time.all_readable:
            wish = "a time from 2001 to 2286"
            raise self._bad_value(file, rows, time_column, time.unreadable, wish)
        if rows.positional:
            self._check_order(file, rows, time, columns)
        query = f"SELECT {time.seconds} AS t FROM {rows.scan} LIMIT {_SAMPLE_ROWS}"  # noqa: S608
        sample = np.asarray(self._run(file, query, fetch="fetchnumpy")["t"], dtype=np.int64)
        texts = tuple(name for name in columns.values() if types[name] == _sql.TEXT)
        unused = [] if "volume" in columns else _columns.volumes(types)
        remarks = [f"{file.name}: no volume is taken, as it may be {' or '.join(unused)}"]
        return Table(time, columns, texts, view, sample, tuple(remarks if unused else ()))

    def _joined(
        self, file: Path, rows: Rows, types: Mapping[str, str], day: str
    ) -> tuple[str, str] | None:
        """Return the columns of the day and of the time of day if these are two columns."""
        time = _columns.time_of_day(types, day)
        if time is None or self._where(file, rows, time, _sql.no_time_of_day(time)):
            return None
        return day, time

    def _only(
        self, file: Path, rows: Rows, types: Mapping[str, str], market: Market
    ) -> tuple[str, str] | None:
        """Return the column that names markets, and its value in the rows of this market."""
        column = _columns.market_column(types)
        if column is None:
            return None
        name = quoted(column)
        query = (
            f"SELECT DISTINCT {name} FROM {rows.scan} "  # noqa: S608 - names are quoted
            f"WHERE {name} IS NOT NULL LIMIT {_columns.MOST_MARKETS}"
        )
        values = [row[0] for row in self._run(file, query)]
        value = _columns.market_value(file, values, market)
        return None if value is None or len(values) == 1 else (column, value)

    def _check_order(
        self, file: Path, rows: Rows, time: _sql.Time, columns: Mapping[str, str]
    ) -> None:
        """Refuse unnamed columns in another order than ours, as some venues write them."""
        names = [name for name in _columns.PRICE_NAMES if name in columns]
        numbers = [f"{_sql.number(columns[ours], _sql.TEXT)} AS {ours}" for ours in names]
        query = (
            f"SELECT * FROM (SELECT {time.seconds} AS t, {', '.join(numbers)} FROM {rows.scan}) "  # noqa: S608
            f"WHERE NOT (open = high AND high = low AND low = close) LIMIT {_SAMPLE_ROWS}"
        )
        result = self._run(file, query, fetch="fetchnumpy")
        candles = Candles.of(result["t"], *(_filled(result[name]) for name in names))
        if _columns.out_of_order(candles.take(np.argsort(candles.open_time, kind="stable"))):
            raise bad_file(
                f"{file} names no columns, and they are not time, open, high, low, close, volume",
                hint='say which is which: [source] columns = { open = "column3", low = "column1" }',
            )

    def _run(
        self, file: Path, query: str, values: Sequence[object] = (), *, fetch: str = "fetchall"
    ) -> Any:
        """Run a query over a file; an error of DuckDB becomes a SourceError."""
        with self._translated(file):
            return getattr(self._duckdb.execute(query, values), fetch)()

    @staticmethod
    @contextmanager
    def _translated(file: Path) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            lines = str(error).removeprefix("Invalid Input Error: ").splitlines()
            if "state machine" in lines[0]:
                lines = ["its lines end in more than one way, or a quote is left open"]
            raise _content.broken(file, " ".join(lines[:3])) from None

    def _where(self, file: Path, rows: Rows, column: str, wrong: str) -> list[tuple[int, Any]]:
        """Return the number (from 1) and the value of the first row of a file that is `wrong`."""
        value = f"row_number() OVER () AS number, {quoted(column)} AS value, {wrong} AS wrong"
        query = (
            "SELECT number, CAST(value AS VARCHAR) "  # noqa: S608 - names are quoted
            f"FROM (SELECT {value} FROM {rows.scan}) WHERE wrong ORDER BY 1 LIMIT 1"
        )
        first: list[tuple[int, Any]] = self._run(file, query)
        return first

    def _bad_value(self, file: Path, rows: Rows, column: str, wrong: str, wish: str) -> SourceError:
        number, value = self._where(file, rows, column, wrong)[0]
        shown = "nothing" if value is None else repr(value[:40])
        return bad_file(
            f"{file}: column '{column}' of row {number} holds {shown}, which is not {wish}",
            hint="mend or remove that row",
        )


def _filled(column: Any) -> FloatArray:
    """Return a column from DuckDB with its NULLs as NaN; whether to drop them is decided later."""
    numbers = column.astype(np.float64, copy=False)
    return np.asarray(numbers.filled(np.nan) if hasattr(numbers, "filled") else numbers)
