"""Whose candles a file holds, as its name says: the pair, the interval, and which series."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from cryptocast.errors import ConfigError
from cryptocast.sources._formats import SUFFIXES
from cryptocast.sources._grid import SECONDS_OF_INTERVALS
from cryptocast.values import Market

KRAKEN_COINS = {"BTC": "XBT", "DOGE": "XDG"}
"""Kraken's names of coins, in its API and in the names of its files."""

_OURS = {theirs: ours for ours, theirs in KRAKEN_COINS.items()}
_DOLLARS = tuple("USDT USDC BUSD FDUSD TUSD USDP GUSD PYUSD RLUSD USDE USDD USD EUR".split())  # noqa: SIM905 - shorter
_MONEY = tuple(
    "GBP CHF JPY KRW TRY BRL AUD CAD NZD SGD HKD INR IDR THB ZAR MXN ARS PLN NGN UAH RUB CZK SEK "  # noqa: SIM905
    "NOK DKK RON AED EURC EURT EURI AEUR BIDR IDRT DAI UST PAX VAI".split()
)
_COINS = ("BTC", "XBT", "ETH", "BNB", "SOL", "TRX", "XRP", "DOGE")
QUOTES = frozenset((*_DOLLARS, *_MONEY, *_COINS))
"""The currencies in which coins are quoted."""

# Words that name a coin even where a word in lower case might be anything.
_KNOWN = frozenset(
    "BTC XBT ETH BNB SOL XRP ADA DOGE XDG LTC DOT LINK AVAX TRX MATIC SHIB BCH XLM UNI ATOM ETC "  # noqa: SIM905
    "XMR EUR GBP USDT USDC".split()
)
_LONGEST_OTHER = 5  # of an unknown coin in front of a quote that may also end a word

_KRAKEN_FILE = re.compile(r"[A-Z0-9]+_([0-9]+)\.")
_KRAKEN_MINUTES = (1, 5, 15, 30, 60, 240, 720, 1440, 10080, 21600)

_INTERVAL = re.compile(
    r"(?<!\S)([0-9]{1,4}) ?(s|mins?|minutes?|m|hours?|h|H|days?|d|D|w|W|mo|M)(?!\S)"
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
# `7d` and `24h` are none: they say how much a file holds.
_NO_INTERVALS = {"7d", "24h", "30d", "168h", "72h"}
_ADVERBS = {"minute": 60, "hour": 3600, "hourly": 3600, "daily": 86_400, "day": 86_400}
_ADVERBS |= {"weekly": 604_800}

_NUMBERS = re.compile(
    r"[0-9]{1,3}|(19|20)[0-9]{2}|20(1[3-9]|[2-9][0-9])(0[1-9]|1[0-2])"  # parts, years, months
    r"|(19|20)[0-9]{2}(0[1-9]|1[0-2])([0-2][0-9]|3[01])(t?[0-9]{4,6}z?)?|[0-9]{10}|[0-9]{13}"
    r"|(00|1[3-9]|[2-9][0-9])[0-9]{2}|((19|20)[0-9]{2})?q[1-4]|(19|20)[0-9]{2}h[12]|part[0-9]+"
    r"|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
)
"""Parts of a file's name that say which of several parts of one series it is.

Six digits are a month or, as in `BTCUSDT_240628`, the day on which a contract ends.
"""

_PLAIN = frozenset(
    "candle candles kline klines ohlc ohlcv ohlcvt bar bars data hist history historical spot "  # noqa: SIM905
    "price prices export exported all full part parts to from monthly utc csv json txt".split()
)
_CONTRACTS = frozenset(
    "future futures perp perps perpetual swap quarter quarterly biquarterly delivery linear "  # noqa: SIM905
    "inverse cm um coinm usdm margin p".split()
)
_COMPUTED = frozenset(
    "mark markprice markpriceklines index indexprice indexpriceklines premium premiumindex "  # noqa: SIM905
    "premiumindexklines funding fundingrate bid ask".split()
)
_NO_CANDLES = frozenset(
    "trade trades aggtrades aggtrade tick ticks orderbook book bookdepth bookticker depth "  # noqa: SIM905
    "liquidation liquidations metrics openinterest".split()
)


@dataclass(frozen=True, slots=True)
class _Label:
    """The parts of a file's name beyond the pair."""

    kind: int  # 0: candles of trades; 1: of a contract; 2: prices never traded; 3: no candles
    series: frozenset[str]  # words that are not understood, or that name another series
    seconds: int | None  # its interval


def own(files: Sequence[Path], market: Market) -> tuple[list[Path], list[str]]:
    """Return the files that hold a market according to their names, and what to tell about it.

    Two series are never joined: beside a spot market contracts are left out, and so are files
    of other intervals. Raise ConfigError if no name says this interval (`config.interval`), or
    if the names say several series (`config.symbol`).
    """
    labels = _labels([file for file in files if _match(file.name, market)], market)
    kind = min((label.kind for label in labels.values()), default=0)
    chosen = {file: label for file, label in labels.items() if label.kind == kind}
    remarks = [
        f"{file.name} is left out: its name says {' '.join(sorted(label.series))}"
        for file, label in labels.items()
        if label.kind > kind
    ]
    fitting = of_interval(list(chosen), [label.seconds for label in chosen.values()], market)
    several = {chosen[file].series: file.name for file in fitting}
    if len(several) > 1:
        raise ConfigError(
            f"the names of {' and '.join(sorted(several.values())[:3])} say different series of "
            f"{market.symbol}, which are never joined",
            code="config.symbol",
            hint="set [source] path to the files of one of them",
        )
    remarks += [
        f"{file.name} is taken for {market.symbol}, though its name says "
        f"{' '.join(sorted(chosen[file].series))}"
        for file in fitting
        if kind > 0
    ]
    return fitting, remarks


def of_interval(files: Sequence[Path], said: Sequence[int | None], market: Market) -> list[Path]:
    """Return the files whose name says the interval of a market, or none.

    Raise ConfigError (`config.interval`) if there are only files of others.
    """
    ours = (None, market.interval_seconds)
    fitting = [file for file, seconds in zip(files, said, strict=True) if seconds in ours]
    if files and not fitting:
        names = {length: name for name, length in SECONDS_OF_INTERVALS.items()}
        listed = ", ".join(names.get(s, f"{s // 60}m") for s in sorted(filter(None, set(said))))
        raise ConfigError(
            f"no file of {market.symbol} holds {market.interval} by its name; there is {listed}",
            code="config.interval",
            hint="set [market] interval to one of these, get the file of yours, "
            "or rename it if its name is wrong",
        )
    return fitting


@cache
def pairs(name: str) -> tuple[str, ...]:
    """Return the pairs that a name may mean, as BASE/QUOTE: none, one, or several cuts."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    parted = [
        (a, b)
        for a, b in pairwise(words)
        if re.search(rf"(?<![A-Za-z0-9]){a}[-_/]{b}(?![A-Za-z0-9])", name) and _is_parted(a, b)
    ]
    found = parted or [cut for word in words for cut in _cuts(word)]
    # A coin that everybody knows goes before one that may not even exist (`BTCFDUSD`).
    known = [cut for cut in found if cut[0].upper() in _KNOWN]
    found = known if len(known) == 1 else found
    made = (tuple(_OURS.get(coin.upper(), coin.upper()) for coin in cut) for cut in found)
    return tuple(dict.fromkeys("/".join(cut) for cut in made if cut[0] != cut[1]))


def interval(files: Sequence[Path]) -> list[int | None]:
    """Return the interval in seconds that each file's name says; None if none, or several."""
    names = [file.name for file in files]
    minutes = [int(m[1]) if (m := _KRAKEN_FILE.match(name)) else None for name in names]
    # If there is another number, these are numbered parts or years rather than Kraken's files.
    kraken = all(m is None or m in _KRAKEN_MINUTES for m in minutes)
    return [
        60 * m if m is not None and kraken else _interval(_rest(name), bool(pairs(name)))
        for name, m in zip(names, minutes, strict=True)
    ]


def spellings(coin: str) -> set[str]:
    """Return the names of a coin."""
    return {coin, KRAKEN_COINS.get(coin, coin)}


def _match(name: str, market: Market) -> re.Match[str] | None:
    """Return where the name of a file says the market's symbol, in whatever spelling."""
    base, quote = ("|".join(spellings(coin)) for coin in (market.base, market.quote))
    pattern = rf"(?<![A-Za-z0-9])(?:{base})[-_ .+]?(?:{quote})(?![A-Za-z0-9])"
    return re.search(pattern, name, re.IGNORECASE)


def _labels(files: Sequence[Path], market: Market) -> dict[Path, _Label]:
    """Return what the names of files that say the symbol of a market say beyond it."""
    labels = {}
    for file, seconds in zip(files, interval(files), strict=True):
        match = _match(file.name, market)
        start, end = match.span() if match else (0, 0)
        rest = _INTERVAL.sub(" ", _rest(f"{file.name[:start]} {file.name[end:]}")).lower()
        understood = _PLAIN | _ADVERBS.keys() | {"d"}
        if seconds is not None and _KRAKEN_FILE.match(file.name):
            understood |= {str(seconds // 60)}
        words = [w for w in rest.split() if w not in understood and not _NUMBERS.fullmatch(w)]
        labels[file] = _Label(max(map(_kind, words), default=0), frozenset(words), seconds)
    return labels


def _kind(word: str) -> int:
    """Return which `_Label.kind` a word makes of a file."""
    if word in _NO_CANDLES:
        return 3
    if word in _COMPUTED:
        return 2
    dated = re.fullmatch(r"[0-9]{2}(0[1-9]|1[0-2])[0-9]{2}|[0-9]{1,2}[a-z]{3}[0-9]{2}", word)
    # A further currency is the one in which a contract is settled.
    return 1 if dated or word in _CONTRACTS or word.upper() in QUOTES else 0


def _rest(name: str) -> str:
    """Return the words of a name without its suffix, parted by blanks."""
    suffix = next((s for s in sorted(SUFFIXES, key=len)[::-1] if name.lower().endswith(s)), "")
    return " ".join(re.findall(r"[^\W_]+", name[: len(name) - len(suffix)]))


def _interval(words: str, of_pair: bool) -> int | None:
    said = [match for match in _INTERVAL.finditer(words) if match[0] not in _NO_INTERVALS]
    lengths = {int(m[1]) * _UNITS[_unit(int(m[1]), m[2])] for m in said}
    lengths &= set(SECONDS_OF_INTERVALS.values())
    adverbs = _ADVERBS | ({"d": 86_400} if of_pair else {})  # `BTCUSD_d` is of days
    lengths = lengths or {adverbs[w] for w in words.lower().split() if w in adverbs}
    return lengths.pop() if len(lengths) == 1 else None


def _unit(number: int, word: str) -> str:
    return "mo" if word == "mo" or (word, number) == ("M", 1) else word[0].lower()


def _is_parted(base: str, quote: str) -> bool:
    """Return whether two neighbouring words are a pair."""
    b, q = base.upper(), quote.upper()
    if q not in QUOTES or not re.fullmatch(r"(?=[0-9]*[A-Z])[A-Z0-9]{1,10}", b):
        return False
    if base == b and quote == q:
        return True
    plain = base.lower() in _PLAIN | _CONTRACTS | _COMPUTED | _NO_CANDLES
    return b in _KNOWN or (q not in _COINS and not plain and len(b) <= _LONGEST_OTHER)


def _cuts(word: str) -> list[tuple[str, str]]:
    """Return all pairs that a word without a separator may be."""
    upper = word.upper()
    if word not in (upper, upper.lower()):
        return []
    cuts = [(upper[: -len(quote)], quote) for quote in QUOTES if upper.endswith(quote)]
    return sorted((base, quote) for base, quote in cuts if _is_cut(base, quote, word == upper))


def _is_cut(base: str, quote: str, capitals: bool) -> bool:
    if not re.fullmatch(r"(?=[0-9]*[A-Z])[A-Z0-9]{1,12}", base):
        return False
    if quote in _DOLLARS and (capitals or quote != "EUR"):
        return len(base) > 1 or len(quote) > 3
    # Words may end like these quotes by chance.
    return base in _KNOWN or (capitals and 3 <= len(base) <= _LONGEST_OTHER)
