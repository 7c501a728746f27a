"""Files that hold several markets: which rows are whose, by a column that names them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptocast.errors import ConfigError
from cryptocast.sources import _names
from cryptocast.values import Market

COLUMNS = ("market", "symbol", "pair")
"""What columns that name markets are called."""

MOST = 1000
"""So many markets of a file are looked at."""

_ID = re.compile(r"(?:.+:)?([A-Z0-9]+/[A-Z0-9]+)(?::([0-9a-z]+))?")
_TOLD = 5


def column_of(types: Mapping[str, str]) -> str | None:
    """The column of text that names the market of a row; None where a file has no such."""
    named = {name.lower(): name for name, kind in types.items() if kind == "VARCHAR"}
    return next((named[name] for name in COLUMNS if name in named), None)


def rows_of(file: Path, values: Sequence[str], market: Market) -> str | None:
    """The value in that column of the market's rows; None: it names no markets, all are meant.

    `values` are all that are in it. Raises ConfigError (`config.symbol`) where the market is not
    among them, or more than one may be it.
    """
    known = {value: found for value in values if (found := _read(value)) is not None}
    if not known:
        return None
    if market.id in known:
        return market.id
    mine = [value for value, (symbol, _) in known.items() if symbol == market.symbol]
    fitting = [value for value in mine if known[value][1] in (None, market.interval)] or mine
    if len(fitting) == 1:
        return fitting[0]
    told = ", ".join(sorted(fitting or known)[:_TOLD])
    more = len(fitting or known) - _TOLD
    if more > 0:
        told += f" and {more} more"
    which = "which of them is not told" if fitting else f"not {market.symbol}"
    raise ConfigError(
        f"{file.name} holds {told}: {which}",
        code="config.symbol",
        hint="ask for a market that it holds, or keep the rows of one in a file of its own",
    )


def _read(value: str) -> tuple[str, str | None] | None:
    """The symbol and the interval that a value says; None where it says no symbol."""
    if found := _ID.fullmatch(value):
        return found[1], found[2]
    symbol = _names.pair(value)
    return None if symbol is None else (symbol, None)
