"""Which columns of a file are the candles', and SQL that reads its times as Unix seconds.

Names come from files and are not trusted: they reach SQL only through `quoted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import SourceError

TIME_NAMES = ("open_time", "ts", "date", "timestamp")
PRICE_NAMES = ("open", "high", "low", "close", "volume")
TEXT = "VARCHAR"
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
# Numbers say their unit by their size: in seconds, 10^11 is the year 5138.
_UNITS = ((1e11, 1), (1e14, 10**3), (1e17, 10**6))
_NANOSECONDS = 10**9

Extent = tuple[int, int, float | None, float | None]
Measure = Callable[[str], Extent]
"""For SQL of a number: how many rows there are, how many have it, its least and its greatest."""


@dataclass(frozen=True, slots=True)
class Time:
    """A time column in SQL: `seconds` (NULL: unreadable), `inside` with parameters start, end.

    `first` and `last` are the bounds of its times in Unix seconds, None where it has none.
    """

    column: str
    seconds: str
    inside: str
    unreadable: bool  # whether any row's time is
    first: int | None
    last: int | None

    def outside(self, start: int, end: int) -> bool:
        """Whether no row is in `[start, end)` for sure: one without a readable time may be."""
        if self.unreadable:
            return False
        return self.first is None or self.last is None or self.last < start or self.first >= end


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


def positions(types: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Ours -> theirs where a file names no columns: from the left, or as the setting says."""
    usual = {ours: f"column{i}" for i, ours in enumerate((TIME_NAMES[0], *PRICE_NAMES))}
    found = {ours: theirs for ours, theirs in usual.items() if theirs in types}
    return found | {ours: theirs for ours, theirs in wanted.items() if theirs in types}


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
    for ours in PRICE_NAMES:
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


def time_of(file: Path, column: str, kind: str, measure: Measure) -> Time:
    """How a time column of SQL type `kind` is read; without an offset it is UTC.

    The condition compares the column as it is stored where that can be, so that row
    groups outside the range are never read.
    """
    name = quoted(column)
    if kind == "TIMESTAMP WITH TIME ZONE":
        seconds = f"(epoch_us({name}) // 1000000)"
        inside = f"{name} >= to_timestamp(?) AND {name} < to_timestamp(?)"
        return _time(column, seconds, inside, measure(seconds))
    if kind.startswith(("TIMESTAMP", "DATE")):
        stamp, moment = f"CAST({name} AS TIMESTAMP)", "make_timestamp(CAST(? AS BIGINT) * 1000000)"
        seconds = f"(epoch_us({stamp}) // 1000000)"
        inside = f"{stamp} >= {moment} AND {stamp} < {moment}"
        return _time(column, seconds, inside, measure(seconds))
    if kind != TEXT and not kind.removeprefix("U").startswith(_NUMBERS):
        raise SourceError(
            f"{file}: column '{column}' holds {kind}, not times",
            code="source.bad_file",
            hint=_setting("open_time"),
        )
    value = number(column, kind) if kind == TEXT else name
    if kind in (TEXT, "FLOAT", "DOUBLE"):
        value = f"if(isfinite({value}), {value}, NULL)"
    rows, numbers, least, greatest = measure(value)
    if kind == TEXT and 2 * numbers <= rows:
        seconds = f"(epoch_us(TRY_CAST(trim({name}) AS TIMESTAMPTZ)) // 1000000)"
        return _time(column, seconds, f"{seconds} >= ? AND {seconds} < ?", measure(seconds))
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
    rows, known, first, last = extent
    bounds = [None if end is None else int(end) for end in (first, last)]
    return Time(column, seconds, inside, known < rows, *bounds)


def _unit(number: float | None) -> int:
    """How many of it a second has, by its size."""
    return next((unit for limit, unit in _UNITS if abs(number or 0) < limit), _NANOSECONDS)


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
