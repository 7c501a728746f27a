"""Coinbase: candles of its USD, EUR and other markets as far back as they go, no key."""

from __future__ import annotations

from cryptocast.errors import CryptocastError
from cryptocast.sources import _faults
from cryptocast.sources._exchange import Exchange
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Query
from cryptocast.sources._rows import SECONDS, from_objects
from cryptocast.values import Candles, Market

INTERVALS = {
    "1m": "ONE_MINUTE",
    "5m": "FIVE_MINUTE",
    "15m": "FIFTEEN_MINUTE",
    "30m": "THIRTY_MINUTE",
    "1h": "ONE_HOUR",
    "2h": "TWO_HOUR",
    "6h": "SIX_HOUR",
    "1d": "ONE_DAY",
}
ROWS_A_CALL = 300
_FIELDS = ("start", "open", "high", "low", "close", "volume")


class Source(Exchange):
    """Candles of the public part of Coinbase's Advanced Trade API."""

    name = "coinbase"
    base_url = "https://api.coinbase.com/api/v3/brokerage/market"
    intervals = INTERVALS
    # One bar less than the limit: the newest come first, so an inclusive `end` would push the
    # oldest bar of a full window out of the reply.
    bars_a_call = ROWS_A_CALL - 1
    pace = (9, 1.0)

    def request(self, market: Market, first: int, last: int) -> tuple[str, Query]:
        """Request `/products/BTC-EUR/candles`; times are in seconds."""
        return f"/products/{market.base}-{market.quote}/candles", {
            "granularity": self.intervals[market.interval],
            "start": first,
            "end": last,
        }

    def read(self, path: str, answer: object) -> Candles:
        """Read objects under `candles`, whose values are text."""
        if not isinstance(answer, dict) or "candles" not in answer:
            raise _faults.bad_answer(self.name, path, "without a list under 'candles'")
        return from_objects(self.name, path, answer["candles"], fields=_FIELDS, unit=SECONDS)

    def explain(self, refusal: Refusal) -> CryptocastError | None:
        """Recognise an unknown product."""
        # A bad range is a 400 with the same `error`; only the longer texts name the product.
        named = refusal.status == 400 and "product" in str(refusal.body).lower()
        if refusal.status == 404 or named:
            return refusal.unknown_market("BTC/EUR, BTC/USD, ETH/EUR and others")
        return None
