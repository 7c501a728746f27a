"""How figures are written for people: in tables, on the status screen and on the report page."""

from __future__ import annotations

import math

NOTHING = "-"
"""What stands where there is no figure."""


def price(value: float) -> str:
    """Return a price with as many decimals as its size asks for."""
    decimals = 2 if value >= 100 else 4 if value >= 1 else 8
    return f"{value:,.{decimals}f}"


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


def size(size_bytes: int) -> str:
    """Return a size in decimal units, as file managers show it."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= length:
            return f"{size_bytes / length:,.1f} {unit}"
    return f"{size_bytes} B"
