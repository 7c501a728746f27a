"""Binance against a loopback server that speaks it."""

from __future__ import annotations

import pytest

from cryptocast.errors import ConfigError
from cryptocast.sources.binance import Source
from cryptocast.values import Candles, Market
from support.exchanges import START, TIMES, bitcoin, check_first, check_named, fails
from support.loopback import Loopback, Reply, as_json, html

BTC = bitcoin(Source)


@pytest.mark.parametrize("inclusive", [True, False])
def test_a_thousand_bars_are_asked_a_call(
    server: Loopback, source: Source, inclusive: bool
) -> None:
    server.end_inclusive = inclusive
    pages = list(source.pages(BTC, START, START + 2500 * 300))
    assert [len(page.candles) for page in pages] == [1000, 1000, 500]
    candles = Candles.concatenate([page.candles for page in pages])
    assert candles.open_time.tolist() == TIMES[:2500].tolist()
    check_first(candles)
    assert server.requests[0].path == "/klines"
    assert server.requests[0].query == {
        "symbol": "BTCEUR",
        "interval": "5m",
        "startTime": str(START * 1000),
        "endTime": str((START + 1000 * 300) * 1000 - 1),
        "limit": "1000",
    }
    assert "authorization" not in server.requests[0].headers


def test_an_unknown_symbol_is_a_setting_to_mend(server: Loopback, source: Source) -> None:
    error = fails(source, Market.of("NOPE/EUR", "binance", "5m"))
    assert isinstance(error, ConfigError)
    assert error.code == "config.symbol"
    assert error.message == ("binance does not know this market (HTTP 400: Invalid symbol.)")
    assert error.hint == (
        "check [market] symbols: BTC/EUR, BTC/USDT, ETH/USDT and others; and base_url"
    )
    assert len(server.requests) == 1


def test_a_country_that_is_not_served_is_told_so(server: Loopback, source: Source) -> None:
    body = {"code": 0, "msg": "Service unavailable from a restricted location"}
    server.faults.append(as_json(body, 451))
    error = fails(source)
    assert (error.code, error.retry, error.exit_code) == ("source.forbidden", False, 4)
    assert error.message.startswith("binance refuses to answer (HTTP 451: ")
    assert error.hint == (
        "its use may be barred in this country, or take another source: "
        '[source] name = "bitvavo", init --source bitvavo'
    )
    assert len(server.requests) == 1


def test_a_ban_is_not_made_longer_by_asking_again(server: Loopback, source: Source) -> None:
    server.faults.append(as_json({"code": -1003, "msg": "banned"}, 418, Retry_After="120"))
    error = fails(source)
    assert (error.code, error.retry) == ("source.rate_limited", False)
    assert error.message.startswith("binance has banned this address for 120 s (HTTP 418: ")
    assert len(server.requests) == 1


def test_a_rate_limit_is_waited_out(server: Loopback, source: Source) -> None:
    body = {"code": -1003, "msg": "Too many requests."}
    server.faults.append(as_json(body, 429, Retry_After="0.01"))
    (page,) = source.pages(BTC, START, START + 600)
    assert (len(page.candles), len(server.requests)) == (2, 2)


ROW = [START * 1000, "1", "2", "0.5", "1.5", "10", START * 1000 + 299_999, "1", 2, "1", "1", "0"]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (html(), "with an HTML page instead of JSON"),
        (as_json({"code": 0}), "with an object instead of a list of candles"),
        (as_json([ROW, ROW[:6]]), "with a candle 1 that is no list of 12"),
        (as_json([[*ROW[:2], [], *ROW[3:]]]), "with a list for the high of candle 0"),
        (as_json([[START, *ROW[1:]]]), "with the time 1717200000, no milliseconds"),
    ],
)
def test_another_answer_than_candles_is_named(
    server: Loopback, source: Source, reply: Reply, found: str
) -> None:
    check_named(server, source, reply, found, "/klines")


@pytest.mark.parametrize("interval", ["1m", "15m", "30m", "1h", "2h", "6h", "12h", "1d"])
def test_intervals_are_called_as_we_call_them(
    server: Loopback, source: Source, interval: str
) -> None:
    list(source.pages(Market.of("BTC/EUR", "binance", interval), START, START + 86_400))
    assert {request.query["interval"] for request in server.requests} == {interval}
