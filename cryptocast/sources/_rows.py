"""From the rows of a reply to candles, and from candles of two coins to derived ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cryptocast.sources import _faults
from cryptocast.sources._grid import PLAUSIBLE_SECONDS
from cryptocast.values import Candles, Page

SECONDS = 1
MILLISECONDS = 1000
_UNIT_NAMES = {SECONDS: "seconds", MILLISECONDS: "milliseconds"}
_COLUMNS = ("time", "open", "high", "low", "close", "volume")
_NUMERIC = {int, float, str}  # not bool, which is a kind of int in Python


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

    `places` are the places of our columns in a row; `unit` is the number of time units in a
    second. A price that is null or NaN becomes NaN, so that only its own row is rejected later
    on. Raise SourceError (`source.bad_answer`) that names anything else that is not a number or
    not a row, or a time that cannot be in that unit.
    """

    def cells(row: object) -> list[object] | str:
        if not isinstance(row, list) or len(row) != length:
            return f"that is no list of {length}"
        return [row[place] for place in places]

    return _candles(source, path, rows, cells, unit)


def from_objects(
    source: str, path: str, rows: object, *, fields: Sequence[str], unit: int
) -> Candles:
    """Return candles, oldest first, from rows that are objects.

    `fields` are the names of our columns in a row; without a sixth field there is no volume. The
    same values are rejected as in `from_lists`.
    """

    def cells(row: object) -> list[object] | str:
        if not isinstance(row, dict):
            return "that is no object"
        missing = next((field for field in fields if field not in row), None)
        return [row[field] for field in fields] if missing is None else f"without '{missing}'"

    return _candles(source, path, rows, cells, unit)


def between(candles: Candles, start: int, end: int) -> Candles:
    """Return the rows with open time in `[start, end)`, as some sources include `end`."""
    return candles.take((candles.open_time >= start) & (candles.open_time < end))


def cross(coin: Page, token: Page, interval_seconds: int) -> Page:
    """Derive candles of a coin in another currency from a token of that currency.

    Return the page of what both pages cover, in units of the token and without volume. Both are
    aligned to the interval first; a bar that either of them lacks is no row. Open and close are
    exact. When within the bar a high or low was reached is unknown, so the bounds high/low and
    low/high are used, widened if they do not include open and close. A bar that one of the pages
    has only with an impossible price becomes a row of NaN, which is rejected later on: such a
    bar is broken, not missing.
    """
    start, end = max(coin.start, token.start), min(coin.end, token.end)
    upper = _one_per_bar(coin.candles, interval_seconds)
    lower = _one_per_bar(token.candles, interval_seconds)
    times, ours, theirs = np.intersect1d(upper.open_time, lower.open_time, return_indices=True)
    upper, lower = upper.take(ours), lower.take(theirs)
    with np.errstate(over="ignore", under="ignore"):  # infinite or zero: rejected as such
        open_, close = upper.open / lower.open, upper.close / lower.close
        high = np.maximum(upper.high / lower.low, np.maximum(open_, close))
        low = np.minimum(upper.low / lower.high, np.minimum(open_, close))
    candles = between(Candles.of(times, open_, high, low, close), start, end)
    return Page(start, end, candles, token.skew_seconds, derived=True)


def _one_per_bar(candles: Candles, interval_seconds: int) -> Candles:
    """Return aligned, rising and unique rows: the last sane row of each bar, or one of NaN."""
    times = candles.open_time // interval_seconds * interval_seconds
    prices = np.stack([candles.open, candles.high, candles.low, candles.close])
    sane = np.all(np.isfinite(prices) & (prices > 0), axis=0) & (candles.high >= candles.low)
    # Sorted by bar; within a bar the sane rows come last, in the order of the reply.
    order = np.lexsort((sane, times))
    rising = times[order]
    last_of_bar = order[np.append(rising[1:] != rising[:-1], True)[: len(order)]]
    chosen = replace(candles, open_time=times).take(last_of_bar)
    columns = np.where(sane[last_of_bar], prices[:, last_of_bar], np.nan)
    return Candles.of(chosen.open_time, *columns)


def _candles(
    source: str,
    path: str,
    rows: object,
    cells_of: Callable[[object], list[object] | str],
    unit: int,
) -> Candles:
    """Return candles from rows; those of the same time keep the order of the reply.

    `cells_of` returns the cells of a row in our order, or what is wrong with the row.
    """
    if not isinstance(rows, list):
        content = f"with {_faults.kind(rows)} instead of a list of candles"
        raise _faults.bad_answer(source, path, content)
    table: list[list[object]] = []
    for number, row in enumerate(rows):
        cells = cells_of(row)
        if isinstance(cells, str):
            raise _faults.bad_answer(source, path, f"with a candle {number} {cells}")
        table.append(cells)
    width = len(table[0]) if table else len(_COLUMNS)
    numbers = _plain_numbers(table)
    if numbers is None or any(map(math.isnan, numbers[::width])):
        numbers = _each_number(source, path, table)
    times, *columns = np.array(numbers, dtype=np.float64).reshape(-1, width).T
    low, high = (bound * unit for bound in PLAUSIBLE_SECONDS)
    wrong = ~((times >= low) & (times < high))
    if wrong.any():
        content = f"with the time {times[wrong][0]:.15g}, no {_UNIT_NAMES[unit]}"
        raise _faults.bad_answer(source, path, content)
    candles = Candles.of((times // unit).astype(np.int64), *columns)
    return candles.take(np.argsort(candles.open_time, kind="stable"))


def _plain_numbers(table: list[list[object]]) -> list[float] | None:
    """Return all cells as one list if each is plainly a number (three times as fast), else None."""
    flat = [cell for row in table for cell in row]
    if not set(map(type, flat)) <= _NUMERIC:
        return None
    if not _is_plain("".join(cell for cell in flat if isinstance(cell, str))):
        return None
    try:
        return list(map(float, flat))  # type: ignore[arg-type]  # the types were checked above
    except (ValueError, OverflowError):
        return None


def _is_plain(text: str) -> bool:
    """Return whether a text has no `_` or digit of another script: float() accepts them."""
    return "_" not in text and text.isascii()


def _each_number(source: str, path: str, table: list[list[object]]) -> list[float]:
    """Return all cells as one list, or raise SourceError that names the first non-number."""
    numbers: list[float] = []
    for number, row in enumerate(table):
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
    if type(cell) not in _NUMERIC or (isinstance(cell, str) and not _is_plain(cell)):
        return None
    try:
        return float(cell)  # type: ignore[arg-type]  # the type was checked above
    except ValueError:
        return None
    except OverflowError:
        return math.inf  # like 1e999 in JSON
