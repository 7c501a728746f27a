"""Whose candles a file holds, and in which columns: by names, and by the distances of rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cryptocast.errors import ConfigError, SourceError
from cryptocast.sources._formats import bad_file
from cryptocast.sources._sql import TEXT, column_hint, is_numeric
from cryptocast.values import IntArray, Market

_QUOTES = "USDT|USDC|BUSD|FDUSD|TUSD|USD|EUR|GBP|CHF|JPY|KRW|TRY|BRL|AUD|CAD|DAI|BTC|ETH|BNB"
_WHOLE = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
_SEPARATED = re.compile(_WHOLE.format(rf"(?=[0-9]*[A-Z])([A-Z0-9]{{2,10}})[-_]({_QUOTES})"))
# Without a separator, a word may end like a quote by chance: only the unmistakable ones count.
_TOGETHER = re.compile(_WHOLE.format(r"([A-Z0-9]{3,6})(USDT|USDC|BUSD|FDUSD|USD|EUR)"))

KRAKEN_COINS = {"BTC": "XBT", "DOGE": "XDG"}
"""Kraken's names of coins, in its API and in the names of its files."""

_OURS = {theirs: ours for ours, theirs in KRAKEN_COINS.items()}
_KRAKEN_FILE = re.compile(r"[A-Z0-9]+_([0-9]+)\.")
_KRAKEN_MINUTES = (1, 5, 15, 30, 60, 240, 720, 1440, 10080, 21600)

_INTERVAL = re.compile(_WHOLE.format(r"([0-9]{1,2})(s|min|mo|[mhdwHDM])"))
_UNITS = {"min": "m", "M": "mo", "H": "h", "D": "d"}
# The intervals of which venues make candles. `7d` is none: it says how many days a file holds.
_SECONDS = {
    **{"1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200},
    **{"4h": 14_400, "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400, "3d": 259_200},
    **{"1w": 604_800, "1mo": 2_592_000},
}

# Prices that were never traded; and contracts, which are not traded at the price of the coin.
_COMPUTED = re.compile(_WHOLE.format("(mark|index|premium_?index|funding_?rate)"), re.IGNORECASE)
_CONTRACTS = re.compile(_WHOLE.format("(futures?|perp|swap)"), re.IGNORECASE)
_FEWEST_STEPS = 10

TIME_NAMES = ("open_time", "ts", "date", "timestamp")
PRICE_NAMES = ("open", "high", "low", "close", "volume")
MARKET_COLUMNS = ("market", "symbol", "pair")
"""Names of columns that say to which market a row belongs."""

MOST_MARKETS = 1000
"""How many different markets in such a column are looked at."""

_ID = re.compile(r"(?:.+:)?([A-Z0-9]+/[A-Z0-9]+)(?::([0-9a-z]+))?")
_LISTED = 5


def own(files: Sequence[Path], market: Market) -> list[Path]:
    """Return the files that hold a market according to their names, or none.

    If some of them have the right interval, those of other intervals are left out, and so are
    futures if there is a spot market: two series are never joined. Raise ConfigError
    (`config.interval`) if all of them have several other intervals.
    """
    holding = [file for file in files if _holds(file.name, market)]
    kind = min((_kind(file.name) for file in holding), default=0)
    holding = [file for file in holding if _kind(file.name) == kind]
    seconds = _seconds([file.name for file in holding])
    fitting = [
        file
        for file, said in zip(holding, seconds, strict=True)
        if said in (None, market.interval_seconds)
    ]
    if not fitting and len(set(seconds)) > 1:
        names = {length: name for name, length in _SECONDS.items()}
        said = ", ".join(names.get(s, f"{s // 60}m") for s in sorted(filter(None, set(seconds))))
        raise ConfigError(
            f"no file of {market.symbol} holds {market.interval} by its name; there is {said}",
            code="config.interval",
            hint="set [market] interval to one of these, or get the file of yours",
        )
    # If all names say the same other interval, the content decides: names may be wrong.
    return fitting or holding


def pair(name: str) -> str | None:
    """Return the pair that the name of a file clearly says, as BASE/QUOTE, or None."""
    match = _SEPARATED.search(name) or _TOGETHER.search(name)
    return "/".join(_OURS.get(coin, coin) for coin in match.groups()) if match else None


def step_of(open_time: IntArray) -> tuple[int, bool] | None:
    """Return the median distance of rows in seconds, and whether it is their interval.

    It is not the interval if bars are missing so often that the next row is usually some bars
    away. Return None if there are too few rows to tell.
    """
    steps = np.diff(open_time)
    if np.any(steps <= 0):
        open_time = np.unique(open_time)
        steps = np.diff(open_time)
    if len(steps) < _FEWEST_STEPS:
        return None
    step = int(np.median(steps))
    usual = step in _SECONDS.values()
    return step, usual and bool(np.all((open_time - open_time[0]) % step == 0))


def market_column(types: Mapping[str, str]) -> str | None:
    """Return the text column that names the market of each row, or None if there is none."""
    texts = {name.lower(): name for name, kind in types.items() if kind == TEXT}
    return next((texts[name] for name in MARKET_COLUMNS if name in texts), None)


def market_value(file: Path, values: Sequence[str], market: Market) -> str | None:
    """Return what that column holds in the rows of a market; None if it names no markets at all.

    `values` are the distinct values of the column. Raise ConfigError (`config.symbol`) if the
    market is not among them, or if several of them may be the market.
    """
    named = {value: series for value in values if (series := _series(value)) is not None}
    if not named:
        return None
    if market.id in named:
        return market.id
    same = [value for value, (symbol, _) in named.items() if symbol == market.symbol]
    fitting = [value for value in same if named[value][1] in (None, market.interval)] or same
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(sorted(fitting or named)[:_LISTED])
    more = len(fitting or named) - _LISTED
    if more > 0:
        listed += f" and {more} more"
    problem = f"more than one may be {market.symbol}" if fitting else f"not {market.symbol}"
    raise ConfigError(
        f"{file.name} holds {listed}: {problem}",
        code="config.symbol",
        hint="ask for a market that it holds, or keep the rows of one in a file of its own",
    )


def positions(types: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Map our names to theirs in a file without names: from the left, or as the setting says."""
    usual = {ours: f"column{i}" for i, ours in enumerate((TIME_NAMES[0], *PRICE_NAMES))}
    present = {ours: theirs for ours, theirs in usual.items() if theirs in types}
    return present | {ours: theirs for ours, theirs in wanted.items() if theirs in types}


def choose(
    file: Path, types: Mapping[str, str], wanted: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Return the time column, and our names -> theirs for the rest (volume may be missing).

    `types` are all columns of the file, `wanted` is the setting `columns`. Raise SourceError
    (`source.bad_file`) that names the missing column and the existing ones.
    """
    candidates = (wanted["open_time"],) if "open_time" in wanted else TIME_NAMES
    time = next((column for name in candidates if (column := _find(types, name))), None)
    if time is None:
        what = " or ".join(f"'{name}'" for name in candidates)
        raise _missing(file, f"no time column ({what})", "open_time", types)
    columns: dict[str, str] = {}
    for ours in PRICE_NAMES:
        name = wanted.get(ours, ours)
        theirs = _find(types, name)
        if theirs is None:
            if ours == "volume" and ours not in wanted:
                continue
            raise _missing(file, f"no column '{name}'", ours, types)
        if types[theirs] != TEXT and not is_numeric(types[theirs]):
            message = f"{file}: column '{theirs}' holds {types[theirs]}, not numbers"
            raise bad_file(message, hint=column_hint(ours))
        columns[ours] = theirs
    return time, columns


def _series(value: str) -> tuple[str, str | None] | None:
    """Return the symbol and the interval that a value says, or None if it says no symbol."""
    if match := _ID.fullmatch(value):
        return match[1], match[2]
    symbol = pair(value)
    return None if symbol is None else (symbol, None)


def _holds(name: str, market: Market) -> bool:
    """Return whether the name of a file holds the market's symbol, in whatever spelling."""
    base, quote = (
        f"(?:{coin}|{KRAKEN_COINS.get(coin, coin)})" for coin in (market.base, market.quote)
    )
    return re.search(_WHOLE.format(f"{base}[-_]?{quote}"), name, re.IGNORECASE) is not None


def _kind(name: str) -> int:
    """Return 0 if a name says nothing but a pair, 1 for futures, 2 for prices never traded."""
    if _COMPUTED.search(name):
        return 2
    return 1 if _CONTRACTS.search(name) else 0


def _seconds(names: Sequence[str]) -> list[int | None]:
    """Return the interval that each name says; None if it says none, or several."""
    minutes = [int(m[1]) if (m := _KRAKEN_FILE.match(name)) else None for name in names]
    # If there is another number, these are numbered parts or years rather than Kraken's files.
    kraken = all(m is None or m in _KRAKEN_MINUTES for m in minutes)
    return [
        60 * m if m is not None and kraken else _interval(name)
        for name, m in zip(names, minutes, strict=True)
    ]


def _interval(name: str) -> int | None:
    words = {f"{number}{_UNITS.get(unit, unit)}" for number, unit in _INTERVAL.findall(name)}
    lengths = {_SECONDS[word] for word in words if word in _SECONDS}
    return lengths.pop() if len(lengths) == 1 else None


def _find(types: Mapping[str, str], name: str) -> str | None:
    """Return a column by its name, exactly or ignoring case."""
    if name in types:
        return name
    return next((column for column in types if column.lower() == name.lower()), None)


def _missing(file: Path, what: str, ours: str, types: Mapping[str, str]) -> SourceError:
    message = f"{file} has {what}; its columns are {', '.join(types)}"
    return bad_file(message, hint=column_hint(ours))
