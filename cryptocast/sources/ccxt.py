"""ccxt: candles of some hundred exchanges, as `ccxt:kraken`; needs the extra `cryptocast[ccxt]`."""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cryptocast.errors import ConfigError
from cryptocast.sources import Setup, _faults
from cryptocast.sources._ccxt import CcxtExchange, unusable
from cryptocast.sources._exchange import check_askable
from cryptocast.sources._rows import between, from_lists
from cryptocast.values import Candles, IntArray, Market, Page

LEAD_BARS = 12
"""Bars requested before the range: a row among them shows that a reply reaches back to it."""

ROWS_A_CALL = 100
"""Candles per call if ccxt does not know; hardly any exchange gives fewer."""

_COLUMNS = 6
_ROOTS = ("public", "rest", "spot")


class Source:
    """Candles of one exchange through ccxt, without a key.

    How far back an exchange goes, and at which end it cuts a reply that is too long, differs and
    is not documented. So a page covers only what a reply shows: from the first row on, or from
    the requested start if a row lies shortly before it; to the last row, or to the requested end
    if a row lies shortly after it. An empty reply covers nothing.

    Raise ConfigError: config.extra if ccxt is not installed, config.source if it has no such
    exchange, or one without candles. `[source] base_url` replaces ccxt's own root of the public
    API of the exchange (for kraken without `/0/public`): `urls['api']` at `public`, `rest` or
    `spot`, or one such level deeper.
    """

    publishes_late = True
    metered = False
    bars_back = None

    def __init__(self, setup: Setup) -> None:
        self.name = setup.settings.name
        if not self.name.partition(":")[2]:
            raise ConfigError(
                "the source 'ccxt' names no exchange",
                code="config.source",
                hint="write it as ccxt:EXCHANGE, for example ccxt:kraken",
            )
        self._clock = setup.clock
        base_url = setup.settings.base_url.rstrip("/") if setup.settings.base_url else None
        ccxt = _library()
        exchange = _exchange(ccxt, self.name, base_url)
        self._intervals = tuple(exchange.timeframes)  # by names that ccxt and this program share
        self._limit = _limit(exchange.features)
        self._exchange = CcxtExchange(self.name, ccxt, exchange, base_url, setup.patience)
        self.bars_a_call = self._limit - LEAD_BARS

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, oldest page first.

        Raise ConfigError for an unknown interval (`config.interval`) or market (`config.symbol`),
        or an exchange that needs other requests than GET (`config.source`); and SourceError:
        source.bad_answer, whatever `Http.get` raises.
        """
        check_askable(self.name, market, self._intervals, self._clock)
        return self._pages(market, start, end, deadline)

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()

    def _check_symbol(self, market: Market, deadline: float) -> None:
        symbols = self._exchange.symbols(deadline)
        if market.symbol not in symbols:
            close = difflib.get_close_matches(market.symbol, symbols, 3)
            guess = f"did you mean {' or '.join(close)}?" if close else "is it traded there?"
            raise ConfigError(
                f"{self.name} does not trade {market.symbol}",
                code="config.symbol",
                hint=f"check [market] symbols: {guess}",
            )

    def _pages(self, market: Market, start: int, end: int, deadline: float) -> Iterator[Page]:
        if start >= end:
            return
        self._check_symbol(market, deadline)
        step, limit = market.interval_seconds, self._limit
        cursor, before = start, np.empty(0, dtype=np.int64)
        while cursor < end:
            since = market.floor(cursor) - LEAD_BARS * step
            path, rows, skew = self._exchange.candles(
                market.symbol, market.interval, since, limit, deadline
            )
            candles = self._read(path, rows)
            times = candles.open_time
            first, last = _covered(market, times, cursor, end, limit)
            if first < last:
                yield Page(first, last, between(candles, first, last), skew)
            elif len(times) and times.min() < since - step and np.array_equal(times, before):
                content = "with the same candles again, where later ones were asked for"
                raise _faults.bad_answer(self.name, path, content)
            elif len(times) and times.min() >= end:
                return  # it goes back no further
            # If nothing was covered, the next reply begins where this one would have ended.
            cursor, before = last if first < last else since + limit * step, times

    def _read(self, path: str, rows: list[object]) -> Candles:
        candles = from_lists(self.name, path, rows, length=_COLUMNS)
        if len(candles) and np.isnan(candles.close).all():
            raise _faults.bad_answer(self.name, path, "with candles that hold no price")
        return candles


def _covered(market: Market, times: IntArray, cursor: int, end: int, limit: int) -> tuple[int, int]:
    """Return the part of `[cursor, end)` that rows at these rising times cover; or first >= last.

    A row farther from the others than one reply reaches covers nothing in between.
    """
    step = market.interval_seconds
    since = market.floor(cursor) - LEAD_BARS * step
    later = times[times >= cursor]
    if len(later) == 0:
        return end, cursor
    first, reach = market.floor(int(later[0])), since + (limit + 1) * step
    if first <= reach and ((times >= since - step) & (times <= cursor)).any():
        first = cursor
    else:
        reach = first + limit * step
    last = market.floor(int(later[later <= reach][-1])) + step
    return max(first, cursor), min(last, end)


def _library() -> Any:
    """Return ccxt, which has no types; raise ConfigError (`config.extra`) if it is missing."""
    try:
        return importlib.import_module("ccxt")  # late: it takes 0.4 s
    except ImportError:
        raise ConfigError(
            "cryptocast[ccxt] is not installed, which every source ccxt:... needs",
            code="config.extra",
            hint="pip install 'cryptocast[ccxt]'",
        ) from None


def _exchange(ccxt: Any, source: str, base_url: str | None) -> Any:
    """Return the object of `ccxt:NAME`; raise ConfigError (`config.source`) if it cannot serve."""
    name = source.partition(":")[2]
    if name not in ccxt.exchanges:
        close = difflib.get_close_matches(name, ccxt.exchanges, 3)
        guess = f"did you mean {' or '.join(f'ccxt:{other}' for other in close)}? " if close else ""
        all_names = (
            f"python -c 'import ccxt; print(ccxt.exchanges)' lists all {len(ccxt.exchanges)}"
        )
        raise ConfigError(
            f"ccxt knows no exchange '{name}'", code="config.source", hint=guess + all_names
        )
    exchange = getattr(ccxt, name)({"enableRateLimit": True})
    if exchange.has.get("fetchOHLCV") is not True:
        raise unusable(source, "has no candles")
    if base_url is not None and not _point(exchange.urls.get("api"), base_url):
        raise unusable(source, "has no single address that base_url could stand for")
    _spot_only(exchange.options)
    return exchange


def _limit(features: object) -> int:
    """Return how many candles a call brings, as far as ccxt knows."""
    for key in ("spot", "fetchOHLCV", "limit"):
        features = features.get(key) if isinstance(features, dict) else None
    return features if isinstance(features, int) else ROWS_A_CALL


def _point(api: object, base_url: str) -> bool:
    """Replace the root of the public API in ccxt; return False if it has no single one.

    The root is at `public`, `rest` or `spot`, or one such level deeper (`spot.public`).
    """
    if not isinstance(api, dict):
        return False
    place = next((root for root in _ROOTS if root in api), None)
    if place is None or not isinstance(api[place], str):
        return place is not None and _point(api[place], base_url)
    api[place] = base_url
    return True


def _spot_only(options: dict[str, Any]) -> None:
    """Make ccxt load only spot markets, and nothing from web pages made for people."""
    for option in options.values():
        if isinstance(option, dict) and "webApiEnable" in option:
            option["webApiEnable"] = False
    loading = options.get("fetchMarkets")
    if isinstance(loading, dict) and isinstance(loading.get("types"), list):
        loading["types"] = [kind for kind in loading["types"] if kind == "spot"] or loading["types"]
