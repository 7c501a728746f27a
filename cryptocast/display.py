"""Figures as people read them: in tables, on the status screen and on the report page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptocast.values import ForecastSet

NOTHING = "-"
"""Stands for a figure that does not exist."""

NBSP = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


_LONGEST_DECIMALS = 10  # a price with more of them is written with a power of ten


def ago(seconds: float) -> str:
    """Return an age in the largest unit that fits into it at least twice."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def price(value: float, width: float | None = None) -> str:
    """Return a price with the decimals that its size asks for, two at least.

    `width` is that of the narrowest range of prices that is shown beside it: all of them are
    written with the decimals that give it three significant digits. Without one the price has
    five.
    """
    return fixed(value, _decimals(width or abs(value) / 100))


def price_range(low: float, high: float, width: float | None = None) -> str:
    """Return the ends of a range of prices: `61,927.52 .. 62,072.57`.

    `width` is that of the narrowest range that is shown beside it, by default its own.
    """
    width = high - low if width is None else width
    return f"{price(low, width)} .. {price(high, width)}"


def last_price(forecast: ForecastSet) -> str:
    """Return the last price of a forecast, with as many decimals as its ranges."""
    return price(forecast.last_close, forecast.narrowest)


def fixed(value: float, decimals: int) -> str:
    """Return a price with so many decimals; one that needs very many as `8.012e-11`."""
    if decimals <= _LONGEST_DECIMALS or value == 0:
        return f"{value:,.{decimals}f}"
    return f"{value:.{max(decimals + math.floor(math.log10(abs(value))), 0)}e}"


def _decimals(size: float) -> int:
    """Return the decimals that give a figure of this size three significant digits, or two."""
    return max(2 - math.floor(math.log10(size)), 2) if 0 < size < math.inf else 2


def half_width(low: float, middle: float, high: float) -> str:
    """Return half the width of a range as a percentage of its middle: `0.12%`, `0.0012%`."""
    half = (high - low) / 2 / middle
    return percent(half, _decimals(1000 * half), sign=False)


def percent(value: float | None, decimals: int = 1, *, sign: bool = True) -> str:
    """Return a share as a percentage, or a dash if there is none; what rounds to 0 has no sign."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if round(value, decimals + 2) == 0:
        value, sign = 0.0, False
    return f"{value:{'+' if sign else ''}.{decimals}%}"


def chance(p: float) -> str:
    """Return a p-value as an equation: `p = 0.03`, `p < 0.01`."""
    return "p < 0.01" if p < 0.01 else f"p = {p:.2f}"


def typeset_percent(value: float | None, decimals: int = 0, *, sign: bool = False) -> str:
    """Return a share as a percentage as print sets it: with a true minus, or a dash for none."""
    text = percent(value, decimals, sign=sign)
    return text if text == NOTHING else text.replace("-", _MINUS).replace("%", f"{NBSP}%")


def skill(value: float | None) -> str:
    """Return a skill with its sign, or a dash if there is none."""
    return typeset_percent(value, 2, sign=True)


def between(low: float | None, high: float | None) -> str:
    """Return an interval of skills, or a dash if either end is unknown."""
    ends = skill(low), skill(high)
    return NOTHING if NOTHING in ends else f"{ends[0]} to {ends[1]}"


def number(value: float | None, decimals: int = 2) -> str:
    """Return a figure with thousands separators, or a dash if there is none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:,.{decimals}f}"


def counted(count: int, thing: str) -> str:
    """Return a number with its noun: `1 candle`, `2,016 candles`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def first_few(texts: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first texts in a row, and how many more there are: `a, b and 3 more`."""
    more = len(texts) - most
    return separator.join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def ahead(seconds: float) -> str:
    """Return how far ahead a step is, in minutes or hours: `5 min`, `1.5 h`."""
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"


def size(size_bytes: int) -> str:
    """Return a size in decimal units, as file managers show it."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= length:
            return f"{size_bytes / length:,.1f} {unit}"
    return f"{size_bytes} B"


def moment(at: float) -> str:
    """Return a time in UTC, to the minute."""
    from cryptocast.values import iso  # late: it loads numpy, which --help does not need

    return iso(int(at))[:16].replace("T", " ") + "Z"


def span(seconds: float) -> str:
    """Return a length of time in its largest fitting unit: `5 min`, `2 h`, `30 days`."""
    from cryptocast.values import DAY_SECONDS  # late: it loads numpy, which --help does not need

    if seconds >= 2 * DAY_SECONDS:
        length, unit = DAY_SECONDS, "days"
    elif seconds >= 3600:
        length, unit = 3600, "h"
    elif seconds >= 60:
        length, unit = 60, "min"
    else:
        return f"{seconds:.0f}{NBSP}s"
    count = seconds / length
    return f"{count:.{0 if count.is_integer() else 1}f}{NBSP}{unit}"
