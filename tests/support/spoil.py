"""Proper answers, spoilt: each function makes a step for `Loopback.rewrite`, for any API.

Rows are counted in the answer's own order; columns are time, open, high, low, close.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from support.replies import Reply

Row = Any  # a list or an object, as the API has it
Rewrite = Callable[[Reply], Reply]

_COLUMNS = ("time", "open", "high", "low", "close")


def rows_in(reply: Reply) -> list[Row] | None:
    """The rows of an answer that holds candles; None where it is another one."""
    found = _rows(json.loads(reply.body)) if reply.status == 200 else None
    return found if isinstance(found, list) else None


def on_rows(change: Callable[[list[Row]], Any]) -> Rewrite:
    """Put what `change` makes of the rows in their place."""

    def rewrite(reply: Reply) -> Reply:
        document = json.loads(reply.body)
        changed = change(_rows(document))
        if isinstance(document, list):
            document = changed
        elif "candles" in document:
            document["candles"] = changed
        else:
            document["result"][_pair(document)] = changed
        return replace(reply, body=json.dumps(document).encode())

    return rewrite


def cell(column: str, value: Any, row: int = 0) -> Rewrite:
    """One cell is something else: None, "NaN", "n/a", -1, {}, True."""

    def change(rows: list[Row]) -> list[Row]:
        rows[row][_key(rows[row], column)] = value
        return rows

    return on_rows(change)


def high_below_low(row: int = 0) -> Rewrite:
    """The two are swapped."""

    def change(rows: list[Row]) -> list[Row]:
        high, low = _key(rows[row], "high"), _key(rows[row], "low")
        rows[row][high], rows[row][low] = rows[row][low], rows[row][high]
        return rows

    return on_rows(change)


def doubled(row: int = 0, factor: float = 1.5) -> Rewrite:
    """Before a row stands another of its time, with prices `factor` times as high."""

    def change(rows: list[Row]) -> list[Row]:
        other = _copy(rows[row])
        for column in _COLUMNS[1:]:
            _scale(other, _key(other, column), lambda value: value * factor)
        return [*rows[:row], other, *rows[row:]]

    return on_rows(change)


def moved_in_time(seconds: float) -> Rewrite:
    """Every time is so much later: unaligned."""

    def change(rows: list[Row]) -> list[Row]:
        for row in rows:
            _move(row, seconds)
        return rows

    return on_rows(change)


def with_stray(seconds: float) -> Rewrite:
    """At the end stands one row more: the first again, so much later or (below 0) earlier."""

    def change(rows: list[Row]) -> list[Row]:
        other = _copy(rows[0])
        _move(other, seconds)
        return [*rows, other]

    return on_rows(change)


def newest_at(place: int) -> Rewrite:
    """The newest row, the running candle, stands at this place of the answer."""

    def change(rows: list[Row]) -> list[Row]:
        newest = max(rows, key=lambda row: float(row[_key(row, "time")]))
        rest = [row for row in rows if row is not newest]
        place_ = place if place >= 0 else len(rows) + place
        return [*rest[:place_], newest, *rest[place_:]]

    return on_rows(change)


def backwards() -> Rewrite:
    """The other order than the API's own."""
    return on_rows(lambda rows: rows[::-1])


def shuffled(seed: int = 0) -> Rewrite:
    """No order at all."""
    return on_rows(lambda rows: random.Random(seed).sample(rows, len(rows)))


def repeated() -> Rewrite:
    """Every row twice."""
    return on_rows(lambda rows: [row for row in rows for _ in range(2)])


def without(*places: int) -> Rewrite:
    """These rows are missing."""
    return on_rows(lambda rows: [row for place, row in enumerate(rows) if place not in places])


def emptied() -> Rewrite:
    """No row."""
    return on_rows(lambda _: [])


def retyped() -> Rewrite:
    """Strings where numbers belong, and the reverse."""

    def change(rows: list[Row]) -> list[Row]:
        for row in rows:
            for key in range(len(row)) if isinstance(row, list) else list(row):
                row[key] = float(row[key]) if isinstance(row[key], str) else str(row[key])
        return rows

    return on_rows(change)


def stuck() -> Rewrite:
    """A page that repeats for ever: put the one step into the script as often as it lasts."""
    first: list[Reply] = []

    def rewrite(reply: Reply) -> Reply:
        first.append(reply)
        return first[0]

    return rewrite


def _rows(document: Any) -> Any:
    if isinstance(document, list):
        return document
    if "candles" in document:
        return document["candles"]
    return document["result"][_pair(document)] if "result" in document else None


def _pair(document: Any) -> str:
    """The name that Kraken gives to the list of candles."""
    return str(next(key for key in document["result"] if key != "last"))


def _key(row: Row, column: str) -> Any:
    """Where a row holds a column."""
    if isinstance(row, list):
        return _COLUMNS.index(column)
    return "start" if column == "time" and "start" in row else column


def _move(row: Row, seconds: float) -> None:
    """Put a row to another time, in its own unit."""
    key = _key(row, "time")
    unit = 1000 if float(row[key]) > 1e11 else 1
    text = isinstance(row[key], str)
    moved = int(float(row[key]) + seconds * unit)
    row[key] = str(moved) if text else moved


def _scale(row: Row, key: Any, change: Callable[[float], float]) -> None:
    """Change a number that may be written as text."""
    text = isinstance(row[key], str)
    value = change(float(row[key]))
    row[key] = str(value) if text else value


def _copy(row: Row) -> Row:
    return list(row) if isinstance(row, list) else dict(row)
