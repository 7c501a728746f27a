"""A simulated exchange: offline, any time since 2015, always the same candles for a seed.

Each value is a hash of (seed, stream, index), independent of earlier requests. Daily closes are
a random walk, pinned every 1024 days so that no price drifts away; the bars of a day are a random
bridge between two daily closes. The bridge has exactly the variance of the day, so returns stay
uncorrelated while their size comes in clusters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from cryptocast.errors import ConfigError
from cryptocast.sources import Setup, refuse_future
from cryptocast.values import DAY_SECONDS, Candles, FloatArray, IntArray, Market, Page

BASE_PRICES = {
    "BTC": 60_000.0,
    "ETH": 3_000.0,
    "SOL": 140.0,
    "BNB": 550.0,
    "XRP": 0.6,
    "ADA": 0.45,
    "DOGE": 0.12,
    "AVAX": 30.0,
    "LINK": 14.0,
    "DOT": 6.0,
    "LTC": 75.0,
}
INVENTED = re.compile(r"SIM[1-9][0-9]{0,3}")
"""More coins: SIM1 to SIM9999, for workspaces with hundreds of markets."""

QUOTE_RATES = {"EUR": 0.92, "USD": 1.0, "USDT": 1.0}
FIRST_OPEN_TIME = 1_420_070_400  # 2015-01-01
MISSING_SHARE = 0.003
PAGE_DAYS = 64  # bounds memory: 92,160 one-minute bars
PIN_DAYS = 1024
DAILY_SIGMA = 0.028
COMMON_SHARE = 0.7  # of the variance of returns that all bases share
# Log-volatility: (height, time scale). The slow ones set the total of a day, the rest its shape.
_SLOW = ((0.25, 30 * DAY_SECONDS), (0.25, 5 * DAY_SECONDS))
_FAST = ((0.25, DAY_SECONDS), (0.25, DAY_SECONDS // 6), (0.2, DAY_SECONDS // 32))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Source:
    """Candles of an invented exchange, determined by `[source] seed`."""

    name = "sim"
    publishes_late = False
    metered = False
    bars_a_call = PAGE_DAYS * DAY_SECONDS // 60
    bars_back = None

    def __init__(self, setup: Setup) -> None:
        self._seed = setup.settings.seed
        self._clock = setup.clock

    def pages(
        self,
        market: Market,
        start: int,
        end: int,
        *,
        deadline: float = math.inf,  # noqa: ARG002 - a simulation needs no waiting
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, 64 days per page, oldest first.

        Like an exchange, it has none from before it opened (2015) and none that open after now;
        the bar that is still running is included. Raise ConfigError (`config.symbol`), and
        UsageError (`usage.as_of`) if a virtual clock is in the future.
        """
        refuse_future(self.name, self._clock)
        traded = market.base in BASE_PRICES or INVENTED.fullmatch(market.base)
        if not traded or market.quote not in QUOTE_RATES:
            bases = f"{', '.join(BASE_PRICES)}, SIM1 to SIM9999"
            raise ConfigError(
                f"sim does not trade {market.symbol}",
                code="config.symbol",
                hint=f"known: {bases}, each in {', '.join(QUOTE_RATES)}",
            )
        return self._pages(market, start, end)

    def close(self) -> None:
        """Do nothing: no resource is open."""

    def _pages(self, market: Market, start: int, end: int) -> Iterator[Page]:
        for first in range(start, end, PAGE_DAYS * DAY_SECONDS):
            last = min(first + PAGE_DAYS * DAY_SECONDS, end)
            from_day = max(first, FIRST_OPEN_TIME) // DAY_SECONDS
            # Whole days are simulated and then cut, so that no candle depends on the cut.
            days = np.arange(from_day, max(-(-last // DAY_SECONDS), from_day), dtype=np.int64)
            candles = simulate(self._seed, market, days)
            opened = candles.open_time <= self._clock.now()
            inside = (candles.open_time >= first) & (candles.open_time < last)
            yield Page(first, last, candles.take(opened & inside))


def simulate(seed: int, market: Market, days: IntArray) -> Candles:
    """Return all candles of whole days (Unix day numbers) [D], in order."""
    if len(days) == 0:
        return Candles.empty()
    bars = DAY_SECONDS // market.interval_seconds
    open_time = days[:, None] * DAY_SECONDS + np.arange(bars) * market.interval_seconds  # [D, bars]
    number = open_time // market.interval_seconds
    day_sigma = _day_sigma(seed, market.base, days)
    sigma = day_sigma[:, None] * _profile(seed, market, open_time)
    shock = _shocks(seed, market.base, f"bars {market.interval}", number)
    heavy = 0.35 * _normal(seed, f"heavy {market.base} {market.interval}", number)
    steps = sigma * shock * np.exp(heavy - 0.35**2)
    ends = _daily_closes(seed, market.base, np.append(days, days[-1] + 1))
    # A bridge: each bar takes its share, by variance, of the distance that the day still lacks.
    short = (ends[1:] - ends[:-1]) - steps.sum(axis=1)
    steps += (sigma / day_sigma[:, None]) ** 2 * short[:, None]
    closes = ends[:-1, None] + np.cumsum(steps, axis=1)
    opens = np.concatenate([ends[:-1, None], closes[:, :-1]], axis=1)
    candles = _candles(seed, market, open_time, opens, closes, sigma)
    traded = _uniform(seed, f"missing {market.id}", number).ravel() >= MISSING_SHARE
    return candles.take(traded)


def base_price(base: str) -> float:
    """Return the price of a coin in dollars at the start, whatever the seed.

    That of an invented coin is 0.01 to 10,000.
    """
    if base in BASE_PRICES:
        return BASE_PRICES[base]
    (height,) = _uniform(0, f"price {base}", np.zeros(1, dtype=np.int64))
    return float(f"{10 ** (6 * height - 2):.3g}")


def _candles(
    seed: int,
    market: Market,
    open_time: IntArray,
    opens: FloatArray,
    closes: FloatArray,
    sigma: FloatArray,
) -> Candles:
    """Return candles from the log prices at both ends of each bar, all [D, bars]."""
    number = open_time // market.interval_seconds
    move = closes - opens
    dollars = base_price(market.base)
    base = dollars * QUOTE_RATES[market.quote]
    tick = 10.0 ** np.floor(np.log10(base) - 6)

    def extreme(stream: str) -> FloatArray:
        # The extreme of a Brownian bridge, by inverting the reflection principle.
        u = 1 - _uniform(seed, f"{stream} {market.id}", number)
        return np.sqrt(move**2 - 2 * sigma**2 * np.log(u))

    def price(log_price: FloatArray) -> FloatArray:
        rounded: FloatArray = np.round(base * np.exp(log_price) / tick) * tick
        return np.round(rounded, max(0, int(-np.log10(tick)) + 1)).ravel()

    busy = sigma / (DAILY_SIGMA * np.sqrt(market.interval_seconds / DAY_SECONDS))
    usual = 2e6 / dollars * market.interval_seconds / 300
    noise = np.exp(0.5 * _normal(seed, f"volume {market.id}", number))
    volume = usual * noise * busy * (0.4 + np.abs(move) / sigma)
    open_price, close_price = price(opens), price(closes)
    high = price(opens + (move + extreme("high")) / 2)
    low = price(opens + (move - extreme("low")) / 2)
    return Candles(
        open_time.ravel(),
        open_price,
        np.maximum(high, np.maximum(open_price, close_price)),
        np.minimum(low, np.minimum(open_price, close_price)),
        close_price,
        np.round(volume, 6).ravel(),
    )


def _daily_closes(seed: int, base: str, days: IntArray) -> FloatArray:
    """Return the log price, relative to the base price, at the start of consecutive days [D]."""
    blocks = range(int(days[0]) // PIN_DAYS, int(days[-1]) // PIN_DAYS + 1)
    pins = 0.4 * _shocks(seed, base, "pins", np.arange(blocks[0], blocks[-1] + 2))
    parts = []
    for place, block in enumerate(blocks):
        inside = np.arange(block * PIN_DAYS, (block + 1) * PIN_DAYS)
        sigma = _day_sigma(seed, base, inside)
        steps = sigma * _shocks(seed, base, "days", inside)
        variance = sigma**2
        short = pins[place + 1] - pins[place] - steps.sum()
        steps += variance / variance.sum() * short
        # The sum up to a day excludes that day's own step: this is the price at its start.
        parts.append(pins[place] + np.cumsum(steps) - steps)
    return np.concatenate(parts)[days - blocks[0] * PIN_DAYS]


def _day_sigma(seed: int, base: str, days: IntArray) -> FloatArray:
    """Return the volatility of whole days [D]: slow clusters, and quieter weekends."""
    slow = _waves(seed, base, _SLOW, days * DAY_SECONDS + DAY_SECONDS // 2)
    weekend = np.where((days + 3) % 7 >= 5, 0.75, 1.0)  # day 0 was a Thursday
    return DAILY_SIGMA * weekend * np.exp(slow)


def _profile(seed: int, market: Market, open_time: IntArray) -> FloatArray:
    """Return how volatility spreads over the bars of a day [D, bars]; squares sum to 1 per day."""
    middle = open_time + market.interval_seconds // 2
    hour = 2 * np.pi * (middle % DAY_SECONDS) / DAY_SECONDS
    # Highest when both Europe and America are at work, about 15:00 UTC.
    of_day = 0.35 * np.cos(hour - 2 * np.pi * 15 / 24) + 0.1 * np.cos(2 * hour)
    shape = np.exp(of_day + _waves(seed, market.base, _FAST, middle))
    return np.asarray(shape / np.sqrt((shape**2).sum(axis=1, keepdims=True)))


def _waves(
    seed: int, base: str, scales: Sequence[tuple[float, int]], moments: IntArray
) -> FloatArray:
    """Return smooth noise: at each time scale, lines from one random height to the next."""
    total = np.zeros(moments.shape)
    for height, period in scales:
        knot, past = moments // period, (moments % period) / period
        left = _shocks(seed, base, f"waves {period}", knot)
        right = _shocks(seed, base, f"waves {period}", knot + 1)
        total += height * (left + past * (right - left))
    return total


def _shocks(seed: int, base: str, stream: str, index: IntArray) -> FloatArray:
    """Return standard normals of a base: a part that all bases share, and its own part."""
    shared = _normal(seed, stream, index)
    own = _normal(seed, f"{stream} {base}", index)
    return np.asarray(COMMON_SHARE**0.5 * shared + (1 - COMMON_SHARE) ** 0.5 * own)


def _normal(seed: int, stream: str, index: IntArray) -> FloatArray:
    """Return standard normals by index (Box-Muller)."""
    radius = np.sqrt(-2 * np.log(1 - _uniform(seed, stream, 2 * index)))
    return np.asarray(radius * np.cos(2 * np.pi * _uniform(seed, stream, 2 * index + 1)))


def _uniform(seed: int, stream: str, index: IntArray) -> FloatArray:
    """Return uniforms in [0, 1) by index: splitmix64 (Steele, Lea, Flood 2014) as a hash."""
    digest = blake2b(f"{seed}|{stream}".encode(), digest_size=8).digest()
    key: NDArray[np.uint64] = np.full(1, int.from_bytes(digest, "big"), dtype=np.uint64)
    z = key + index.astype(np.uint64) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z ^ (z >> np.uint64(31))) >> np.uint64(11), dtype=np.float64) * 2.0**-53
