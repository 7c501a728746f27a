"""Which columns of a file hold what: by their names, by what they say, and by their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cryptocast.display import first_few
from cryptocast.errors import ConfigError, SourceError
from cryptocast.sources import _names
from cryptocast.sources._content import bad_file
from cryptocast.sources._sql import TEXT, column_hint, is_numeric
from cryptocast.values import Candles, Market

TIME_NAMES = ("open_time", "ts", "date", "timestamp")
PRICE_NAMES = ("open", "high", "low", "close", "volume")
MARKET_COLUMNS = ("market", "symbol", "pair")
"""Names of columns that say to which market a row belongs."""

MOST_MARKETS = 1000
"""How many different markets in such a column are looked at."""

TRADES = "source.trades"
"""The code of the error of a file that holds trades."""

_SIZES = ("qty", "quantity", "size", "amount", "volume")  # of a trade
_NOT_BASE = {"quote", "taker", "buy", "sell", "currency"}  # no volume in units of the coin
_ID = re.compile(r"(?:.+:)?([A-Z0-9]+/[A-Z0-9]+)(?::([0-9a-z]+))?")
_LISTED = 5

# Venues do publish a few opens and closes outside of high and low.
_FEWEST_WRONG = 0.1
_MOSTLY = 0.75
_ENOUGH_ROWS = 30


def market_column(types: Mapping[str, str]) -> str | None:
    """Return the text column that names the market of each row, or None if there is none."""
    texts = {name.lower(): name for name, kind in types.items() if kind == TEXT}
    return next((texts[name] for name in MARKET_COLUMNS if name in texts), None)


def market_value(file: Path, values: Sequence[str], market: Market) -> str | None:
    """Return what that column holds in the rows of a market; None if it names no markets at all.

    `values` are the distinct values of the column. Raise ConfigError (`config.symbol`) if the
    market is not among them, or if several of them may be the market.
    """
    named = {value: series for value in values if (series := _series(value, market)) is not None}
    if not named and len(values) < 2:
        return None
    if market.id in named:
        return market.id
    same = [value for value, (symbol, _) in named.items() if symbol == market.symbol]
    fitting = [value for value in same if named[value][1] in (None, market.interval)] or same
    if len(fitting) == 1:
        return fitting[0]
    held = sorted(fitting or named or values)
    problem = f"more than one may be {market.symbol}" if fitting else f"not {market.symbol}"
    raise ConfigError(
        f"{file.name} holds {first_few(held, _LISTED)}: {problem}",
        code="config.symbol",
        hint="ask for a market that it holds, or keep the rows of one in a file of its own",
    )


def positions(types: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Map our names to theirs in a file without names: from the left, or as the setting says."""
    usual = {ours: f"column{i}" for i, ours in enumerate((TIME_NAMES[0], *PRICE_NAMES))}
    present = {ours: theirs for ours, theirs in usual.items() if theirs in types}
    return present | {ours: theirs for ours, theirs in wanted.items() if theirs in types}


def choose(
    file: Path, types: Mapping[str, str], wanted: Mapping[str, str], market: Market
) -> tuple[str, dict[str, str]]:
    """Return the time column, and our names -> theirs for the rest (volume may be missing).

    `types` are all columns of the file, `wanted` is the setting `columns`. Raise SourceError
    (`source.bad_file`, `source.trades`) that names the missing column and the existing ones.
    """
    candidates = (wanted["open_time"],) if "open_time" in wanted else TIME_NAMES
    time = next((column for name in candidates if (column := _find(types, name))), None)
    _refuse_trades(file, types)
    if time is None:
        what = " or ".join(f"'{name}'" for name in candidates)
        raise _missing(file, f"no time column ({what})", "open_time", types)
    columns: dict[str, str] = {}
    for ours in PRICE_NAMES:
        name = wanted.get(ours, ours)
        theirs = _find(types, name)
        if theirs is None and ours == "volume" and ours not in wanted:
            theirs = _volume(types, market)
            if theirs is None:
                continue
        if theirs is None:
            raise _missing(file, f"no column '{name}'", ours, types)
        if types[theirs] != TEXT and not is_numeric(types[theirs]):
            message = f"{file}: column '{theirs}' holds {types[theirs]}, not numbers"
            raise bad_file(message, hint=column_hint(ours))
        columns[ours] = theirs
    return time, columns


def time_of_day(types: Mapping[str, str], day: str) -> str | None:
    """Return the column `time` beside the one that may hold only the day, or None."""
    theirs = _find(types, "time")
    return theirs if theirs != day and "date" in day.lower() else None


def volumes(types: Mapping[str, str]) -> list[str]:
    """Return the columns whose names say that they hold some kind of volume."""
    return [
        name
        for name in types
        if any(word == "vol" or "volume" in word for word in _words(name))
        and (types[name] == TEXT or is_numeric(types[name]))
    ]


def out_of_order(rows: Candles) -> bool:
    """Return whether rows without names have other columns than time, open, high, low, close.

    `rows` are some that can tell: those whose four prices are not all the same, by time.
    """
    top, bottom = np.maximum(rows.open, rows.close), np.minimum(rows.open, rows.close)
    wrong = (rows.high < top) | (rows.low > bottom)
    if np.count_nonzero(wrong) > _FEWEST_WRONG * len(rows):
        return True
    if len(rows) < _ENOUGH_ROWS:
        return False
    # A fifth price, such as Kraken's average, is no volume.
    price = (rows.volume > 0) & (rows.low <= rows.volume) & (rows.volume <= rows.high)
    if np.count_nonzero(price) > (1 - _FEWEST_WRONG) * len(rows):
        return True
    # A bar opens near the close of the one before; close and open swapped are two bars apart.
    apart = np.abs(rows.open[1:] - rows.close[:-1])
    swapped = np.abs(rows.close[1:] - rows.open[:-1])
    return bool(np.count_nonzero(apart > swapped) > _MOSTLY * len(rows))


def _volume(types: Mapping[str, str], market: Market) -> str | None:
    """Return the column that is clearly the volume in units of the coin, or None."""
    coins = _names.spellings(market.base)
    plain, ours = [], []
    for name in volumes(types):
        words = {word.upper() for word in _words(name)}
        if words & {word.upper() for word in _NOT_BASE}:
            continue
        if words & coins or "BASE" in words:
            ours.append(name)
        elif not words & _names.QUOTES:
            plain.append(name)
    likely = ours or plain
    return likely[0] if len(likely) == 1 else None


def _words(name: str) -> list[str]:
    return re.findall("[a-z0-9]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _refuse_trades(file: Path, types: Mapping[str, str]) -> None:
    """Raise SourceError (`source.trades`) if the columns are those of trades."""
    names = {name.lower() for name in types}
    if "price" in names and names & set(_SIZES) and not names & set(PRICE_NAMES[:4]):
        raise SourceError(
            f"{file} holds trades, not candles; its columns are {', '.join(types)}",
            code=TRADES,
            hint="take a file of candles",
        )


def _series(value: str, market: Market) -> tuple[str, str | None] | None:
    """Return the symbol and the interval that a value says, or None if it says no symbol.

    A contract (`BTC/USDT:USDT`) has a symbol of its own.
    """
    if match := _ID.fullmatch(value):
        return match[1], match[2]
    if value.isascii() and "/" in value:
        symbol, _, rest = value.upper().partition(":")
        if match := _ID.fullmatch(symbol):
            return (value, None) if rest else (match[1], None)
    pairs = _names.pairs(value)
    if not pairs:
        return None
    return (market.symbol if market.symbol in pairs else pairs[0]), None


def _find(types: Mapping[str, str], name: str) -> str | None:
    """Return a column by its name, exactly or ignoring case, blanks and brackets around it."""
    if name in types:
        return name
    return next((c for c in types if c.strip(" <>").lower() == name.strip(" <>").lower()), None)


def _missing(file: Path, what: str, ours: str, types: Mapping[str, str]) -> SourceError:
    message = f"{file} has {what}; its columns are {', '.join(types)}"
    return bad_file(message, hint=column_hint(ours))
