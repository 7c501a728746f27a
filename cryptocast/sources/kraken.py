"""Kraken: candles of the last 720 bars, no key; older ones are not available."""

from __future__ import annotations

from cryptocast.errors import CryptocastError
from cryptocast.sources import _faults
from cryptocast.sources._exchange import Exchange
from cryptocast.sources._faults import Refusal, clean
from cryptocast.sources._http import Query
from cryptocast.sources._names import KRAKEN_COINS
from cryptocast.sources._rows import SECONDS, from_lists
from cryptocast.values import Candles, IntArray, Market

INTERVALS = {"1m": "1", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "1d": "1440"}
_ROW = 8
_PLACES = (0, 1, 2, 3, 4, 6)  # 5 is the mean price, 7 the number of trades


class Source(Exchange):
    """Candles of Kraken's public API."""

    name = "kraken"
    base_url = "https://api.kraken.com/0/public"
    intervals = INTERVALS
    bars_a_call = 720
    bars_back = 720
    pace = (1, 1.0)

    def request(
        self,
        market: Market,
        first: int,
        last: int,  # noqa: ARG002 - every reply goes on until now
    ) -> tuple[str, Query]:
        """Request `/OHLC` since one bar earlier, as `since` itself may not be included."""
        pair = "".join(KRAKEN_COINS.get(coin, coin) for coin in (market.base, market.quote))
        since = first - market.interval_seconds
        return "/OHLC", {"pair": pair, "interval": self.intervals[market.interval], "since": since}

    def read(self, path: str, answer: object) -> Candles:
        """Read the one list under `result` beside `last`, under Kraken's name of the pair."""
        result = answer.get("result") if isinstance(answer, dict) else None
        named = result if isinstance(result, dict) else {}
        lists = [rows for key, rows in named.items() if key != "last"]
        if len(lists) != 1:
            raise _faults.bad_answer(self.name, path, "without one list of candles in 'result'")
        return from_lists(self.name, path, lists[0], length=_ROW, places=_PLACES, unit=SECONDS)

    def covered(
        self, path: str, market: Market, first: int, last: int, times: IntArray
    ) -> tuple[int, int]:
        """Return the range from the first row on, as a reply may be cut to the newest 720 bars.

        Bars without a trade count for the cut but have no rows, so that a cut reply may hold
        fewer than 720 rows (seen: 707 to 711).
        """
        if len(times) == 0:
            return first, last
        step = market.interval_seconds
        requested = times[times >= market.floor(first) - step]
        if len(requested) == 0:
            raise self.astray(path, first, last, times)
        reach = int(requested.min())
        if len(requested) < self.bars_a_call:
            reach = min(reach, int(requested.max()) - (self.bars_a_call - 1) * step)
        return max(first, market.floor(reach)), last

    def judge(self, answer: object) -> CryptocastError | None:
        """Recognise the errors that Kraken puts into a 200."""
        return self._error_of(200, answer)

    def explain(self, refusal: Refusal) -> CryptocastError | None:
        """Recognise these errors if the status says so too."""
        return self._error_of(refusal.status, refusal.body)

    def _error_of(self, status: int, answer: object) -> CryptocastError | None:
        """Return the error that the list `error` stands for, or None if it holds none."""
        errors = answer.get("error") if isinstance(answer, dict) else None
        texts = [e for e in errors if isinstance(e, str)] if isinstance(errors, list) else []
        # Those that begin with W are warnings.
        said = ", ".join(text for text in texts if text.startswith("E"))
        if not said:
            return None
        refusal = Refusal(self.name, status, clean(said), None)
        if "Unknown asset pair" in said:
            return refusal.unknown_market("BTC/EUR, BTC/USD, ETH/EUR and others")
        if "Too many requests" in said or "Rate limit" in said:
            return refusal.limited()
        if "EService:" in said or "Internal error" in said:
            return refusal.broken()
        return refusal.refused()
