"""CoinCap's names of coins, its slugs: from the settings, well known, or looked up."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

from cryptocast.errors import ConfigError
from cryptocast.seams import Meter
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Http
from cryptocast.sources._session import Query

_WELL_KNOWN = {"BTC": "bitcoin", "ETH": "ethereum"}
_TOKENS = {"EUR": "euro-coin"}
"""Coins worth one unit of a currency, so that prices in it can be derived."""
_PATH = "/assets"
_ASSETS_A_LOOK_UP = 20
_CREDITS_A_LOOK_UP = 5  # an asset takes about 500 bytes


class Slugs:
    """Which slug stands for a coin; shared by threads, each coin is looked up once.

    The meter keeps what was found for later processes: a tick has no call to spare.
    """

    def __init__(self, source: str, own: Mapping[str, str], meter: Meter | None = None) -> None:
        self._source = source
        self._meter = meter
        self._known = _WELL_KNOWN | _TOKENS | dict(own)
        self._lock = threading.Lock()
        self.currencies = frozenset(_TOKENS) | frozenset(own)
        """The quotes but USD that prices can be derived in: those with the slug of a token."""

    def path(self, http: Http, coin: str, deadline: float) -> str:
        """The path of a coin's candles, after a look-up where its slug is not known.

        Raises ConfigError (`config.symbol`) for a coin that is not there, and SourceError:
        what `Http.get` raises, source.bad_answer.
        """
        if coin not in self._known:
            with self._lock:
                if coin not in self._known:  # another thread may have been first
                    self._known[coin] = self._recalled(http, coin, deadline)
        return f"/ta/{quote(self._known[coin], safe='')}/candlesticks"

    def unknown(self, refusal: Refusal) -> ConfigError:
        """The error of candles that are not there, by the refusal of their path."""
        slug = unquote(refusal.path.split("/")[2])
        coin = next((coin for coin, known in self._known.items() if known == slug), "COIN")
        return ConfigError(
            f"{self._source} has no candles of {coin} under the slug '{_faults.clean(slug)}' "
            f"(HTTP {refusal.status}: {refusal.said})",
            code="config.symbol",
            hint=f"{_how_to_name(coin)}, or check [source] base_url",
        )

    def _recalled(self, http: Http, coin: str, deadline: float) -> str:
        if self._meter is None:
            return self._look_up(http, coin, deadline)
        slug = self._meter.recall(self._source, f"slug {coin}")
        if slug is None:
            slug = self._look_up(http, coin, deadline)
            self._meter.note(self._source, f"slug {coin}", slug)
        return slug

    def _look_up(self, http: Http, coin: str, deadline: float) -> str:
        query: Query = {"search": coin, "limit": _ASSETS_A_LOOK_UP}
        answer = http.get(_PATH, query, deadline=deadline, credits=_CREDITS_A_LOOK_UP)
        assets = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(assets, list):
            raise _faults.bad_answer(self._source, _PATH, "without a list under 'data'")
        for number, asset in enumerate(assets):
            if not isinstance(asset, dict):
                found = f"with an asset {number} that is no object"
                raise _faults.bad_answer(self._source, _PATH, found)
        slug = _pick(coin, assets)
        if slug is None:
            raise ConfigError(
                f"{self._source} knows no coin '{coin}'",
                code="config.symbol",
                hint=_how_to_name(coin),
            )
        return slug


def _pick(coin: str, assets: Sequence[Mapping[str, object]]) -> str | None:
    """The id of the best ranked asset with exactly this symbol, else exactly this name."""
    for key in ("symbol", "name"):
        same = [asset for asset in assets if str(asset.get(key)).upper() == coin]
        ids = [asset.get("id") for asset in sorted(same, key=_rank)]
        slug = next((name for name in ids if isinstance(name, str) and name), None)
        if slug is not None:
            return slug
    return None


def _rank(asset: Mapping[str, object]) -> float:
    """1 is the best; what has none comes last."""
    text = str(asset.get("rank"))
    return int(text) if text.isdecimal() else math.inf


def _how_to_name(coin: str) -> str:
    return f'set [source] slugs = {{ {coin} = "its-slug" }}, as in coincap.io/assets/its-slug'
