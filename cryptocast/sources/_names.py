"""What the name of a file says about the candles in it, and what the distances of its rows say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cryptocast.errors import ConfigError
from cryptocast.values import IntArray, Market

_QUOTES = "USDT|USDC|BUSD|FDUSD|TUSD|USD|EUR|GBP|CHF|JPY|KRW|TRY|BRL|AUD|CAD|DAI|BTC|ETH|BNB"
_WHOLE = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
_SEPARATED = re.compile(_WHOLE.format(rf"(?=[0-9]*[A-Z])([A-Z0-9]{{2,10}})[-_]({_QUOTES})"))
# Run together, a word may end like a quote by chance: only the unmistakable ones count.
_TOGETHER = re.compile(_WHOLE.format(r"([A-Z0-9]{3,6})(USDT|USDC|BUSD|FDUSD|USD|EUR)"))

_KRAKEN = {"BTC": "XBT", "DOGE": "XDG"}  # what Kraken calls coins, in its file names too
_OURS = {theirs: ours for ours, theirs in _KRAKEN.items()}
_KRAKEN_FILE = re.compile(r"[A-Z0-9]+_([0-9]+)\.")
_KRAKEN_MINUTES = (1, 5, 15, 30, 60, 240, 720, 1440, 10080, 21600)

_INTERVAL = re.compile(_WHOLE.format(r"([0-9]{1,2})(s|min|mo|[mhdwHDM])"))
_UNITS = {"min": "m", "M": "mo", "H": "h", "D": "d"}
# What venues make candles of. `7d` is none: it says how many days a file holds.
_SECONDS = {
    **{"1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200},
    **{"4h": 14_400, "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400, "3d": 259_200},
    **{"1w": 604_800, "1mo": 2_592_000},
}

# Prices that were not traded; and contracts, which are not traded at the price of the coin.
_COMPUTED = re.compile(_WHOLE.format("(mark|index|premium_?index|funding_?rate)"), re.IGNORECASE)
_CONTRACTS = re.compile(_WHOLE.format("(futures?|perp|swap)"), re.IGNORECASE)
_FEWEST_STEPS = 10


def own(files: Sequence[Path], market: Market) -> list[Path]:
    """Those of some files that hold a market by their names; none where no name says so.

    Of a market's files, those of another interval are left out where others are of ours, and
    futures where there is a spot market: two series are never joined. Raises ConfigError
    (`config.interval`) where all are of several other intervals.
    """
    found = [file for file in files if _holds(file.name, market)]
    kind = min((_kind(file.name) for file in found), default=0)
    found = [file for file in found if _kind(file.name) == kind]
    seconds = _seconds([file.name for file in found])
    fitting = [
        file
        for file, there in zip(found, seconds, strict=True)
        if there in (None, market.interval_seconds)
    ]
    if not fitting and len(set(seconds)) > 1:
        names = {there: name for name, there in _SECONDS.items()}
        there = ", ".join(names.get(s, f"{s // 60}m") for s in sorted(filter(None, set(seconds))))
        raise ConfigError(
            f"no file of {market.symbol} holds {market.interval} by its name; there is {there}",
            code="config.interval",
            hint="set [market] interval to one of these, or get the file of yours",
        )
    # Where all say one other interval, what is in them decides: names do lie.
    return fitting or found


def pair(name: str) -> str | None:
    """The pair that a file's name clearly says, as BASE/QUOTE; None where it says none."""
    found = _SEPARATED.search(name) or _TOGETHER.search(name)
    return "/".join(_OURS.get(coin, coin) for coin in found.groups()) if found else None


def step_of(open_time: IntArray) -> tuple[int, bool] | None:
    """The median distance of rows in seconds, and whether it is what the rows are candles of.

    It is not where bars are missing between them, so that the next row is some bars away.
    None where there are too few rows to tell.
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


def _holds(name: str, market: Market) -> bool:
    """Whether a file's name holds the market's symbol, however it is written."""
    base, quote = (f"(?:{coin}|{_KRAKEN.get(coin, coin)})" for coin in (market.base, market.quote))
    return re.search(_WHOLE.format(f"{base}[-_]?{quote}"), name, re.IGNORECASE) is not None


def _kind(name: str) -> int:
    """0 where a name says nothing but a pair, 1 for futures, 2 for what was never traded."""
    if _COMPUTED.search(name):
        return 2
    return 1 if _CONTRACTS.search(name) else 0


def _seconds(names: Sequence[str]) -> list[int | None]:
    """The interval that each name says; None where it says none, or several."""
    minutes = [int(m[1]) if (m := _KRAKEN_FILE.match(name)) else None for name in names]
    # Another number among them says that they are numbered parts or years, and not Kraken's.
    kraken = all(m is None or m in _KRAKEN_MINUTES for m in minutes)
    return [
        60 * m if m is not None and kraken else _interval(name)
        for name, m in zip(names, minutes, strict=True)
    ]


def _interval(name: str) -> int | None:
    said = {f"{number}{_UNITS.get(unit, unit)}" for number, unit in _INTERVAL.findall(name)}
    known = {_SECONDS[word] for word in said if word in _SECONDS}
    return known.pop() if len(known) == 1 else None
