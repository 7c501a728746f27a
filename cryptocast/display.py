"""Figures as people read them: in tables, on the status screen and on the report page."""

from __future__ import annotations

import math

NOTHING = "-"
"""Stands for a figure that does not exist."""


def price(value: float) -> str:
    """Return a price with as many decimals as its size asks for."""
    decimals = 2 if value >= 100 else 4 if value >= 1 else 8
    return f"{value:,.{decimals}f}"


def price_range(low: float, high: float) -> str:
    """Return the ends of a range of prices: `61,927.52 .. 62,072.57`."""
    return f"{price(low)} .. {price(high)}"


def percent(value: float | None, decimals: int = 1, *, sign: bool = True) -> str:
    """Return a share as a percentage, or a dash if there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:{'+' if sign else ''}.{decimals}%}"


def number(value: float | None, decimals: int = 2) -> str:
    """Return a figure with thousands separators, or a dash if there is none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:,.{decimals}f}"


def counted(count: int, thing: str) -> str:
    """Return a number with its noun: `1 candle`, `2,016 candles`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def ahead(seconds: float) -> str:
    """Return how far ahead a step is, in minutes or hours: `5 min`, `1.5 h`."""
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"


def size(size_bytes: int) -> str:
    """Return a size in decimal units, as file managers show it."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= length:
            return f"{size_bytes / length:,.1f} {unit}"
    return f"{size_bytes} B"
