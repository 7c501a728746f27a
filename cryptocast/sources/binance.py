"""Binance: candles from 2017 on (in EUR from 2020), no key; blocked in some countries."""

from __future__ import annotations

from cryptocast.errors import CryptocastError
from cryptocast.sources._exchange import Exchange
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Query
from cryptocast.sources._rows import MILLISECONDS, from_lists
from cryptocast.values import Candles, Market

_UNKNOWN_SYMBOL = (-1121, -1100)  # not traded; letters or a length that no symbol has


class Source(Exchange):
    """Candles of Binance's public API."""

    name = "binance"
    base_url = "https://api.binance.com/api/v3"
    bars_a_call = 1000
    pace = (2000, 60.0)

    def request(self, market: Market, first: int, last: int) -> tuple[str, Query]:
        """Request `/klines`; times are in milliseconds, the end is inclusive."""
        return "/klines", {
            "symbol": market.base + market.quote,
            "interval": self.intervals[market.interval],
            "startTime": first * MILLISECONDS,
            "endTime": last * MILLISECONDS - 1,
            "limit": self.bars_a_call,
        }

    def read(self, path: str, answer: object) -> Candles:
        """Read rows of `[ms, "open", "high", "low", "close", "volume", ms of the close, ...]`."""
        return from_lists(self.name, path, answer, length=12)

    def explain(self, refusal: Refusal) -> CryptocastError | None:
        """Recognise an unknown symbol, a ban (418), and a country that it does not serve (451)."""
        number = refusal.body.get("code") if isinstance(refusal.body, dict) else None
        if refusal.status == 404 or (refusal.status == 400 and number in _UNKNOWN_SYMBOL):
            return refusal.unknown_market("BTC/EUR, BTC/USDT, ETH/USDT and others")
        if refusal.status == 418:
            return refusal.banned(
                f" for {refusal.wait_seconds:.0f} s" if refusal.wait_seconds else ""
            )
        if refusal.status == 451:
            return refusal.forbidden("its use may be barred in this country")
        return None
