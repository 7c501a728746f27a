"""ccxt: candles of some hundred exchanges, as `ccxt:kraken`; needs the extra `cryptocast[ccxt]`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence

import numpy as np

from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError
from cryptocast.seams import Clock, Meter
from cryptocast.sources import _faults
from cryptocast.sources._ccxt import Exchange
from cryptocast.sources._http import PATIENCE, Patience, refuse_future
from cryptocast.sources._rows import between, from_lists
from cryptocast.values import INTERVAL_SECONDS, Candles, IntArray, Market, Page

LEAD_BARS = 12
"""Asked for before what is wanted: a row among them shows that an answer reaches back so far."""

ROWS_A_CALL = 100
"""Where ccxt doesn't know how many candles an exchange gives at once; hardly any gives fewer."""

_COLUMNS = 6


class Source:
    """Candles of one exchange through ccxt, without a key.

    How far back an exchange goes, and by which end it cuts an answer that is too long, differs
    and isn't told. So a page covers only what an answer shows: from the first row on, or from
    where it was asked if a row lies shortly before that; to the last row, or to the end if
    a row lies shortly after it. An empty answer covers nothing.

    Raises ConfigError: config.extra where ccxt is not installed, config.source where it has no
    such exchange, or one without candles. `[source] base_url` stands for ccxt's own root of the
    exchange's public API (for kraken without `/0/public`): `urls['api']` at `public`, `rest` or
    `spot`, or one such level deeper.
    """

    publishes_late = True
    metered = False
    bars_back = None

    def __init__(
        self,
        settings: SourceSettings,
        markets: Sequence[Market],  # noqa: ARG002 - every source is made alike
        secrets: Secrets,  # noqa: ARG002
        *,
        clock: Clock,
        meter: Meter | None = None,  # noqa: ARG002
        patience: Patience = PATIENCE,
    ) -> None:
        if not settings.name.partition(":")[2]:
            raise ConfigError(
                "the source 'ccxt' names no exchange",
                code="config.source",
                hint="write it as ccxt:EXCHANGE, for example ccxt:kraken",
            )
        self.name = settings.name
        self._clock = clock
        self._exchange = Exchange(settings.name, settings.base_url, patience)
        self._limit = self._exchange.limit(unless_known=ROWS_A_CALL)
        self.bars_a_call = self._limit - LEAD_BARS

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, oldest page first.

        Raises ConfigError for an interval (`config.interval`) or a market (`config.symbol`) that
        is not there, or an exchange that is asked in another way than by GET (`config.source`);
        and SourceError: source.bad_answer, what `Http.get` raises.
        """
        refuse_future(self.name, self._clock)
        self._check_interval(market)
        return self._pages(market, start, end, deadline)

    def close(self) -> None:
        """Give back the connections."""
        self._exchange.close()

    def _check_interval(self, market: Market) -> None:
        have = self._exchange.timeframes
        if market.interval not in have:
            known = ", ".join(name for name in INTERVAL_SECONDS if name in have)
            raise ConfigError(
                f"{self.name} has no candles of {market.interval}",
                code="config.interval",
                hint=f"set [market] interval to one of {known}",
            )

    def _check_symbol(self, market: Market, deadline: float) -> None:
        symbols = self._exchange.symbols(deadline)
        if market.symbol not in symbols:
            close = difflib.get_close_matches(market.symbol, symbols, 3)
            known = f"did you mean {' or '.join(close)}?" if close else "is it traded there?"
            raise ConfigError(
                f"{self.name} does not trade {market.symbol}",
                code="config.symbol",
                hint=f"check [market] symbols: {known}",
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
                found = "with the same candles again, where later ones were asked for"
                raise _faults.bad_answer(self.name, path, found)
            elif len(times) and times.min() >= end:
                return  # it goes back no further
            # Nothing there: the next answer begins where this one would have ended.
            cursor, before = last if first < last else since + limit * step, times

    def _read(self, path: str, rows: list[object]) -> Candles:
        candles = from_lists(self.name, path, rows, length=_COLUMNS)
        if len(candles) and np.isnan(candles.close).all():
            raise _faults.bad_answer(self.name, path, "with candles that hold no price")
        return candles


def _covered(market: Market, times: IntArray, cursor: int, end: int, limit: int) -> tuple[int, int]:
    """The part of `[cursor, end)` that rows at these rising times vouch for; or first >= last.

    A row farther from the others than one answer reaches vouches for nothing in between.
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
