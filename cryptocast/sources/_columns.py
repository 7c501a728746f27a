"""The columns of a file that hold candles, and SQL that reads its times as Unix seconds.

Names from files are not trusted: they reach SQL only through `quoted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import SourceError
from cryptocast.sources._formats import bad_file

TIME_NAMES = ("open_time", "ts", "date", "timestamp")
PRICE_NAMES = ("open", "high", "low", "close", "volume")
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
    unreadable: bool  # whether the time of any row is
    first: int | None
    last: int | None

    def outside(self, start: int, end: int) -> bool:
        """Return whether no row can be in `[start, end)`; one without a readable time can."""
        if self.unreadable:
            return False
        return self.first is None or self.last is None or self.last < start or self.first >= end


def quoted(name: str) -> str:
    """Return the name of a column as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def number(column: str, kind: str) -> str:
    """Return SQL of a column as a number; NULL if it holds none."""
    # DuckDB would push a bare cast of text down into its CSV reader, where even TRY_CAST fails
    # on the first text that is not a number (seen in 2.0.0); trim() prevents that.
    return f"TRY_CAST({f'trim({quoted(column)})' if kind == TEXT else quoted(column)} AS DOUBLE)"


def not_a_number(column: str) -> str:
    """Return SQL that is true if a text column holds something other than a number."""
    return f"{quoted(column)} IS NOT NULL AND {number(column, TEXT)} IS NULL"


def positions(types: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Map our names to theirs in a file without names: from the left, or as the setting says."""
    usual = {ours: f"column{i}" for i, ours in enumerate((TIME_NAMES[0], *PRICE_NAMES))}
    present = {ours: theirs for ours, theirs in usual.items() if theirs in types}
    return present | {ours: theirs for ours, theirs in wanted.items() if theirs in types}


def choose(
    file: Path, types: Mapping[str, str], wanted: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Return the time column, and our names -> theirs for the rest (volume may be missing).

    `types` are all columns of the file, `wanted` is the setting `columns`. Raise SourceError
    (`source.bad_file`) that names the missing column and the existing ones.
    """
    candidates = (wanted["open_time"],) if "open_time" in wanted else TIME_NAMES
    time = next((column for name in candidates if (column := _find(types, name))), None)
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
        if types[theirs] != TEXT and not _is_numeric(types[theirs]):
            message = f"{file}: column '{theirs}' holds {types[theirs]}, not numbers"
            raise bad_file(message, hint=_setting(ours))
        columns[ours] = theirs
    return time, columns


def time_of(file: Path, column: str, kind: str, measure: Measure) -> Time:
    """Return how a time column of SQL type `kind` is read; a time without an offset is UTC.

    The condition compares the column as it is stored if possible, so that row groups outside
    the range are never read. Raise SourceError (`source.bad_file`) if the column holds no times.
    """
    name = quoted(column)
    stamp, moment = name, "to_timestamp(?)"
    if kind.startswith(("TIMESTAMP", "DATE")):
        if kind != "TIMESTAMP WITH TIME ZONE":
            stamp = f"CAST({name} AS TIMESTAMP)"
            moment = "make_timestamp(CAST(? AS BIGINT) * 1000000)"
    elif kind != TEXT and not _is_numeric(kind):
        message = f"{file}: column '{column}' holds {kind}, not times"
        raise bad_file(message, hint=_setting("open_time"))
    else:
        value = number(column, kind) if kind == TEXT else name
        if kind in (TEXT, "FLOAT", "DOUBLE"):
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
        raise bad_file(
            f"{file}: column '{column}' holds {least:.15g} and {greatest:.15g}, "
            "which are no times in one unit",
            hint="mend or remove those rows, or split the file where the unit changes",
        )
    seconds = f"TRY_CAST(floor({value} / {unit}) AS BIGINT)"
    bound = f"CAST(? AS BIGINT) * {unit}"
    inside = f"{value} >= {bound} AND {value} < {bound}"
    first, last = (None if end is None else end // unit for end in (least, greatest))
    return _time(column, seconds, inside, (rows, numbers, first, last))


def _time(column: str, seconds: str, inside: str, extent: Extent) -> Time:
    rows, readable, first, last = extent
    bounds = [None if end is None else int(end) for end in (first, last)]
    return Time(column, seconds, inside, readable < rows, *bounds)


def _is_numeric(kind: str) -> bool:
    return kind.removeprefix("U").startswith(_NUMBERS)


def _unit(number: float | None) -> int:
    """Return how many units of a number make a second, judging by its size."""
    return next((unit for limit, unit in _UNITS if abs(number or 0) < limit), _NANOSECONDS)


def _find(types: Mapping[str, str], name: str) -> str | None:
    """Return a column by its name, exactly or ignoring case."""
    if name in types:
        return name
    return next((column for column in types if column.lower() == name.lower()), None)


def _missing(file: Path, what: str, ours: str, types: Mapping[str, str]) -> SourceError:
    message = f"{file} has {what}; its columns are {', '.join(types)}"
    return bad_file(message, hint=_setting(ours))


def _setting(ours: str) -> str:
    return f'name the right one: [source] columns = {{ {ours} = "its name" }}'
