"""The simulated exchange: the same world for everyone, and worth forecasting."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptocast.clock import SystemClock, VirtualClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError
from cryptocast.sources import Setup
from cryptocast.sources.sim import FIRST_OPEN_TIME, Source, base_price
from cryptocast.values import INTERVAL_SECONDS, Candles, FloatArray, Market, parse_time

START = parse_time("2024-01-01")
DAY = 86_400


class Later(SystemClock):
    """A machine's clock that shows 2040."""

    def now(self) -> float:
        return parse_time("2040-01-01")


def candles(
    start: int, end: int, symbol: str = "BTC/EUR", interval: str = "5m", seed: int = 0
) -> Candles:
    market = Market.of(symbol, "sim", interval)
    clock = Later()
    source = Source(Setup(SourceSettings(seed=seed), [market], Secrets({}), clock=clock))
    return Candles.concatenate([page.candles for page in source.pages(market, start, end)])


def same(left: Candles, right: Candles) -> bool:
    return all(
        getattr(left, name).tobytes() == getattr(right, name).tobytes()
        for name in ("open_time", "open", "high", "low", "close", "volume")
    )


def returns(symbol: str = "BTC/EUR", days: int = 365, seed: int = 0) -> FloatArray:
    close = candles(START, START + days * DAY, symbol, seed=seed).close
    return np.asarray(np.diff(np.log(close)))


def autocorrelation(x: FloatArray, lag: int) -> float:
    x = x - x.mean()
    return float((x[lag:] * x[:-lag]).mean() / x.var())


@settings(max_examples=30)
@given(
    cuts=st.lists(st.integers(0, 3 * DAY), max_size=5),
    interval=st.sampled_from(["1m", "5m", "2h", "1d"]),
)
def test_pieces_hold_the_same_bits_as_the_whole(cuts: list[int], interval: str) -> None:
    edges = [START, *(START + cut for cut in sorted(cuts)), START + 3 * DAY]
    pieces = [candles(a, b, interval=interval) for a, b in pairwise(edges)]
    assert same(Candles.concatenate(pieces), candles(START, START + 3 * DAY, interval=interval))


def test_the_world_of_a_seed_never_changes() -> None:
    """A golden row: a change here changes every recorded demo."""
    row = candles(START, START + 300)
    golden = [28545.66, 28551.81, 28530.36, 28531.54, 10.868459]
    assert [row.open[0], row.high[0], row.low[0], row.close[0], row.volume[0]] == golden


def test_another_seed_is_another_world() -> None:
    one, other = candles(START, START + DAY), candles(START, START + DAY, seed=1)
    assert abs(np.log(one.close[0] / other.close[0])) > 1e-3


@pytest.mark.parametrize("interval", INTERVAL_SECONDS)
def test_candles_are_sane_at_every_interval(interval: str) -> None:
    c = candles(START, START + 30 * DAY, interval=interval)
    assert (c.high >= np.maximum(c.open, c.close)).all()
    assert (c.low <= np.minimum(c.open, c.close)).all()
    assert (c.low > 0).all()
    assert (c.volume > 0).all()
    assert (c.open_time % INTERVAL_SECONDS[interval] == 0).all()
    assert (np.diff(c.open_time) > 0).all()


def test_a_bar_opens_where_the_last_one_closed() -> None:
    c = candles(START, START + 30 * DAY)
    neighbours = np.diff(c.open_time) == 300
    assert c.open[1:][neighbours] == pytest.approx(c.close[:-1][neighbours])


def test_intervals_agree_about_the_close_of_a_day() -> None:
    five, day = candles(START, START + 10 * DAY), candles(START, START + 10 * DAY, interval="1d")
    last = {int(t): p for t, p in zip(five.open_time, five.close, strict=True)}
    shared = [
        (last[t + DAY - 300], p)
        for t, p in zip(day.open_time.tolist(), day.close, strict=True)
        if t + DAY - 300 in last
    ]
    assert len(shared) >= 8
    assert [a for a, _ in shared] == pytest.approx([b for _, b in shared])


def test_now_and_then_a_candle_is_missing() -> None:
    year = candles(START, START + 365 * DAY)
    assert 0.002 < 1 - len(year) / (365 * 288) < 0.004


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_returns_have_fat_tails_and_clusters_but_no_direction(seed: int) -> None:
    r = returns(seed=seed)
    assert ((r - r.mean()) ** 4).mean() / r.var() ** 2 > 5
    assert autocorrelation(np.abs(r), 1) > 0.1
    assert autocorrelation(np.abs(r), 12) > 0.05
    assert max(abs(autocorrelation(r, lag)) for lag in range(1, 6)) < 0.02


def test_some_hours_are_louder_than_others() -> None:
    c = candles(START, START + 365 * DAY)
    hour = c.open_time[1:] % DAY // 3600
    r = np.abs(np.diff(np.log(c.close)))
    assert r[hour == 15].mean() > 1.3 * r[hour == 3].mean()


def test_coins_move_together() -> None:
    btc, eth = candles(START, START + 90 * DAY), candles(START, START + 90 * DAY, "ETH/EUR")
    _, i, j = np.intersect1d(btc.open_time, eth.open_time, return_indices=True)
    both = np.corrcoef(np.diff(np.log(btc.close[i])), np.diff(np.log(eth.close[j])))
    assert 0.4 < both[0, 1] < 0.9


def test_prices_stay_within_reason_for_decades() -> None:
    daily = candles(FIRST_OPEN_TIME, parse_time("2040-01-01"), "BTC/USD", "1d").close
    assert 60_000 / 30 < daily.min() < daily.max() < 60_000 * 30


def test_there_is_nothing_before_the_exchange_opened() -> None:
    c = candles(FIRST_OPEN_TIME - 30 * DAY, FIRST_OPEN_TIME + DAY)
    assert c.open_time[0] == FIRST_OPEN_TIME
    assert len(candles(0, DAY)) == 0


def test_nothing_that_opens_after_now_is_given() -> None:
    market = Market.of("BTC/EUR", "sim", "5m")
    source = Source(Setup(SourceSettings(), [market], Secrets({}), clock=VirtualClock(START + 450)))
    (page,) = source.pages(market, START - 600, START + DAY)
    assert page.end == START + DAY
    assert page.candles.open_time.tolist() == [START - 600, START - 300, START, START + 300]


def test_invented_coins_are_as_many_as_a_workspace_can_hold_and_none_is_anothers() -> None:
    names = [f"SIM{number}" for number in (1, 2, 77, 500, 9999)]
    found = [candles(START, START + DAY, f"{name}/USD") for name in names]
    assert len({c.fingerprint() for c in found}) == len(names)
    for name, c in zip(names, found, strict=True):
        assert 0.01 <= base_price(name) <= 10_000
        assert (c.low > 0).all()
        assert (c.high >= np.maximum(c.open, c.close)).all()
        assert len(np.unique(c.close)) > 100  # no price is too small for its tick
    again = candles(START, START + DAY, "SIM77/USD")
    assert again.fingerprint() == found[2].fingerprint()
    assert base_price("BTC") == 60_000


@pytest.mark.parametrize("symbol", ["NOPE/EUR", "BTC/GBP", "SIM0/EUR", "SIM10000/EUR", "SIM/EUR"])
def test_an_unknown_symbol_is_answered_with_the_known_ones(symbol: str) -> None:
    with pytest.raises(ConfigError) as caught:
        candles(START, START + DAY, symbol)
    assert caught.value.code == "config.symbol"
    assert caught.value.message == f"sim does not trade {symbol}"
    assert caught.value.hint == (
        "known: BTC, ETH, SOL, BNB, XRP, ADA, DOGE, AVAX, LINK, DOT, LTC, "
        "SIM1 to SIM9999, each in EUR, USD, USDT"
    )


def test_a_week_is_quick_and_a_year_is_no_wait() -> None:
    candles(START, START + DAY)
    best = {}
    for days in (7, 365):
        spans = []
        for _ in range(3):
            before = time.thread_time()
            candles(START, START + days * DAY)
            spans.append(time.thread_time() - before)
        best[days] = min(spans)
    assert best[7] < 0.1  # 2 ms on the machine it was written on
    assert best[365] < 1
