"""Which columns of a file are the candles', and SQL that reads its times as Unix seconds.

Names come from files and are not trusted: they reach SQL only through `quoted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import SourceError

TIME_NAMES = ("open_time", "ts", "date", "timestamp")
TEXT = "VARCHAR"
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
# Numbers say their unit by their size: in seconds, 10^11 is the year 5138.
_UNITS = ((1e11, 1), (1e14, 10**3), (1e17, 10**6))
_NANOSECONDS = 10**9

Magnitude = Callable[[str], tuple[int, int, float | None]]
"""For SQL of a number: how many rows there are, how many have it, and its largest size."""


@dataclass(frozen=True, slots=True)
class Time:
    """A time column in SQL: `seconds` (NULL: unreadable), `inside` with parameters start, end."""

    column: str
    seconds: str
    inside: str


def quoted(name: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def number(column: str, kind: str) -> str:
    """SQL of a column as a number; NULL where it holds none."""
    # A bare cast of text would be pushed down into DuckDB's CSV reader, where it fails on the
    # first text that is no number even as TRY_CAST (seen in 2.0.0); trim() keeps it up here.
    return f"TRY_CAST({f'trim({quoted(column)})' if kind == TEXT else quoted(column)} AS DOUBLE)"


def not_a_number(column: str) -> str:
    """SQL that is true where a column of text holds something but a number."""
    return f"{quoted(column)} IS NOT NULL AND {number(column, TEXT)} IS NULL"


def choose(
    file: Path, types: Mapping[str, str], wanted: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """The time column, and ours -> theirs for the rest (volume may be missing).

    `types` are all columns of the file, `wanted` the setting `columns`. Raises
    SourceError (`source.bad_file`) that names what is missing and what there is.
    """
    candidates = (wanted["open_time"],) if "open_time" in wanted else TIME_NAMES
    time = next((found for name in candidates if (found := _find(types, name))), None)
    if time is None:
        what = " or ".join(f"'{name}'" for name in candidates)
        raise _missing(file, f"no time column ({what})", "open_time", types)
    columns: dict[str, str] = {}
    for ours in ("open", "high", "low", "close", "volume"):
        name = wanted.get(ours, ours)
        theirs = _find(types, name)
        if theirs is None:
            if ours == "volume" and ours not in wanted:
                continue
            raise _missing(file, f"no column '{name}'", ours, types)
        if types[theirs] != TEXT and not types[theirs].removeprefix("U").startswith(_NUMBERS):
            raise SourceError(
                f"{file}: column '{theirs}' holds {types[theirs]}, not numbers",
                code="source.bad_file",
                hint=_setting(ours),
            )
        columns[ours] = theirs
    return time, columns


def time_of(file: Path, column: str, kind: str, magnitude: Magnitude) -> Time:
    """How a time column of SQL type `kind` is read; without an offset it is UTC.

    The condition compares the column as it is stored where that can be, so that row
    groups outside the range are never read.
    """
    name = quoted(column)
    if kind == "TIMESTAMP WITH TIME ZONE":
        inside = f"{name} >= to_timestamp(?) AND {name} < to_timestamp(?)"
        return Time(column, f"(epoch_us({name}) // 1000000)", inside)
    if kind.startswith(("TIMESTAMP", "DATE")):
        stamp, moment = f"CAST({name} AS TIMESTAMP)", "make_timestamp(CAST(? AS BIGINT) * 1000000)"
        inside = f"{stamp} >= {moment} AND {stamp} < {moment}"
        return Time(column, f"(epoch_us({stamp}) // 1000000)", inside)
    if kind != TEXT and not kind.removeprefix("U").startswith(_NUMBERS):
        raise SourceError(
            f"{file}: column '{column}' holds {kind}, not times",
            code="source.bad_file",
            hint=_setting("open_time"),
        )
    value = number(column, kind) if kind == TEXT else name
    rows, numbers, largest = magnitude(value)
    if kind == TEXT and 2 * numbers <= rows:
        seconds = f"(epoch_us(TRY_CAST(trim({name}) AS TIMESTAMPTZ)) // 1000000)"
        return Time(column, seconds, f"{seconds} >= ? AND {seconds} < ?")
    unit = next((unit for limit, unit in _UNITS if (largest or 0) < limit), _NANOSECONDS)
    seconds = f"TRY_CAST(floor({value} / {unit}) AS BIGINT)"
    bound = f"CAST(? AS BIGINT) * {unit}"
    return Time(column, seconds, f"{value} >= {bound} AND {value} < {bound}")


def _find(types: Mapping[str, str], name: str) -> str | None:
    """A column by its name, exactly or but for capitals."""
    if name in types:
        return name
    return next((column for column in types if column.lower() == name.lower()), None)


def _missing(file: Path, what: str, ours: str, types: Mapping[str, str]) -> SourceError:
    return SourceError(
        f"{file} has {what}; its columns are {', '.join(types)}",
        code="source.bad_file",
        hint=_setting(ours),
    )


def _setting(ours: str) -> str:
    return f'name the right one: [source] columns = {{ {ours} = "its name" }}'
