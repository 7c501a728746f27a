"""CoinCap v3: candles in USD, one call per day of 5-minute bars, each call with a key.

Its pace is the documented 600 calls a minute. A free plan was seen to allow 5: keeping to those
would slow down every other plan, so that limit is waited out when CoinCap reports it, as
`Patience` says; a first `init` of a week is 7 calls.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar
from urllib.parse import quote, unquote

from cryptocast.errors import ConfigError, SourceError
from cryptocast.seams import Meter
from cryptocast.sources import Setup, _faults
from cryptocast.sources._exchange import Exchange
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Http, Query
from cryptocast.sources._rows import MILLISECONDS, cross, from_objects
from cryptocast.values import INTERVAL_SECONDS, Candles, Market, Page

BYTES_A_BAR = 105
_FIELDS = ("time", "open", "high", "low", "close")
_KEY = re.compile(r"[\x21-\x7e]+")
_WELL_KNOWN = {"BTC": "bitcoin", "ETH": "ethereum"}
_TOKENS = {"EUR": "euro-coin"}
"""Coins worth one unit of a currency, so that prices in it can be derived."""
_ASSETS = "/assets"
_ASSETS_A_LOOK_UP = 20
_CREDITS_A_LOOK_UP = 5  # an asset takes about 500 bytes
_log = logging.getLogger(__name__)


class Source(Exchange):
    """Candles of CoinCap's v3 API, which has no volume and no quote currency but USD.

    Prices in EUR, and in any currency for which `[source] slugs` names a token, are derived:
    candles of the coin over candles of the token, two calls per page (see `_rows.cross`).

    A price may be a number or the text of one; null, "NaN" and impossible values are passed on,
    so that `normalise` rejects and counts only that row. A row without one of the keys, or with
    anything else in a cell, is not what was requested: the whole reply is rejected, nothing of
    it is stored, and the bars are requested again.
    """

    name = "coincap"
    base_url = "https://rest.coincap.io/v3"
    intervals: ClassVar = {name: name[-1] + name[:-1] for name in INTERVAL_SECONDS}  # 5m -> m5
    bars_a_call = 288  # a day of 5-minute bars: the most that is known to come back complete
    pace = (10, 1.0)
    metered = True

    def __init__(self, setup: Setup) -> None:
        api_key = setup.settings.api_key
        self._variable = api_key.removeprefix("env:")
        self._key = (setup.secrets.resolve(api_key) or "").strip()
        super().__init__(setup, self._key)
        self._slugs = Slugs(self._http, setup.settings.slugs, setup.meter)

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
        pages = super().pages(market, start, end, deadline=deadline)
        self._check_key()
        if market.quote != "USD":
            _log.info("%s is derived: %s over %s in USD", market.id, market.base, market.quote)
        return pages

    def page(self, market: Market, first: int, last: int, deadline: float) -> Page:
        """Return what one call brings; for a derived price, what two calls do."""
        if market.quote == "USD":
            self._slugs.find(market.base, deadline)
            return super().page(market, first, last, deadline)
        coin = replace(market, quote="USD")
        over = under = self.page(coin, first, last, deadline)
        if len(over.candles):  # else there is nothing to divide, and a call is saved
            under = self.page(replace(coin, base=market.quote), first, last, deadline)
        return cross(over, under, market.interval_seconds)

    def request(self, market: Market, first: int, last: int) -> tuple[str, Query]:
        """Request `/ta/bitcoin/candlesticks`; times are in milliseconds."""
        return self._slugs.path(market.base), {
            "interval": self.intervals[market.interval],
            "start": first * MILLISECONDS,
            "end": last * MILLISECONDS,
        }

    def credits(self, bars: int) -> int:
        """Return the credits of a call and of the bytes that it will bring."""
        return 1 + bars * BYTES_A_BAR // 2500

    def read(self, path: str, answer: object) -> Candles:
        """Read objects under `candles`."""
        rows = answer.get("candles") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise _faults.bad_answer(self.name, path, "without a list under 'candles'")
        return from_objects(self.name, path, rows, fields=_FIELDS, unit=MILLISECONDS)

    def judge(self, answer: object) -> SourceError | None:
        """Return the error that a 200 holds in place of data, or None."""
        said = _faults.said_in(answer)
        if said is None or (isinstance(answer, dict) and {"candles", "data"} & answer.keys()):
            return None
        refusal = Refusal(self.name, 200, _faults.clean(said, self._key), answer)
        if _is_quota(refusal):
            return _quota(refusal)
        hint = f"check [source] base_url, {_faults.or_another(self.name)}"
        return refusal.error("source.bad_answer", "answered with an error instead of data", hint)

    def explain(self, refusal: Refusal) -> ConfigError | SourceError | None:
        """Recognise an unknown coin, a wrong key, and a plan that is used up."""
        if refusal.status == 404 and refusal.path.startswith("/ta/"):
            return self._slugs.unknown(refusal)
        if refusal.status == 401:
            return refusal.bad_key(
                f"check {self._variable}: keys are made at https://pro.coincap.io"
            )
        if refusal.status == 429 and not refusal.per_minute:
            return _quota(refusal)
        return _quota(refusal) if refusal.status == 403 and _is_quota(refusal) else None

    def _check_key(self) -> None:
        """Raise SourceError if there is no key, or a value that cannot be a key at all.

        Such a value would otherwise appear in full in the text of an exception of requests.
        """
        if not self._key:
            raise SourceError(
                f"coincap needs a key, and {self._variable} is not set",
                code="source.no_key",
                hint=f"put {self._variable}=... into the environment or the workspace's .env "
                f"file, {_faults.or_another(self.name)}",
            )
        if not _KEY.fullmatch(self._key):
            raise SourceError(
                f"the key in {self._variable} holds characters that no coincap key has",
                code="source.bad_key",
                hint=f"set {self._variable} again, to the key alone",
            )


class Slugs:
    """The slug of each coin; threads share it, and each coin is looked up once.

    The meter keeps what was looked up for later processes: a tick has no call to spare.
    """

    def __init__(self, http: Http, own: Mapping[str, str], meter: Meter | None) -> None:
        self._http = http
        self._meter = meter
        self._slugs = _WELL_KNOWN | _TOKENS | dict(own)
        self._lock = threading.Lock()
        self.currencies = frozenset(_TOKENS) | frozenset(own)
        """The quotes besides USD that prices can be derived in: those with the slug of a token."""

    def find(self, coin: str, deadline: float) -> None:
        """Look up the slug of a coin if it is not known.

        Raise ConfigError (`config.symbol`) for an unknown coin, and SourceError: whatever
        `Http.get` raises, source.bad_answer.
        """
        if coin in self._slugs:
            return
        with self._lock:
            if coin in self._slugs:  # another thread was first
                return
            slug = self._meter.recall(Source.name, f"slug {coin}") if self._meter else None
            if slug is None:
                slug = self._look_up(coin, deadline)
                if self._meter is not None:
                    self._meter.note(Source.name, f"slug {coin}", slug)
            self._slugs[coin] = slug

    def path(self, coin: str) -> str:
        """Return the path of a coin's candles."""
        return f"/ta/{quote(self._slugs[coin], safe='')}/candlesticks"

    def unknown(self, refusal: Refusal) -> ConfigError:
        """Return the error of candles that do not exist, from the path that was refused."""
        slug = unquote(refusal.path.split("/")[2])
        coin = next((coin for coin, own in self._slugs.items() if own == slug), "COIN")
        return ConfigError(
            f"{refusal.source} has no candles of {coin} under the slug '{_faults.clean(slug)}' "
            f"(HTTP {refusal.status}: {refusal.said})",
            code="config.symbol",
            hint=f"{_how_to_name(coin)}, or check [source] base_url",
        )

    def _look_up(self, coin: str, deadline: float) -> str:
        """Return the id of the best ranked asset that has exactly this symbol, else this name."""
        query: Query = {"search": coin, "limit": _ASSETS_A_LOOK_UP}
        answer = self._http.get(_ASSETS, query, deadline=deadline, credits=_CREDITS_A_LOOK_UP)
        assets = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(assets, list):
            raise _faults.bad_answer(Source.name, _ASSETS, "without a list under 'data'")
        for number, asset in enumerate(assets):
            if not isinstance(asset, dict):
                content = f"with an asset {number} that is no object"
                raise _faults.bad_answer(Source.name, _ASSETS, content)
        for key in ("symbol", "name"):
            for asset in sorted(assets, key=_rank):
                slug = asset.get("id")
                if str(asset.get(key)).upper() == coin and isinstance(slug, str) and slug:
                    return slug
        raise ConfigError(
            f"{Source.name} knows no coin '{coin}'", code="config.symbol", hint=_how_to_name(coin)
        )


def _rank(asset: Mapping[str, object]) -> float:
    """Return the rank of an asset: 1 is the best, and one without a rank comes last."""
    text = str(asset.get("rank"))
    return int(text) if text.isdecimal() else math.inf


def _how_to_name(coin: str) -> str:
    return f'set [source] slugs = {{ {coin} = "its-slug" }}, as in coincap.io/assets/its-slug'


def _is_quota(refusal: Refusal) -> bool:
    return any(word in refusal.said.lower() for word in ("usage", "quota", "credit"))


def _quota(refusal: Refusal) -> SourceError:
    hint = f"wait for the next month, take a larger plan, {_faults.or_another(refusal.source)}"
    return refusal.error("source.quota", "says that the plan is used up", hint)
