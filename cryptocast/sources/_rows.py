"""From the rows of an HTTP source to candles: windows, cells, units, and the range covered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from cryptocast.errors import SourceError
from cryptocast.sources import _faults
from cryptocast.values import Candles, FloatArray, IntArray, Market, iso

SECONDS = 1
MILLISECONDS = 1000
_UNIT_NAMES = {SECONDS: "seconds", MILLISECONDS: "milliseconds"}
# 2001 to 2286: no time in another unit looks like one of these.
_PLAUSIBLE_SECONDS = (10**9, 10**10)
_COLUMNS = ("time", "open", "high", "low", "close", "volume")


def windows(start: int, end: int, seconds: int) -> Iterator[tuple[int, int]]:
    """Cut `[start, end)` into pieces of at most `seconds`, oldest first."""
    if start < end:
        yield from pairwise([*range(start, end, seconds), end])


def from_lists(
    source: str,
    path: str,
    rows: object,
    *,
    length: int,
    places: Sequence[int] = (0, 1, 2, 3, 4, 5),
    unit: int = MILLISECONDS,
) -> Candles:
    """Return candles, oldest first, from rows that are lists of `length`.

    `places` are the places of our columns in a row. A price that is null or NaN becomes NaN, so
    that only its own row is rejected later on. Raise SourceError (`source.bad_answer`) that names
    anything else that is not a number or not a row.
    """
    cells: list[list[object]] = []
    for number, row in enumerate(_listed(source, path, rows)):
        if not isinstance(row, list) or len(row) != length:
            content = f"with a candle {number} that is no list of {length}"
            raise _faults.bad_answer(source, path, content)
        cells.append([row[place] for place in places])
    return _from_cells(source, path, cells, unit)


def from_objects(
    source: str, path: str, rows: object, *, fields: Sequence[str], unit: int
) -> Candles:
    """Return candles, oldest first, from rows that are objects.

    `fields` are the names of our columns in a row; without a sixth field there is no volume. The
    same values are rejected as in `from_lists`.
    """
    cells: list[list[object]] = []
    for number, row in enumerate(_listed(source, path, rows)):
        if not isinstance(row, dict):
            raise _faults.bad_answer(source, path, f"with a candle {number} that is no object")
        missing = next((field for field in fields if field not in row), None)
        if missing is not None:
            raise _faults.bad_answer(source, path, f"with a candle {number} without '{missing}'")
        cells.append([row[field] for field in fields])
    return _from_cells(source, path, cells, unit)


def candles_from(
    source: str, path: str, times: FloatArray, prices: FloatArray, unit: int = MILLISECONDS
) -> Candles:
    """Return candles from times [N] and columns open, high, low, close(, volume) [N, 4 or 5].

    `unit` is the number of time units in a second. Raise SourceError (`source.bad_answer`) for a
    time that cannot be in that unit.
    """
    low, high = (bound * unit for bound in _PLAUSIBLE_SECONDS)
    wrong = ~((times >= low) & (times < high))
    if wrong.any():
        content = f"with the time {times[wrong][0]:.15g}, no {_UNIT_NAMES[unit]}"
        raise _faults.bad_answer(source, path, content)
    seconds = (times // unit).astype(np.int64)
    volume = prices[:, 4] if prices.shape[1] > 4 else None
    return Candles.of(seconds, prices[:, 0], prices[:, 1], prices[:, 2], prices[:, 3], volume)


def between(candles: Candles, start: int, end: int) -> Candles:
    """Return the rows with open time in `[start, end)`, as some sources include `end`."""
    return candles.take((candles.open_time >= start) & (candles.open_time < end))


def covered(
    source: str, path: str, market: Market, first: int, last: int, times: IntArray
) -> tuple[int, int]:
    """Return the part of `[first, last)` that a reply with rows at these times covers.

    One more bar on either side only depends on whether the ends are inclusive. A reply that goes
    further was cut by rules other than ours: it covers what lies between its rows inside the
    range, and raises SourceError (`source.bad_answer`) if there are none.
    """
    step = market.interval_seconds
    if np.all((times >= market.floor(first) - step) & (times < market.floor(last) + step)):
        return first, last
    inside = times[(times >= first) & (times < last)]
    if len(inside) == 0:
        raise astray(source, path, first, last, times)
    after_last = market.floor(int(inside.max())) + step
    return max(first, market.floor(int(inside.min()))), min(last, after_last)


def astray(source: str, path: str, first: int, last: int, times: IntArray) -> SourceError:
    """Return the error of a reply whose rows, at these times, are outside the requested range."""
    spanned = f"{iso(int(times.min()))} to {iso(int(times.max()))}"
    content = f"with candles of {spanned}, none of {iso(first)} to {iso(last)}"
    return _faults.bad_answer(source, path, content)


def _listed(source: str, path: str, rows: object) -> list[object]:
    if not isinstance(rows, list):
        content = f"with {_faults.kind(rows)} instead of a list of candles"
        raise _faults.bad_answer(source, path, content)
    return rows


def _from_cells(source: str, path: str, cells: list[list[object]], unit: int) -> Candles:
    """Return candles from rows of cells; rows of the same time keep the order of the reply."""
    width = len(cells[0]) if cells else len(_COLUMNS)
    numbers = _all_numbers(cells)
    if numbers is None or any(map(math.isnan, numbers[::width])):
        numbers = _each_number(source, path, cells)
    table = np.array(numbers, dtype=np.float64).reshape(-1, width)
    candles = candles_from(source, path, table[:, 0], table[:, 1:], unit)
    return candles.take(np.argsort(candles.open_time, kind="stable"))


def _all_numbers(cells: list[list[object]]) -> list[float] | None:
    """Return all cells as one list if each is plainly a number (three times as fast), else None."""
    flat = [cell for row in cells for cell in row]
    if not set(map(type, flat)) <= {int, float, str}:
        return None
    if any("_" in cell for cell in flat if isinstance(cell, str)):
        return None
    try:
        return list(map(float, flat))  # type: ignore[arg-type]  # the types were checked above
    except (ValueError, OverflowError):
        return None


def _each_number(source: str, path: str, cells: list[list[object]]) -> list[float]:
    """Return all cells as one list, or raise SourceError that names the first non-number."""
    numbers: list[float] = []
    for number, row in enumerate(cells):
        for column, cell in zip(_COLUMNS, row, strict=False):  # volume may be missing
            value = _number(cell)
            if value is None or (column == "time" and math.isnan(value)):
                content = f"with {_faults.kind(cell)} for the {column} of candle {number}"
                raise _faults.bad_answer(source, path, content)
            numbers.append(value)
    return numbers


def _number(cell: object) -> float | None:
    """Return a number or the text of one as a float, NaN for null, None for anything else."""
    if cell is None:
        return math.nan
    # float() accepts 1_000 and True, which no exchange means as a number.
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    if isinstance(cell, str) and "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None
    except OverflowError:
        return math.inf  # like 1e999 in JSON
