"""CoinCap v3: candles in USD, one call a day of 5-minute bars, a key on every call."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import numpy as np

from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, SourceError
from cryptocast.seams import Clock, Meter
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import PATIENCE, Http, Patience, refuse_future, usable_key
from cryptocast.sources._rows import MILLISECONDS, between, candles_from, is_number, windows
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
WELL_KNOWN_SLUGS = {"BTC": "bitcoin", "ETH": "ethereum"}
BARS_A_CALL = 288  # a day of 5-minute bars: the most that is known to come back whole
_FIELDS = ("time", "open", "high", "low", "close")
_log = logging.getLogger(__name__)


class Source:
    """Candles of CoinCap's v3 API; it has no volume and no quote currency but USD."""

    name = "coincap"
    publishes_late = True
    metered = True
    bars_a_call = BARS_A_CALL
    bars_back = None

    def __init__(
        self,
        settings: SourceSettings,
        markets: Sequence[Market],  # noqa: ARG002 - every source is made alike
        secrets: Secrets,
        *,
        clock: Clock,
        meter: Meter | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self._variable = settings.api_key.removeprefix("env:")
        self._key = secrets.resolve(settings.api_key)
        self._base_url = settings.base_url or BASE_URL
        self._slugs = WELL_KNOWN_SLUGS | settings.slugs
        self._clock = clock
        self._patience = patience
        self._meter = meter
        self._http: Http | None = None

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, 288 bars a page, oldest first.

        Raises ConfigError (`config.symbol`) for a quote but USD and an unknown base, and
        SourceError: source.no_key, source.bad_key, source.quota, source.forbidden,
        source.bad_answer and what `Http.get` raises.
        """
        if market.quote != "USD":
            raise ConfigError(
                f"coincap quotes only USD, so it has no {market.symbol}",
                code="config.symbol",
                hint=f"--symbol {market.base}/USD, or --source bitvavo for {market.symbol}",
            )
        refuse_future(self.name, self._clock)
        return self._pages(self._connect(), market, start, end, deadline)

    def close(self) -> None:
        """Give back the connections."""
        if self._http is not None:
            self._http.close()

    def _connect(self) -> Http:
        if self._http is None:
            if self._key is None or not self._key.strip():
                raise SourceError(
                    f"coincap needs a key, and {self._variable} is not set",
                    code="source.no_key",
                    hint=f"put {self._variable}=... into the environment or the workspace's .env "
                    f"file, {_faults.or_another(self.name)}",
                )
            key = usable_key(self._key, self._variable, self.name)
            self._http = Http(
                self.name,
                self._base_url,
                explain=self._explain,
                key=key,
                patience=self._patience,
                meter=self._meter,
            )
        return self._http

    def _pages(
        self, http: Http, market: Market, start: int, end: int, deadline: float
    ) -> Iterator[Page]:
        for first, last in windows(start, end, BARS_A_CALL * market.interval_seconds):
            path = f"/ta/{quote(self._slug(http, market.base), safe='')}/candlesticks"
            query: dict[str, str | int] = {
                "interval": INTERVALS[market.interval],
                "start": first * MILLISECONDS,
                "end": last * MILLISECONDS,
            }
            rows = self._rows(path, http.get(path, query, deadline=deadline))
            candles = between(rows, first, last)
            _log.debug(
                "%s: %d rows for [%d, %d), %d inside, open times modulo a bar: %s",
                *(market.id, len(rows), first, last, len(candles)),
                sorted({int(t) % market.interval_seconds for t in candles.open_time})[:5],
            )
            yield Page(first, last, candles, http.skew_seconds)

    def _rows(self, path: str, answer: object) -> Candles:
        """The candles of an answer; SourceError that names what else was found."""
        rows = answer.get("candles") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise _faults.bad_answer(self.name, path, "without a list under 'candles'")
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise _faults.bad_answer(
                    self.name, path, f"with a candle {number} that is no object"
                )
            for field in _FIELDS:
                if not is_number(row.get(field)):
                    found = _faults.kind(row[field]) if field in row else "nothing"
                    raise _faults.bad_answer(
                        self.name, path, f"with {found} for a number, '{field}' of candle {number}"
                    )
        table = np.array([[row[f] for f in _FIELDS] for row in rows], dtype=np.float64)
        table = table.reshape(-1, len(_FIELDS))
        return candles_from(self.name, path, table[:, 0], table[:, 1:])

    def _slug(self, http: Http, base: str) -> str:
        """CoinCap's name of a coin: from the settings, well known, or looked up once."""
        if base not in self._slugs:
            path = "/assets"
            answer = http.get(path, {"search": base, "limit": 20})
            assets = answer.get("data") if isinstance(answer, dict) else None
            if not isinstance(assets, list):
                raise _faults.bad_answer(self.name, path, "without a list under 'data'")
            found = _pick(base, [asset for asset in assets if isinstance(asset, dict)])
            if found is None:
                raise _unknown(base)
            self._slugs[base] = found
        return self._slugs[base]

    def _explain(self, refusal: Refusal) -> ConfigError | SourceError | None:
        """What CoinCap means by a refusal; None where it means what everybody means."""
        said = refusal.said.lower()
        if refusal.status == 404:
            return ConfigError(
                f"coincap does not know this coin (HTTP 404: {refusal.said})",
                code="config.symbol",
                hint="check [market] symbols, [source] slugs and [source] base_url",
            )
        if refusal.status == 401:
            hint = f"check {self._variable}: keys are made at https://pro.coincap.io"
            return refusal.error("source.bad_key", "does not accept the key", hint)
        per_minute = refusal.status == 429 and "per minute" in said
        if (refusal.status == 429 and not per_minute) or (
            refusal.status == 403 and any(word in said for word in ("usage", "quota", "credit"))
        ):
            hint = f"wait for the next month, take a larger plan, {_faults.or_another(self.name)}"
            return refusal.error("source.quota", "says that the plan is used up", hint)
        return None


def _pick(base: str, assets: list[dict[str, object]]) -> str | None:
    """The id of the asset with exactly this symbol, else exactly this name."""
    for key in ("symbol", "name"):
        for asset in assets:
            value, slug = asset.get(key), asset.get("id")
            if isinstance(value, str) and isinstance(slug, str) and value.upper() == base:
                return slug
    return None


def _unknown(base: str) -> ConfigError:
    return ConfigError(
        f"coincap knows no coin '{base}'",
        code="config.symbol",
        hint=f'set [source] slugs = {{ {base} = "its-slug" }}, as in coincap.io/assets/its-slug',
    )
