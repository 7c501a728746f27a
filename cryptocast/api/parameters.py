"""Parameters that several routes take, with their limits."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BeforeValidator, WithJsonSchema

from cryptocast.errors import UsageError
from cryptocast.values import Market
from cryptocast.workspace import Workspace

_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?")
_FIRST, _LAST = 0, 32_503_680_000  # nothing is older than 1970, or younger than the year 3000


def _seconds(text: Any) -> int:
    """Return a time of RFC 3339 as Unix seconds, within the years that candles can be of."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise ValueError("not a time: write 2024-06-03T00:00:00Z, and + as %2B")
    stamp = datetime.fromisoformat(text.upper())
    stamp = stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp
    return min(max(math.floor(stamp.timestamp()), _FIRST), _LAST)


def moment_of(text: str | None) -> int | None:
    """Return the time in a header as Unix seconds, or None if there is none."""
    try:
        return _seconds(text)
    except ValueError:
        return None


Time = Annotated[
    int,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-30T12:00:00Z"]}),
]
"""A moment; without an offset it is UTC."""

Symbols = Annotated[
    list[str],
    Query(
        alias="symbol",
        max_length=20,
        description="Only this market, by symbol or id; repeatable. Default: all.",
        examples=[["BTC/EUR"]],
    ),
]
Symbol = Annotated[
    str | None,
    Query(
        description="The market, by symbol or id. Not needed if there is only one.",
        examples=["BTC/EUR"],
    ),
]


def one_market(ws: Workspace, symbol: str | None) -> Market:
    """Return the market of that name, or the only one.

    Raises ConfigError for an unknown symbol, and UsageError without one if there are several.
    """
    markets = ws.markets(() if symbol is None else (symbol,))
    if len(markets) > 1:
        raise UsageError(
            f"there are {len(markets)} markets",
            code="usage.symbol",
            hint=f"name one: symbol={markets[0].symbol}",
        )
    return markets[0]
