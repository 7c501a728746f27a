"""Bitvavo: candles of its EUR and USDC markets back to 2019, no key."""

from __future__ import annotations

from cryptocast.errors import CryptocastError
from cryptocast.sources._exchange import Exchange
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Query
from cryptocast.sources._rows import MILLISECONDS, from_lists
from cryptocast.values import Candles, Market

ROWS_A_CALL = 1440
_UNKNOWN_MARKET = 205
_BANNED = 105


class Source(Exchange):
    """Candles of Bitvavo's public API, which has no row for a bar without a trade."""

    name = "bitvavo"
    base_url = "https://api.bitvavo.com/v2"
    # One bar less than the limit: the newest come first, so if `end` were inclusive, a full
    # window would push its oldest bar out of the reply.
    bars_a_call = ROWS_A_CALL - 1
    pace = (900, 60.0)

    def request(self, market: Market, first: int, last: int) -> tuple[str, Query]:
        """Request `/BTC-EUR/candles`; times are in milliseconds."""
        return f"/{market.base}-{market.quote}/candles", {
            "interval": self.intervals[market.interval],
            "limit": ROWS_A_CALL,
            "start": first * MILLISECONDS,
            "end": last * MILLISECONDS,
        }

    def read(self, path: str, answer: object) -> Candles:
        """Read rows of `[ms, "open", "high", "low", "close", "volume"]`."""
        return from_lists(self.name, path, answer, length=6)

    def explain(self, refusal: Refusal) -> CryptocastError | None:
        """Recognise its error numbers of an unknown market and of a ban."""
        number = refusal.body.get("errorCode") if isinstance(refusal.body, dict) else None
        if refusal.status == 404 or (refusal.status == 400 and number == _UNKNOWN_MARKET):
            return refusal.unknown_market("BTC/EUR, ETH/EUR and others in EUR")
        return refusal.banned(" for a while") if number == _BANNED else None
