"""Figures, moments and lengths of time, as the page writes them."""

from __future__ import annotations

import math

from cryptocast import display
from cryptocast.values import DAY_SECONDS, iso

NBSP = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def percent(value: float | None, decimals: int = 0, *, sign: bool = False) -> str:
    """Return a share as a percentage with a true minus, or a dash if there is none."""
    if value is None or not math.isfinite(value):
        return display.NOTHING
    if round(value, decimals + 2) == 0:
        value, sign = 0.0, False
    text = display.percent(value, decimals, sign=sign)
    return text.replace("-", _MINUS).replace("%", f"{NBSP}%")


def skill(value: float | None) -> str:
    """Return a skill with its sign, or a dash if there is none."""
    return percent(value, 2, sign=True)


def between(low: float | None, high: float | None) -> str:
    """Return an interval of skills, or a dash if either end is unknown."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return display.NOTHING
    return f"{skill(low)} to {skill(high)}"


def moment(at: float) -> str:
    """Return a time in UTC, to the minute."""
    return iso(int(at))[:16].replace("T", " ") + "Z"


def span(seconds: float) -> str:
    """Return a length of time in its largest fitting unit: `5 min`, `2 h`, `30 days`."""
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
