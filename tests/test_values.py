from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptocast.errors import ConfigError, UsageError
from cryptocast.values import (
    INTERVAL_SECONDS,
    Candles,
    ForecastSet,
    Market,
    ServedModel,
    iso,
    parse_time,
)
from support.synthetic import candles

START = 1_717_372_800  # 2024-06-03T00:00:00Z
MARKET = Market("bitvavo", "BTC", "EUR", "5m")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (START, "2024-06-03T00:00:00Z"),
        (float(START), "2024-06-03T00:00:00Z"),
        (START + 12.345, "2024-06-03T00:00:12.345Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-300, "1969-12-31T23:55:00Z"),
    ],
)
def test_a_moment_is_printed_in_utc(moment: float, text: str) -> None:
    assert iso(moment) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-06-03T00:00:00Z", START),
        ("2024-06-03", START),
        ("2024-06-03 00:05", START + 300),
        ("2024-06-03T02:00:00+02:00", START),
        ("2024-06-03T00:00:00.999", START),
    ],
)
def test_a_time_without_an_offset_is_utc(text: str, moment: int) -> None:
    assert parse_time(text) == moment


@given(st.integers(parse_time("1971-01-01"), 2**33))
def test_what_is_printed_is_read_back(moment: int) -> None:
    assert parse_time(iso(moment)) == moment


@pytest.mark.parametrize("text", ["yesterday", "", "2024-13-01", "2024-06-03T25:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_time(text)
    assert caught.value.message == f"'{text}' is not a time"
    assert caught.value.hint == "write it as 2024-06-03T00:00:00Z"


def test_a_symbol_becomes_a_market_of_the_source_and_interval() -> None:
    found = Market.of("BTC/EUR", "bitvavo", "5m")
    assert found == MARKET
    assert (found.id, str(found), found.symbol) == (
        "bitvavo:BTC/EUR:5m", "bitvavo:BTC/EUR:5m", "BTC/EUR"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["kraken:BTC/EUR:1h", "ccxt:kraken:1INCH/USDT:1m", "sim:A/B:1d"])
def test_a_full_id_is_read_back_whatever_the_settings_say(name: str) -> None:
    assert Market.of(name, "bitvavo", "5m").id == name


@pytest.mark.parametrize(
    "symbol",
    ["BTCEUR", "btc/eur", "BTC/", "/EUR", "BTC/EUR/X", "kraken:BTC/EUR", "BTC/EUR\n", "", "B C/D"],
)
def test_a_malformed_symbol_is_refused(symbol: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Market.of(symbol, "bitvavo", "5m")
    assert caught.value.code == "config.symbol"
    assert caught.value.message == f"'{symbol}' is not a symbol"
    assert caught.value.hint == "write BASE/QUOTE in capitals, for example BTC/EUR"


@pytest.mark.parametrize(
    "symbol", ["BTC/USDT:USDT", "btc/usdt:usdt", "binance:BTC/USDT:USDT", "binance:BTC/USD:BTC:5m"]
)
def test_a_contract_with_a_settle_currency_is_no_spot_market(symbol: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Market.of(symbol, "bitvavo", "5m")
    assert caught.value.message == (
        f"'{symbol}' is a contract with a currency of its own, not a spot market"
    )


@pytest.mark.parametrize("symbol", ["BTC/EUR", "kraken:BTC/EUR:4m"])
def test_an_unknown_interval_is_refused(symbol: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Market.of(symbol, "bitvavo", "4m")
    assert caught.value.code == "config.interval"
    assert caught.value.message == "'4m' is not an interval"
    assert caught.value.hint == "one of 1m, 5m, 15m, 30m, 1h, 2h, 6h, 12h, 1d"


@given(
    st.sampled_from(sorted(INTERVAL_SECONDS)),
    st.floats(-1e9, 1e10) | st.integers(-(10**9), 10**10),
)
def test_the_floor_is_the_last_moment_of_the_grid(interval: str, moment: float) -> None:
    market = Market("sim", "A", "B", interval)
    found = market.floor(moment)
    assert isinstance(found, int)
    assert found % market.interval_seconds == 0
    assert found <= moment < found + market.interval_seconds


def test_candles_without_volume_have_none() -> None:
    found = Candles.of([0, 300], [1, 2], [1, 2], [1, 2], [1, 2])
    assert np.isnan(found.volume).all()
    assert (found.open_time.dtype, found.close.dtype) == (np.int64, np.float64)


def test_equal_candles_have_one_fingerprint_and_others_another() -> None:
    one = candles(20, 1)
    assert one.fingerprint() == candles(20, 1).fingerprint()
    assert len({one.fingerprint(), candles(20, 2).fingerprint(), candles(19, 1).fingerprint()}) == 3
    assert one.take(slice(0, 10)).fingerprint() == one.take(np.arange(10)).fingerprint()


def test_parts_of_candles_joined_are_the_whole() -> None:
    one = candles(20, 1)
    joined = Candles.concatenate([one.take(slice(0, 7)), one.take(slice(7, 20))])
    assert joined.fingerprint() == one.fingerprint()
    assert len(Candles.concatenate([])) == len(Candles.empty()) == 0


def test_a_step_is_the_close_of_its_bar() -> None:
    made = ForecastSet(
        MARKET, START, START + 9.0, 1.0, 0, "late", ServedModel("1", "lstm", None), (0.5,),
        np.ones((2, 1)),
    )  # fmt: skip
    assert [made.target_time(step) for step in (1, 24)] == [START + 300, START + 7200]
    assert made.late
