"""Names of coins at CoinCap (slugs), and prices in currencies that it does not quote."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote, unquote

import numpy as np

from cryptocast.errors import ConfigError
from cryptocast.seams import Meter
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Http
from cryptocast.sources._rows import between
from cryptocast.sources._session import Query
from cryptocast.values import Candles, Page

_WELL_KNOWN = {"BTC": "bitcoin", "ETH": "ethereum"}
_TOKENS = {"EUR": "euro-coin"}
"""Coins worth one unit of a currency, so that prices in it can be derived."""
_PATH = "/assets"
_ASSETS_A_LOOK_UP = 20
_CREDITS_A_LOOK_UP = 5  # an asset takes about 500 bytes


class Slugs:
    """The slug of each coin; threads share it, and each coin is looked up once.

    The meter keeps what was looked up for later processes: a tick has no call to spare.
    """

    def __init__(self, source: str, own: Mapping[str, str], meter: Meter | None = None) -> None:
        self._source = source
        self._meter = meter
        self._slugs = _WELL_KNOWN | _TOKENS | dict(own)
        self._lock = threading.Lock()
        self.currencies = frozenset(_TOKENS) | frozenset(own)
        """The quotes besides USD that prices can be derived in: those with the slug of a token."""

    def path(self, http: Http, coin: str, deadline: float) -> str:
        """Return the path of a coin's candles, after a look-up if its slug is not known.

        Raise ConfigError (`config.symbol`) for an unknown coin, and SourceError: whatever
        `Http.get` raises, source.bad_answer.
        """
        if coin not in self._slugs:
            with self._lock:
                if coin not in self._slugs:  # another thread may have been first
                    self._slugs[coin] = self._recalled(http, coin, deadline)
        return f"/ta/{quote(self._slugs[coin], safe='')}/candlesticks"

    def unknown(self, refusal: Refusal) -> ConfigError:
        """Return the error of candles that do not exist, from the path that was refused."""
        slug = unquote(refusal.path.split("/")[2])
        coin = next((coin for coin, own in self._slugs.items() if own == slug), "COIN")
        return ConfigError(
            f"{self._source} has no candles of {coin} under the slug '{_faults.clean(slug)}' "
            f"(HTTP {refusal.status}: {refusal.said})",
            code="config.symbol",
            hint=f"{_how_to_name(coin)}, or check [source] base_url",
        )

    def _recalled(self, http: Http, coin: str, deadline: float) -> str:
        """Return the slug that the meter keeps, else look it up and have the meter keep it."""
        if self._meter is None:
            return self._look_up(http, coin, deadline)
        slug = self._meter.recall(self._source, f"slug {coin}")
        if slug is None:
            slug = self._look_up(http, coin, deadline)
            self._meter.note(self._source, f"slug {coin}", slug)
        return slug

    def _look_up(self, http: Http, coin: str, deadline: float) -> str:
        query: Query = {"search": coin, "limit": _ASSETS_A_LOOK_UP}
        decoded = http.get(_PATH, query, deadline=deadline, credits=_CREDITS_A_LOOK_UP)
        assets = decoded.get("data") if isinstance(decoded, dict) else None
        if not isinstance(assets, list):
            raise _faults.bad_answer(self._source, _PATH, "without a list under 'data'")
        for number, asset in enumerate(assets):
            if not isinstance(asset, dict):
                content = f"with an asset {number} that is no object"
                raise _faults.bad_answer(self._source, _PATH, content)
        slug = _pick(coin, assets)
        if slug is None:
            raise ConfigError(
                f"{self._source} knows no coin '{coin}'",
                code="config.symbol",
                hint=_how_to_name(coin),
            )
        return slug


def _pick(coin: str, assets: Sequence[Mapping[str, object]]) -> str | None:
    """Return the id of the best ranked asset with exactly this symbol, else exactly this name."""
    for key in ("symbol", "name"):
        matching = [asset for asset in assets if str(asset.get(key)).upper() == coin]
        ids = [asset.get("id") for asset in sorted(matching, key=_rank)]
        slug = next((name for name in ids if isinstance(name, str) and name), None)
        if slug is not None:
            return slug
    return None


def _rank(asset: Mapping[str, object]) -> float:
    """Return the rank of an asset: 1 is the best, and one without a rank comes last."""
    text = str(asset.get("rank"))
    return int(text) if text.isdecimal() else math.inf


def _how_to_name(coin: str) -> str:
    return f'set [source] slugs = {{ {coin} = "its-slug" }}, as in coincap.io/assets/its-slug'


def cross(coin: Page, token: Page, interval_seconds: int) -> Page:
    """Derive candles of a coin in another currency from a token of that currency.

    Return the page of what both pages cover, in units of the token and without volume. Both are
    aligned to the interval first; a bar that either of them lacks is no row. Open and close are
    exact. When within the bar a high or low was reached is unknown, so the bounds high/low and
    low/high are used, widened if they do not include open and close. A bar that one of the pages
    has only with an impossible price becomes a row of NaN, which is rejected later on: such a
    bar is broken, not missing.
    """
    start, end = max(coin.start, token.start), min(coin.end, token.end)
    upper = _one_per_bar(coin.candles, interval_seconds)
    lower = _one_per_bar(token.candles, interval_seconds)
    times, ours, theirs = np.intersect1d(upper.open_time, lower.open_time, return_indices=True)
    upper, lower = upper.take(ours), lower.take(theirs)
    with np.errstate(over="ignore", under="ignore"):  # infinite or zero: rejected as such
        open_, close = upper.open / lower.open, upper.close / lower.close
        high = np.maximum(upper.high / lower.low, np.maximum(open_, close))
        low = np.minimum(upper.low / lower.high, np.minimum(open_, close))
    candles = between(Candles.of(times, open_, high, low, close), start, end)
    return Page(start, end, candles, token.skew_seconds, derived=True)


def _one_per_bar(candles: Candles, interval_seconds: int) -> Candles:
    """Return aligned, rising and unique rows: the last sane row of each bar, or one of NaN."""
    times = candles.open_time // interval_seconds * interval_seconds
    prices = np.stack([candles.open, candles.high, candles.low, candles.close])
    sane = np.all(np.isfinite(prices) & (prices > 0), axis=0) & (candles.high >= candles.low)
    # Sorted by bar; within a bar the sane rows come last, in the order of the reply.
    order = np.lexsort((sane, times))
    rising = times[order]
    last_of_bar = order[np.append(rising[1:] != rising[:-1], True)[: len(order)]]
    chosen = replace(candles, open_time=times).take(last_of_bar)
    columns = np.where(sane[last_of_bar], prices[:, last_of_bar], np.nan)
    return Candles.of(chosen.open_time, *columns)
