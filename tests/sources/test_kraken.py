"""Kraken against a loopback server that speaks it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cryptocast.errors import ConfigError, CryptocastError
from cryptocast.sources.kraken import Source
from cryptocast.values import Market
from support import spoil
from support.exchanges import BARS, START, bitcoin, check_first, check_named, fails, opened
from support.loopback import Loopback, Reply, as_json, html

BTC = bitcoin(Source)


NEWEST = START + (BARS - 1) * 300
REACH = NEWEST - 719 * 300  # the oldest of the newest 720 bars


@pytest.mark.parametrize("inclusive", [True, False])
def test_one_call_brings_the_range_and_what_comes_after_is_cut(
    server: Loopback, source: Source, inclusive: bool
) -> None:
    server.since_inclusive = inclusive
    (page,) = source.pages(BTC, REACH + 3000, REACH + 6000)
    assert (page.start, page.end) == (REACH + 3000, REACH + 6000)
    assert page.candles.open_time.tolist() == [REACH + 3000 + 300 * n for n in range(10)]
    check_first(page.candles, BARS - 720 + 10)
    (request,) = server.requests
    assert request.path == "/OHLC"
    assert request.query == {"pair": "XBTEUR", "interval": "5", "since": str(REACH + 2700)}
    assert "authorization" not in request.headers


def test_of_what_lies_beyond_720_bars_nothing_is_claimed(server: Loopback, source: Source) -> None:
    (page,) = source.pages(BTC, START, NEWEST + 300)
    assert (page.start, page.end, len(page.candles)) == (REACH, NEWEST + 300, 720)
    assert list(source.pages(BTC, START, START + 6000)) == []
    assert len(server.requests) == 2


def test_a_cut_answer_with_bars_that_nobody_traded_in_claims_no_more(
    server: Loopback, source: Source
) -> None:
    everything = server.candles["BTC/EUR"]
    traded = np.ones(BARS, dtype=bool)
    traded[[-720, -719, -600, -100]] = False  # the first two are the oldest of the 720
    server.candles["BTC/EUR"] = everything.take(traded)
    (page,) = source.pages(BTC, START, NEWEST + 300)
    assert len(page.candles) == 716
    assert page.start == REACH


def test_a_short_answer_vouches_for_all_that_was_asked(server: Loopback, source: Source) -> None:
    server.candles["BTC/EUR"] = server.candles["BTC/EUR"].take(slice(-100, None))
    (page,) = source.pages(BTC, REACH, NEWEST + 300)
    assert (page.start, page.end, len(page.candles)) == (REACH, NEWEST + 300, 100)


def test_rows_that_repeat_do_not_stretch_what_is_claimed(server: Loopback, source: Source) -> None:
    server.rewrite.append(spoil.on_rows(lambda rows: rows[-400:] * 2))
    (page,) = source.pages(BTC, REACH, NEWEST + 300)
    assert page.start == NEWEST - 399 * 300


def test_a_row_of_long_before_does_not_stretch_what_is_claimed(
    server: Loopback, source: Source
) -> None:
    server.rewrite.append(spoil.with_stray(-86_400 * 300))
    (page,) = source.pages(BTC, START, NEWEST + 300)
    assert page.start == REACH


def test_dogecoin_has_a_name_of_its_own_too(server: Loopback, source: Source) -> None:
    (page,) = source.pages(Market.of("DOGE/EUR", "kraken", "5m"), REACH, REACH + 600)
    assert len(page.candles) == 2
    assert server.requests[0].query["pair"] == "XDGEUR"


def told(*errors: str, status: int = 200) -> Reply:
    return as_json({"error": list(errors)}, status)


def test_an_unknown_pair_is_a_setting_to_mend(server: Loopback, source: Source) -> None:
    error = fails(source, Market.of("NOPE/EUR", "kraken", "5m"))
    assert isinstance(error, ConfigError)
    assert error.code == "config.symbol"
    assert error.message == (
        "kraken does not know this market (HTTP 200: EQuery:Unknown asset pair)"
    )
    assert error.hint == (
        "check [market] symbols: BTC/EUR, BTC/USD, ETH/EUR and others; and base_url"
    )
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        told("EGeneral:Too many requests"),
        told("EAPI:Rate limit exceeded"),
        told("EService:Unavailable"),
        told("EService:Busy"),
        told("EGeneral:Internal error"),
        told("EService:Unavailable", status=503),
    ],
)
def test_a_passing_error_inside_a_200_is_asked_again(
    server: Loopback, source: Source, fault: Reply
) -> None:
    server.faults.append(fault)
    (page,) = source.pages(BTC, REACH, REACH + 600)
    assert (len(page.candles), len(server.requests)) == (2, 2)


@pytest.mark.parametrize(
    ("fault", "code", "message", "requests"),
    [
        (
            told("EGeneral:Too many requests"),
            "source.rate_limited",
            "kraken limits how often it is asked (HTTP 200: EGeneral:Too many requests)",
            4,
        ),
        (
            told("EService:Unavailable"),
            "source.http",
            "kraken has a fault of its own (HTTP 200: EService:Unavailable)",
            4,
        ),
        (
            told("EGeneral:Invalid arguments", "WGeneral:Hm"),
            "source.http",
            "kraken refused the request (HTTP 200: EGeneral:Invalid arguments)",
            1,
        ),
    ],
)
def test_errors_inside_a_200_are_told(
    server: Loopback, source: Source, fault: Reply, code: str, message: str, requests: int
) -> None:
    server.faults.extend([fault] * 9)
    error = fails(source)
    assert (error.code, error.message, len(server.requests)) == (code, message, requests)


def test_an_error_inside_a_200_is_not_asked_again_past_the_deadline(
    server: Loopback, source: Source
) -> None:
    server.faults.extend([told("EService:Busy")] * 9)
    server.delay_seconds = 0.2
    with pytest.raises(CryptocastError):
        list(source.pages(BTC, REACH, NEWEST, deadline=time.monotonic() + 0.3))
    assert len(server.requests) <= 2


@pytest.mark.parametrize("interval", ["2h", "6h", "12h"])
def test_an_interval_that_it_lacks_is_answered_with_what_there_is(
    server: Loopback, source: Source, interval: str
) -> None:
    error = fails(source, Market.of("BTC/EUR", "kraken", interval))
    assert (error.code, error.exit_code) == ("config.interval", 2)
    assert error.message == f"kraken has no candles of {interval}"
    assert error.hint == "set [market] interval to one of 1m, 5m, 15m, 30m, 1h, 1d"
    assert server.requests == []


@pytest.mark.parametrize(
    ("interval", "minutes"),
    [("1m", "1"), ("15m", "15"), ("30m", "30"), ("1h", "60"), ("1d", "1440")],
)
def test_intervals_are_asked_in_minutes(
    server: Loopback, source: Source, interval: str, minutes: str
) -> None:
    list(source.pages(Market.of("BTC/EUR", "kraken", interval), NEWEST, NEWEST + 300))
    assert server.requests[0].query["interval"] == minutes


ROW = [START, "1", "2", "0.5", "1.5", "1.2", "10", 3]


def result(rows: object, **others: object) -> Reply:
    return as_json({"error": [], "result": {"XXBTZEUR": rows, "last": START, **others}})


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (html(), "with an HTML page instead of JSON"),
        (as_json([]), "without one list of candles in 'result'"),
        (as_json({"error": []}), "without one list of candles in 'result'"),
        (as_json({"error": [], "result": []}), "without one list of candles in 'result'"),
        (result([], XETHZEUR=[]), "without one list of candles in 'result'"),
        (result({}), "with an object instead of a list of candles"),
        (result([ROW, ROW[:7]]), "with a candle 1 that is no list of 8"),
        (result([[*ROW[:6], "much", 3]]), "with text for the volume of candle 0"),
        (result([[START * 1000, *ROW[1:]]]), "with the time 1717200000000, no seconds"),
    ],
)
def test_another_answer_than_candles_is_named(
    server: Loopback, source: Source, reply: Reply, found: str
) -> None:
    check_named(server, source, reply, found, "/OHLC")


def test_calls_follow_each_other_at_its_pace(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Source.pace == (1, 1.0)
    monkeypatch.setattr(Source, "pace", (1, 0.2))
    source = opened(Source, server)
    before = time.monotonic()
    for _ in range(3):
        list(source.pages(BTC, REACH, REACH + 600))
    source.close()
    assert time.monotonic() - before >= 0.4
