"""CoinCap v3 against a loopback server that speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cryptocast.clock import VirtualClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, CryptocastError, SourceError
from cryptocast.sources._http import Patience
from cryptocast.sources.coincap import Source
from cryptocast.values import Candles, Market, parse_time
from loopback import KEY, Loopback, Reply, as_json, html, truncated_json

START = parse_time("2024-06-01")
DAY = 86_400
BTC = Market.of("BTC/USD", "coincap", "5m")
QUICK = Patience(first_pause_seconds=0.001, longest_pause_seconds=0.002, total_seconds=2)


def series(bars: int) -> Candles:
    times = START + 300 * np.arange(bars)
    price = 100.0 + np.arange(bars)
    return Candles.of(times, price, price + 2, price - 2, price + 1)


@pytest.fixture
def server() -> Iterator[Loopback]:
    coins = {"BTC/USD": series(700), "ETH/USD": series(10), "PEPE/USD": series(10)}
    with Loopback(coins) as loopback:
        yield loopback


@pytest.fixture
def source(server: Loopback) -> Iterator[Source]:
    source = make(server)
    yield source
    source.close()


def make(server: Loopback, key: str | None = KEY, **settings: Any) -> Source:
    return Source(
        SourceSettings(name="coincap", base_url=server.base_url("coincap"), **settings),
        [BTC],
        Secrets({} if key is None else {"COINCAP_API_KEY": key}),
        clock=VirtualClock(START + 30 * DAY),
        patience=QUICK,
    )


def fails(source: Source, market: Market = BTC) -> CryptocastError:
    with pytest.raises(CryptocastError) as caught:
        list(source.pages(market, START, START + 600))
    assert KEY not in f"{caught.value.message}{caught.value.hint}{caught.value!r}"
    return caught.value


def test_a_day_is_asked_a_call_with_the_key_in_the_header(server: Loopback, source: Source) -> None:
    pages = list(source.pages(BTC, START, START + 2 * DAY + 600))
    assert [(p.start - START, p.end - START) for p in pages] == [
        (0, DAY),
        (DAY, 2 * DAY),
        (2 * DAY, 2 * DAY + 600),
    ]
    assert [len(page.candles) for page in pages] == [288, 288, 2]
    first = server.requests[0]
    assert first.path == "/ta/bitcoin/candlesticks"
    assert first.query == {
        "interval": "m5",
        "start": str(START * 1000),
        "end": str((START + DAY) * 1000),
    }
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in str(request.query)


def test_prices_arrive_and_volume_is_unknown(source: Source) -> None:
    (page,) = source.pages(BTC, START, START + 600)
    assert page.candles.open_time.tolist() == [START, START + 300]
    assert page.candles.open.tolist() == [100.0, 101.0]
    assert page.candles.high.tolist() == [102.0, 103.0]
    assert page.candles.low.tolist() == [98.0, 99.0]
    assert page.candles.close.tolist() == [101.0, 102.0]
    assert np.isnan(page.candles.volume).all()


def test_unaligned_times_are_left_to_normalise(server: Loopback, source: Source) -> None:
    row = {"time": START * 1000 + 8_753, "open": 1, "high": 2.5, "low": 1, "close": 2}
    server.faults.append(as_json({"candles": [row]}))
    (page,) = source.pages(BTC, START, START + 600)
    assert page.candles.open_time.tolist() == [START + 8]


def test_insane_values_are_left_to_normalise(server: Loopback, source: Source) -> None:
    row = {"time": START * 1000, "open": -1, "high": 0, "low": 5, "close": float("nan")}
    server.faults.append(as_json({"candles": [row]}))
    (page,) = source.pages(BTC, START, START + 600)
    assert page.candles.low.tolist() == [5.0]


def test_a_slug_is_looked_up_once(server: Loopback, source: Source) -> None:
    pepe = Market.of("PEPE/USD", "coincap", "5m")
    list(source.pages(pepe, START, START + 600))
    list(source.pages(pepe, START, START + 600))
    paths = [request.path for request in server.requests]
    assert paths == ["/assets", "/ta/pepe/candlesticks", "/ta/pepe/candlesticks"]
    assert server.requests[0].query == {"search": "PEPE", "limit": "20"}


def test_a_slug_of_the_settings_goes_first_and_cannot_leave_its_path(server: Loopback) -> None:
    source = make(server, slugs={"BTC": "../assets?x"})
    assert fails(source).code == "config.symbol"
    source.close()
    assert server.requests[0].path == "/ta/../assets?x/candlesticks"
    assert "x" not in server.requests[0].query


def test_the_exact_symbol_is_picked_before_the_exact_name(server: Loopback, source: Source) -> None:
    assets = [
        {"id": "wrapped-sol", "symbol": "WSOL", "name": "Wrapped Sol"},
        {"id": "named-sol", "symbol": "X", "name": "Sol"},
        {"id": "bitcoin", "symbol": "SOL", "name": "Solana"},
        {"id": None, "symbol": None, "name": None},
    ]
    server.faults.append(as_json({"data": assets}))
    assert sum(len(p.candles) for p in source.pages(market("SOL"), START, START + 600)) == 2
    assert server.requests[1].path == "/ta/bitcoin/candlesticks"


def market(base: str) -> Market:
    return Market.of(f"{base}/USD", "coincap", "5m")


def test_an_unknown_coin_is_a_setting_to_mend(server: Loopback, source: Source) -> None:
    error = fails(source, market("NOPE"))
    assert (error.code, error.exit_code) == ("config.symbol", 2)
    assert error.message == "coincap knows no coin 'NOPE'"
    assert error.hint == (
        'set [source] slugs = { NOPE = "its-slug" }, as in coincap.io/assets/its-slug'
    )


def test_only_usd_is_quoted(server: Loopback, source: Source) -> None:
    with pytest.raises(ConfigError) as caught:
        source.pages(Market.of("BTC/EUR", "coincap", "5m"), START, START + 600)
    assert caught.value.message == "coincap quotes only USD, so it has no BTC/EUR"
    assert caught.value.hint == "--symbol BTC/USD, or --source bitvavo for BTC/EUR"
    assert server.requests == []


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_nothing_is_asked(server: Loopback, key: str | None) -> None:
    source = make(server, key)
    error = fails(source)
    assert error.code == "source.no_key"
    assert error.message == "coincap needs a key, and COINCAP_API_KEY is not set"
    assert error.hint.startswith("put COINCAP_API_KEY=... into the environment or the workspace's")
    assert server.requests == []


def test_a_wrong_key_is_told_and_not_repeated(server: Loopback) -> None:
    source = make(server, "wrong-key-77")
    error = fails(source)
    source.close()
    assert error.code == "source.bad_key"
    assert "wrong-key-77" not in error.message + error.hint
    assert error.hint.startswith("check COINCAP_API_KEY")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (403, {"error": "Forbidden: Monthly usage limit exceeded"}, "source.quota"),
        (403, {"error": "Forbidden"}, "source.forbidden"),
        (429, {"error": "Monthly limit reached"}, "source.quota"),
        (404, {"error": "Asset history not found"}, "config.symbol"),
        (400, {"detail": "start must be less than end"}, "source.http"),
    ],
)
def test_a_refusal_is_never_asked_again(
    server: Loopback, source: Source, status: int, body: dict[str, str], code: str
) -> None:
    server.faults.append(as_json(body, status))
    error = fails(source)
    assert (error.code, error.retry) == (code, False)
    assert next(iter(body.values())) in error.message
    assert error.hint
    assert len(server.requests) == 1


def test_the_limit_per_minute_is_waited_out(server: Loopback, source: Source) -> None:
    server.faults.append(as_json({"message": "limit of requests per minute exceeded"}, 429))
    assert sum(len(p.candles) for p in source.pages(BTC, START, START + 600)) == 2
    assert len(server.requests) == 2


GOOD = {"time": START * 1000, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (html(), "with an HTML page instead of JSON"),
        (truncated_json(), "with broken JSON"),
        (as_json([]), "without a list under 'candles'"),
        (as_json({"data": []}), "without a list under 'candles'"),
        (as_json({"candles": [GOOD, [1]]}), "with a candle 1 that is no object"),
        (as_json({"candles": [{**GOOD, "open": "1.0"}]}), "with text for a number, 'open' of"),
        (as_json({"candles": [{**GOOD, "low": None}]}), "with null for a number, 'low' of"),
        (as_json({"candles": [{**GOOD, "high": True}]}), "with a boolean for a number, 'high' of"),
        (as_json({"candles": [{"time": 1}]}), "with nothing for a number, 'open' of candle 0"),
        (as_json({"candles": [{**GOOD, "time": START}]}), "with the time 1717200000, no millisec"),
    ],
)
def test_another_answer_than_candles_is_named(
    server: Loopback, source: Source, reply: Reply, found: str
) -> None:
    server.faults.append(reply)
    error = fails(source)
    assert isinstance(error, SourceError)
    assert error.code == "source.bad_answer"
    assert error.message.startswith(f"coincap answered {found}")
    assert len(server.requests) == 1


def test_hours_and_days_are_asked_by_their_names(server: Loopback, source: Source) -> None:
    hours = Market.of("BTC/USD", "coincap", "2h")
    pages = list(source.pages(hours, START, START + 30 * DAY))
    assert [page.end - page.start for page in pages] == [24 * DAY, 6 * DAY]
    assert {request.query["interval"] for request in server.requests} == {"h2"}


def test_a_future_as_of_is_refused(server: Loopback) -> None:
    source = Source(SourceSettings(), [BTC], Secrets({}), clock=VirtualClock(9e9))
    with pytest.raises(CryptocastError, match="is in the future"):
        source.pages(BTC, START, START + 600)
