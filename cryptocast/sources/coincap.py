"""CoinCap v3: candles in USD, one call per day of 5-minute bars, each call with a key.

Its pace is the documented 600 calls a minute. A free plan was seen to allow 5: keeping to those
would slow down every other plan, so that limit is waited out when CoinCap reports it, as
`Patience` says; a first `init` of a week is 7 calls.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, SourceError
from cryptocast.seams import Clock, Meter
from cryptocast.sources import _faults
from cryptocast.sources._coincap import Slugs, cross
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import (
    PATIENCE,
    Http,
    Limits,
    Pace,
    Patience,
    refuse_future,
    usable_key,
)
from cryptocast.sources._rows import MILLISECONDS, between, covered, from_objects, windows
from cryptocast.sources._session import Query
from cryptocast.values import Candles, Market, Page

BASE_URL = "https://rest.coincap.io/v3"
INTERVALS = {
    "1m": "m1",
    "5m": "m5",
    "15m": "m15",
    "30m": "m30",
    "1h": "h1",
    "2h": "h2",
    "6h": "h6",
    "12h": "h12",
    "1d": "d1",
}
BARS_A_CALL = 288  # a day of 5-minute bars: the most that is known to come back complete
BYTES_A_BAR = 105
_FIELDS = ("time", "open", "high", "low", "close")
_log = logging.getLogger(__name__)


class Source:
    """Candles of CoinCap's v3 API, which has no volume and no quote currency but USD.

    Prices in EUR, and in any currency for which `[source] slugs` names a token, are derived:
    candles of the coin over candles of the token, two calls per page (see `_coincap.cross`).

    A price may be a number or the text of one; null, "NaN" and impossible values are passed on,
    so that `normalise` rejects and counts only that row. A row without one of the keys, or with
    anything else in a cell, is not what was requested: the whole reply is rejected, nothing of
    it is stored, and the bars are requested again.
    """

    name = "coincap"
    publishes_late = True
    metered = True
    bars_a_call = BARS_A_CALL
    bars_back = None

    def __init__(
        self,
        settings: SourceSettings,
        markets: Sequence[Market],  # noqa: ARG002 - all sources take the same
        secrets: Secrets,
        *,
        clock: Clock,
        meter: Meter | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self._variable = settings.api_key.removeprefix("env:")
        self._key = secrets.resolve(settings.api_key)
        self._base_url = settings.base_url or BASE_URL
        self._slugs = Slugs(self.name, settings.slugs, meter)
        self._clock = clock
        self._patience = patience
        self._meter = meter
        self._http: Http | None = None
        self._lock = threading.Lock()

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, 288 bars per page, oldest first.

        Raise ConfigError (`config.symbol`) for a quote that is neither USD nor derived and for
        an unknown coin, and SourceError: source.no_key, source.bad_key, source.quota,
        source.forbidden, source.bad_answer and whatever `Http.get` raises.
        """
        if market.quote != "USD" and market.quote not in self._slugs.currencies:
            raise ConfigError(
                f"coincap quotes only USD, so it has no {market.symbol}",
                code="config.symbol",
                hint=f"--symbol {market.base}/USD or {market.base}/EUR, --source bitvavo, or set "
                f'[source] slugs = {{ {market.quote} = "its-slug" }} to a token worth 1 '
                f"{market.quote}",
            )
        refuse_future(self.name, self._clock)
        pages = self._pages if market.quote == "USD" else self._derived
        return pages(self._connect(), market, start, end, deadline)

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()

    def _connect(self) -> Http:
        with self._lock:
            if self._http is None:
                self._http = Http(
                    self.name,
                    self._base_url,
                    explain=self._explain,
                    judge=self._judge,
                    key=self._given_key(),
                    limits=Limits(self._patience, Pace(10, 1.0), self._meter),
                )
            return self._http

    def _given_key(self) -> str:
        if self._key is None or not self._key.strip():
            raise SourceError(
                f"coincap needs a key, and {self._variable} is not set",
                code="source.no_key",
                hint=f"put {self._variable}=... into the environment or the workspace's .env "
                f"file, {_faults.or_another(self.name)}",
            )
        return usable_key(self._key, self._variable, self.name)

    def _pages(
        self, http: Http, market: Market, start: int, end: int, deadline: float
    ) -> Iterator[Page]:
        for first, last in windows(start, end, BARS_A_CALL * market.interval_seconds):
            yield self._page(http, market, first, last, deadline)

    def _derived(
        self, http: Http, market: Market, start: int, end: int, deadline: float
    ) -> Iterator[Page]:
        _log.info("%s is derived: %s over %s in USD", market.id, market.base, market.quote)
        coin = replace(market, quote="USD")
        token = replace(coin, base=market.quote)
        for first, last in windows(start, end, BARS_A_CALL * market.interval_seconds):
            over = under = self._page(http, coin, first, last, deadline)
            if len(over.candles):  # else there is nothing to divide, and a call is saved
                under = self._page(http, token, first, last, deadline)
            page = cross(over, under, market.interval_seconds)
            if page.start < page.end:
                yield page

    def _page(self, http: Http, market: Market, first: int, last: int, deadline: float) -> Page:
        """Make one call for a market in USD."""
        path = self._slugs.path(http, market.base, deadline)
        query: Query = {
            "interval": INTERVALS[market.interval],
            "start": first * MILLISECONDS,
            "end": last * MILLISECONDS,
        }
        bars = -((first - last) // market.interval_seconds)
        credits = 1 + bars * BYTES_A_BAR // 2500
        answer = http.get(path, query, deadline=deadline, credits=credits)
        rows = self._rows(path, answer)
        ends = [
            int(t) % market.interval_seconds for t in (*rows.open_time[:1], *rows.open_time[-1:])
        ]
        _log.debug(
            "%s: %d bars requested, %d rows received, first and last time modulo a bar: %s",
            *(market.id, bars, len(rows), ends),
        )
        since, until = covered(self.name, path, market, first, last, rows.open_time)
        return Page(since, until, between(rows, since, until), http.skew_seconds)

    def _rows(self, path: str, answer: object) -> Candles:
        """Return the candles of a reply; raise SourceError if it holds anything else."""
        rows = answer.get("candles") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise _faults.bad_answer(self.name, path, "without a list under 'candles'")
        return from_objects(self.name, path, rows, fields=_FIELDS, unit=MILLISECONDS)

    def _judge(self, answer: object) -> SourceError | None:
        """Return the error that a 200 holds in place of data, or None."""
        if not isinstance(answer, dict) or not {"candles", "data"}.isdisjoint(answer):
            return None
        texts = [answer.get(name) for name in ("error", "message", "detail")]
        said = next((text for text in texts if isinstance(text, str)), None)
        if said is None:
            return None
        refusal = Refusal(self.name, 200, _faults.clean(said, self._key), answer, 0.0)
        if _is_quota(refusal):
            return self._quota(refusal)
        hint = f"check [source] base_url, {_faults.or_another(self.name)}"
        return refusal.error("source.bad_answer", "answered with an error instead of data", hint)

    def _explain(self, refusal: Refusal) -> ConfigError | SourceError | None:
        """Return the error that a refusal means at CoinCap, or None for the general meaning."""
        if refusal.status == 404 and refusal.path.startswith("/ta/"):
            return self._slugs.unknown(refusal)
        if refusal.status == 401:
            hint = f"check {self._variable}: keys are made at https://pro.coincap.io"
            return refusal.error("source.bad_key", "does not accept the key", hint)
        if refusal.status == 429 and not refusal.per_minute:
            return self._quota(refusal)
        return self._quota(refusal) if refusal.status == 403 and _is_quota(refusal) else None

    def _quota(self, refusal: Refusal) -> SourceError:
        hint = f"wait for the next month, take a larger plan, {_faults.or_another(self.name)}"
        return refusal.error("source.quota", "says that the plan is used up", hint)


def _is_quota(refusal: Refusal) -> bool:
    return any(word in refusal.said.lower() for word in ("usage", "quota", "credit"))
