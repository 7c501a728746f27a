"""SQL that reads candles out of a file: rows of CSV and JSON as text, then numbers and times.

All values of CSV and JSON are read as text: a type guessed from the first rows fails at a later
one. DuckDB's own CSV sniffer is not used (tried with 2.0): it skips a first row that is too
short, and takes a first row of times in words for a header, so a candle is lost silently; and if
a later row is too short it chooses another delimiter instead of naming the row.

Names from files are not trusted: they reach SQL only through `quoted` and `literal`.
"""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptocast.errors import SourceError
from cryptocast.sources._grid import PLAUSIBLE_SECONDS

TEXT = "VARCHAR"
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
# The size of a number says its unit: in seconds, 10^11 is the year 5138.
_UNITS = ((1e11, 1), (1e14, 10**3), (1e17, 10**6))
_NANOSECONDS = 10**9

_DELIMITERS = ",;\t|"
BOM = b"\xef\xbb\xbf"
_FEWEST_COLUMNS = 5  # a time and four prices

Extent = tuple[int, int, float | None, float | None]
Measure = Callable[[str], Extent]
"""For SQL of a number: the number of rows, of rows that have it, its least and its greatest."""


@dataclass(frozen=True, slots=True)
class Rows:
    """SQL of a table that DuckDB reads.

    `positional`: the file names no columns; they are `column0`, `column1`, ... from the left.
    `arrow` is the table to register under the name `scan`, for a file that no SQL reads.
    """

    scan: str
    positional: bool = False
    arrow: object | None = None


@dataclass(frozen=True, slots=True)
class Time:
    """A time column in SQL: `seconds` (NULL: unreadable), `inside` with parameters start, end.

    `first` and `last` are the bounds of its times in Unix seconds, None if it has none.
    """

    column: str
    seconds: str
    inside: str
    first: int | None
    last: int | None
    all_readable: bool

    @property
    def unreadable(self) -> str:
        """SQL that is true for a row without a time that a candle may have."""
        first, end = PLAUSIBLE_SECONDS
        return f"({self.seconds} IS NULL OR {self.seconds} < {first} OR {self.seconds} >= {end})"

    def outside(self, start: int, end: int) -> bool:
        """Return whether no row can be in `[start, end)`."""
        return self.first is None or self.last is None or self.last < start or self.first >= end


def quoted(name: str) -> str:
    """Return the name of a column as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def path_literal(path: Path) -> str:
    """Return a path as an SQL literal; DuckDB takes it for a glob, so `[` and `*` are escaped."""
    return literal(glob.escape(str(path)))


def day_and_time(day: str, time: str) -> str:
    """Return SQL of a day and a time of day as one text."""
    return " || ' ' || ".join(f"trim(CAST({quoted(name)} AS VARCHAR))" for name in (day, time))


def no_time_of_day(column: str) -> str:
    """Return SQL that is true if a column holds something other than a time of day."""
    text = f"trim(CAST({quoted(column)} AS VARCHAR))"
    return rf"coalesce(NOT regexp_full_match({text}, '\d?\d:\d\d(:\d\d(\.\d+)?)?'), true)"


def number(column: str, kind: str) -> str:
    """Return SQL of a column as a number; NULL if it holds none."""
    # DuckDB would push a bare cast of text down into its CSV reader, where even TRY_CAST fails
    # on the first text that is not a number (seen in 2.0.0); trim() prevents that.
    return f"TRY_CAST({f'trim({quoted(column)})' if kind == TEXT else quoted(column)} AS DOUBLE)"


def not_a_number(column: str) -> str:
    """Return SQL that is true if a text column holds something other than a number."""
    return f"{quoted(column)} IS NOT NULL AND {number(column, TEXT)} IS NULL"


def is_numeric(kind: str) -> bool:
    """Return whether an SQL type is one of numbers."""
    return kind.removeprefix("U").startswith(_NUMBERS)


def column_hint(ours: str) -> str:
    """Return a hint: how to say which column of a file is the one that we call `ours`."""
    return f'name the right one: [source] columns = {{ {ours} = "its name" }}'


def csv_rows(path: Path, head: bytes, compression: str) -> Rows | None:
    """Return how to read a CSV that begins with `head`, or None if it holds no line.

    The first line is a header unless each of its values is a number, a time or empty. All
    details of the dialect are fixed here, so that DuckDB guesses nothing and skips no row.
    """
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        return None
    # Words may precede the header. A line that looks like a row with values missing is not
    # skipped as such: it is read, so that it can be reported.
    first = next(
        (i for i in filled if len(_fields(lines[i])) >= _FEWEST_COLUMNS or _is_row(lines[i])),
        filled[0],
    )
    positional = _is_row(lines[first])
    names: list[str] = []
    for i, field in enumerate(_fields(lines[first])):
        unnamed = positional or not field or field in names
        names.append(f"column{i}" if unnamed else field)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    return Rows(
        f"read_csv({path_literal(path)}, auto_detect=false, columns={{{columns}}}, "
        f"header={'false' if positional else 'true'}, delim={literal(_delimiter(lines[first]))}, "
        f"quote='\"', escape='\"', comment='', skip={first}, compression='{compression}', "
        "hive_partitioning=false)",
        positional,
    )


def json_rows(path: Path, head: bytes, compression: str) -> Rows:
    """Return how to read JSON: a list of lists, a list of objects, or objects in sequence."""
    text = head.removeprefix(BOM).decode("utf-8", errors="replace")
    kept = f"compression='{compression}', hive_partitioning=false"
    if re.match(r"\s*\[\s*[\[\]]", text):
        # Numbers and quoted numbers (Binance's) both become text here.
        columns = ", ".join(f"json[{i + 1}] AS column{i}" for i in range(_width(text)))
        return Rows(
            f"(SELECT {columns} FROM read_json({path_literal(path)}, format='array', "  # noqa: S608 - a path, quoted
            f"records=false, columns={{json: 'VARCHAR[]'}}, {kept}))",
            positional=True,
        )
    layout = "array" if re.match(r"\s*\[", text) else "unstructured"
    return Rows(
        f"(SELECT COLUMNS(*) ->> '$' FROM read_json({path_literal(path)}, format='{layout}', "  # noqa: S608 - as above
        "records=true, maximum_depth=1, field_appearance_threshold=0, "
        f"map_inference_threshold=-1, {kept}))"
    )


def time_of(file: Path, column: str, kind: str, measure: Measure) -> Time:
    """Return how a time column of SQL type `kind` is read; a time without an offset is UTC.

    The condition compares the column as it is stored if possible, so that row groups outside
    the range are never read. Raise SourceError (`source.bad_file`) if the column holds no times.
    """
    name = quoted(column)
    stamp, moment = name, "to_timestamp(?)"
    if kind == "FLOAT":
        message = f"{file}: column '{column}' holds 32-bit numbers, too coarse for times"
        raise SourceError(message, code="source.bad_file", hint=column_hint("open_time"))
    if kind.startswith(("TIMESTAMP", "DATE")):
        if kind != "TIMESTAMP WITH TIME ZONE":
            stamp = f"CAST({name} AS TIMESTAMP)"
            moment = "make_timestamp(CAST(? AS BIGINT) * 1000000)"
    elif kind != TEXT and not is_numeric(kind):
        message = f"{file}: column '{column}' holds {kind}, not times"
        raise SourceError(message, code="source.bad_file", hint=column_hint("open_time"))
    else:
        value = number(column, kind) if kind == TEXT else name
        if kind in (TEXT, "DOUBLE"):
            value = f"if(isfinite({value}), {value}, NULL)"
        extent = rows, numbers, _, _ = measure(value)
        if kind != TEXT or 2 * numbers > rows:
            return _numeric_time(file, column, value, extent)
        stamp = f"TRY_CAST(trim({name}) AS TIMESTAMPTZ)"
    seconds = f"(epoch_us({stamp}) // 1000000)"
    inside = f"{stamp} >= {moment} AND {stamp} < {moment}"
    return _time(column, seconds, inside, measure(seconds))


def _numeric_time(file: Path, column: str, value: str, extent: Extent) -> Time:
    """Return how a column of numbers (SQL: `value`) is read; their size says their unit."""
    rows, numbers, least, greatest = extent
    unit = _unit(greatest)
    if _unit(least) != unit:
        raise SourceError(
            f"{file}: column '{column}' holds {least:.15g} and {greatest:.15g}, "
            "which are no times in one unit",
            code="source.bad_file",
            hint="mend or remove those rows, or split the file where the unit changes",
        )
    seconds = f"TRY_CAST(floor({value} / {unit}) AS BIGINT)"
    bound = f"CAST(? AS BIGINT) * {unit}"
    inside = f"{value} >= {bound} AND {value} < {bound}"
    first, last = (None if end is None else end // unit for end in (least, greatest))
    return _time(column, seconds, inside, (rows, numbers, first, last))


def _time(column: str, seconds: str, inside: str, extent: Extent) -> Time:
    rows, readable, *ends = extent
    first, last = (None if end is None else int(end) for end in ends)
    plausible = all(e is None or PLAUSIBLE_SECONDS[0] <= e < PLAUSIBLE_SECONDS[1] for e in ends)
    return Time(column, seconds, inside, first, last, readable == rows and plausible)


def _unit(number: float | None) -> int:
    """Return how many units of a number make a second, judging by its size."""
    return next((unit for limit, unit in _UNITS if abs(number or 0) < limit), _NANOSECONDS)


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _fields(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_delimiter(line)))


def _is_row(line: str) -> bool:
    """Return whether a line of CSV holds values rather than names of columns."""
    return all(_is_value(field.strip()) for field in _fields(line))


def _width(text: str) -> int:
    """Return the number of values in the first list of a list."""
    try:
        row, _ = json.JSONDecoder().raw_decode(text, text.index("[", text.index("[") + 1))
    except ValueError:
        return _FEWEST_COLUMNS
    return max(len(row), _FEWEST_COLUMNS)


def _is_value(field: str) -> bool:
    """Return whether a field is a value rather than the name of a column."""
    for read in (float, datetime.fromisoformat):
        try:
            read(field)
        except ValueError:
            continue
        return True
    return not field
