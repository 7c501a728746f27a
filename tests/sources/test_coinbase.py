"""Coinbase against a loopback server that speaks it."""

from __future__ import annotations

import pytest

from cryptocast.errors import ConfigError
from cryptocast.sources.coinbase import Source
from cryptocast.values import Candles, Market
from support.exchanges import START, TIMES, bitcoin, check_first, check_named, fails
from support.loopback import Loopback, Reply, as_json, html

BTC = bitcoin(Source)


@pytest.mark.parametrize("inclusive", [True, False])
def test_an_inclusive_end_pushes_no_bar_out(
    server: Loopback, source: Source, inclusive: bool
) -> None:
    server.end_inclusive = inclusive
    pages = list(source.pages(BTC, START, START + 700 * 300))
    assert [len(page.candles) for page in pages] == [299, 299, 102]
    candles = Candles.concatenate([page.candles for page in pages])
    assert candles.open_time.tolist() == TIMES[:700].tolist()
    check_first(candles)
    assert server.requests[0].path == "/products/BTC-EUR/candles"
    assert server.requests[0].query == {
        "granularity": "FIVE_MINUTE",
        "start": str(START),
        "end": str(START + 299 * 300),
    }
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"error": "NOT_FOUND", "message": "valid product_id is required"}),
        (400, {"error": "INVALID_ARGUMENT", "message": "ProductID is invalid"}),
    ],
)
def test_an_unknown_product_is_a_setting_to_mend(
    server: Loopback, source: Source, status: int, body: dict[str, str]
) -> None:
    server.faults.append(as_json(body, status))
    error = fails(source, Market.of("NOPE/EUR", "coinbase", "5m"))
    assert isinstance(error, ConfigError)
    assert error.code == "config.symbol"
    assert error.message == (f"coinbase does not know this market (HTTP {status}: {body['error']})")
    assert error.hint == (
        "check [market] symbols: BTC/EUR, BTC/USD, ETH/EUR and others; and base_url"
    )


def test_another_bad_request_is_not_blamed_on_the_symbol(server: Loopback, source: Source) -> None:
    body = {"error": "INVALID_ARGUMENT", "message": "start and end argument is invalid"}
    server.faults.append(as_json(body, 400))
    assert fails(source).code == "source.http"


def test_an_interval_that_it_lacks_is_answered_with_what_there_is(
    server: Loopback, source: Source
) -> None:
    error = fails(source, Market.of("BTC/EUR", "coinbase", "12h"))
    assert (error.code, error.exit_code) == ("config.interval", 2)
    assert error.message == "coinbase has no candles of 12h"
    assert error.hint == "set [market] interval to one of 1m, 5m, 15m, 30m, 1h, 2h, 6h, 1d"
    assert server.requests == []


ROW = dict(zip(("low", "high", "open", "close", "volume"), ("1", "3", "2", "2", "9"), strict=True))
GOOD = {"start": str(START), **ROW}


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (html(), "with an HTML page instead of JSON"),
        (as_json([]), "without a list under 'candles'"),
        (as_json({"candels": []}), "without a list under 'candles'"),
        (as_json({"candles": {}}), "with an object instead of a list of candles"),
        (as_json({"candles": [GOOD, [1]]}), "with a candle 1 that is no object"),
        (as_json({"candles": [ROW]}), "with a candle 0 without 'start'"),
        (as_json({"candles": [{**GOOD, "low": "-"}]}), "with text for the low of candle 0"),
        (
            as_json({"candles": [{**GOOD, "start": START * 1000}]}),
            "with the time 1717200000000, no seconds",
        ),
    ],
)
def test_another_answer_than_candles_is_named(
    server: Loopback, source: Source, reply: Reply, found: str
) -> None:
    check_named(server, source, reply, found, "/products/BTC-EUR/candles")


@pytest.mark.parametrize(
    ("interval", "theirs"),
    [
        ("1m", "ONE_MINUTE"),
        ("15m", "FIFTEEN_MINUTE"),
        ("30m", "THIRTY_MINUTE"),
        ("1h", "ONE_HOUR"),
        ("2h", "TWO_HOUR"),
        ("6h", "SIX_HOUR"),
        ("1d", "ONE_DAY"),
    ],
)
def test_intervals_have_names_there(
    server: Loopback, source: Source, interval: str, theirs: str
) -> None:
    list(source.pages(Market.of("BTC/EUR", "coinbase", interval), START, START + 86_400))
    assert {request.query["granularity"] for request in server.requests} == {theirs}
