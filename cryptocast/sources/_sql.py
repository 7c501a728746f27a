"""SQL of the columns of a file: texts as numbers and times.

Names from files are not trusted: they reach SQL only through `quoted` and `literal`.
"""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import SourceError
from cryptocast.sources._grid import PLAUSIBLE_SECONDS

TEXT = "VARCHAR"
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
# The size of a number says its unit: in seconds, 10^11 is the year 5138.
_UNITS = ((1e11, 1), (1e14, 10**3), (1e17, 10**6))
_NANOSECONDS = 10**9


Extent = tuple[int, int, float | None, float | None]
Measure = Callable[[str], Extent]
"""For SQL of a number: the number of rows, of rows that have it, its least and its greatest."""


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
