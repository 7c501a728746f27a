"""From the rows of an HTTP source to candles: windows, cells, units, the cut to what was asked."""

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
# 2001 to 2286: no time of another unit looks like one of those.
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
    """Candles, oldest first, of rows that are lists of `length`; `places` are our columns' in it.

    A price that is null or NaN becomes NaN, so that only its own row is refused later on.
    Raises SourceError (`source.bad_answer`) that names whatever else is no number or no row.
    """
    cells: list[list[object]] = []
    for number, row in enumerate(_listed(source, path, rows)):
        if not isinstance(row, list) or len(row) != length:
            found = f"with a candle {number} that is no list of {length}"
            raise _faults.bad_answer(source, path, found)
        cells.append([row[place] for place in places])
    return _from_cells(source, path, cells, unit)


def from_objects(
    source: str, path: str, rows: object, *, fields: Sequence[str], unit: int
) -> Candles:
    """Candles, oldest first, of rows that are objects; `fields` are our columns' names there.

    Without a sixth field there is no volume.
    What is refused and what is not is as in `from_lists`.
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
    """Candles from times [N] and columns open, high, low, close(, volume) [N, 4 or 5].

    `unit` is how many of the times' units make a second. Raises SourceError
    (`source.bad_answer`) for a time that cannot be in that unit.
    """
    low, high = (bound * unit for bound in _PLAUSIBLE_SECONDS)
    wrong = ~((times >= low) & (times < high))
    if wrong.any():
        found = f"with the time {times[wrong][0]:.15g}, no {_UNIT_NAMES[unit]}"
        raise _faults.bad_answer(source, path, found)
    seconds = (times // unit).astype(np.int64)
    volume = prices[:, 4] if prices.shape[1] > 4 else None
    return Candles.of(seconds, prices[:, 0], prices[:, 1], prices[:, 2], prices[:, 3], volume)


def is_number(value: object) -> bool:
    """Whether a decoded JSON value is a number that fits a float."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 10**300
    return isinstance(value, float)


def between(candles: Candles, start: int, end: int) -> Candles:
    """The rows with open time in `[start, end)`: whether `end` is inclusive differs by source."""
    return candles.take((candles.open_time >= start) & (candles.open_time < end))


def covered(
    source: str, path: str, market: Market, first: int, last: int, times: IntArray
) -> tuple[int, int]:
    """The part of `[first, last)` that an answer with rows at these times vouches for.

    A bar more on either side is a question of what the ends include. An answer that goes
    further was cut by other rules than ours: it vouches for what lies between its rows
    inside, and with none there it is no answer.
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
    """The error of an answer whose rows, at these times, are not of what was asked."""
    there = f"{iso(int(times.min()))} to {iso(int(times.max()))}"
    found = f"with candles of {there}, none of {iso(first)} to {iso(last)}"
    return _faults.bad_answer(source, path, found)


def _listed(source: str, path: str, rows: object) -> list[object]:
    if not isinstance(rows, list):
        found = f"with {_faults.kind(rows)} instead of a list of candles"
        raise _faults.bad_answer(source, path, found)
    return rows


def _from_cells(source: str, path: str, cells: list[list[object]], unit: int) -> Candles:
    """Candles of rows of cells, one a column; rows of one time stay in the answer's order."""
    width = len(cells[0]) if cells else len(_COLUMNS)
    numbers = _all_numbers(cells)
    if numbers is None or any(map(math.isnan, numbers[::width])):
        numbers = _each_number(source, path, cells)
    table = np.array(numbers, dtype=np.float64).reshape(-1, width)
    candles = candles_from(source, path, table[:, 0], table[:, 1:], unit)
    return candles.take(np.argsort(candles.open_time, kind="stable"))


def _all_numbers(cells: list[list[object]]) -> list[float] | None:
    """All cells in a row where each is plainly a number, in a third of the time; else None."""
    flat = [cell for row in cells for cell in row]
    if not set(map(type, flat)) <= {int, float, str}:
        return None
    if any("_" in cell for cell in flat if isinstance(cell, str)):
        return None
    try:
        return list(map(float, flat))  # type: ignore[arg-type]  # their types are known
    except (ValueError, OverflowError):
        return None


def _each_number(source: str, path: str, cells: list[list[object]]) -> list[float]:
    """All cells in a row, each looked at; SourceError that names the first that is no number."""
    numbers: list[float] = []
    for number, row in enumerate(cells):
        for column, cell in zip(_COLUMNS, row, strict=False):  # volume may lack
            value = _number(cell)
            if value is None or (column == "time" and math.isnan(value)):
                found = f"with {_faults.kind(cell)} for the {column} of candle {number}"
                raise _faults.bad_answer(source, path, found)
            numbers.append(value)
    return numbers


def _number(cell: object) -> float | None:
    """A number, or a text of one; null is NaN. None where it is no number at all."""
    if cell is None:
        return math.nan
    # float() reads 1_000 and True, which no exchange means as a number.
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    if isinstance(cell, str) and "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None
    except OverflowError:
        return math.inf  # as JSON's 1e999 already is
