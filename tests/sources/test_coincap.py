"""CoinCap v3 against a loopback server that speaks it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cryptocast.clock import VirtualClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, CryptocastError, SourceError
from cryptocast.sources import Setup
from cryptocast.sources.coincap import Source
from cryptocast.values import Candles, Market, parse_time
from support import spoil
from support.loopback import KEY, Loopback, Reply, as_json, html, truncated_json
from support.patience import PATIENT

START = parse_time("2024-06-01")
DAY = 86_400
BTC = Market.of("BTC/USD", "coincap", "5m")
EUR = Market.of("BTC/EUR", "coincap", "5m")


def series(bars: int) -> Candles:
    times = START + 300 * np.arange(bars)
    price = 100.0 + np.arange(bars)
    return Candles.of(times, price, price + 2, price - 2, price + 1)


def euro(bars: int) -> Candles:
    times = START + 300 * np.arange(bars)
    flat = np.full(bars, 2.0)
    return Candles.of(times, flat, flat + 0.5, flat - 0.75, flat * 2)


@pytest.fixture
def server() -> Iterator[Loopback]:
    coins = {
        "BTC/USD": series(700),
        "ETH/USD": series(10),
        "PEPE/USD": series(10),
        "EUR/USD": euro(700),
    }
    with Loopback(coins) as loopback:
        yield loopback


@pytest.fixture
def source(server: Loopback) -> Iterator[Source]:
    source = make(server)
    yield source
    source.close()


class Book:
    """A Meter that writes down what calls are booked for."""

    def __init__(self) -> None:
        self.booked: list[int] = []
        self.refusals = 0
        self.notes: dict[tuple[str, str], str] = {}

    def book(self, source: str, credits: int) -> None:
        self.booked.append(credits)

    def settle(self, source: str, booked: int, spent: int) -> None:
        assert source == "coincap"

    def refused(self, source: str) -> None:
        self.refusals += 1

    def recall(self, source: str, key: str) -> str | None:
        return self.notes.get((source, key))

    def note(self, source: str, key: str, value: str) -> None:
        self.notes[source, key] = value


def make(
    server: Loopback, key: str | None = KEY, meter: Book | None = None, **settings: Any
) -> Source:
    setup = Setup(
        SourceSettings(name="coincap", base_url=server.base_url("coincap"), **settings),
        [BTC],
        Secrets({} if key is None else {"COINCAP_API_KEY": key}),
        clock=VirtualClock(START + 30 * DAY),
        meter=meter,
        patience=PATIENT,
    )
    return Source(setup)


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


def answered(server: Loopback, source: Source, assets: list[Any]) -> list[str]:
    """The paths asked when SOL is looked up and this is the answer."""
    server.faults.append(as_json({"data": assets}))
    list(source.pages(market("SOL"), START, START + 600))
    return [request.path for request in server.requests]


def test_the_best_ranked_of_one_symbol_is_picked(server: Loopback, source: Source) -> None:
    assets = [
        {"id": "unranked", "symbol": "SOL", "name": "Sol", "rank": None},
        {"id": "tenth", "symbol": "SOL", "name": "Sol", "rank": "10"},
        {"id": "bitcoin", "symbol": "sol", "name": "Solana", "rank": "9"},
        {"id": "first", "symbol": "WSOL", "name": "Wrapped", "rank": "1"},
        {"id": None, "symbol": "SOL", "name": "Nameless", "rank": 2},
    ]
    assert answered(server, source, assets)[-1] == "/ta/bitcoin/candlesticks"


def test_the_best_ranked_of_one_name_is_picked_where_no_symbol_fits(
    server: Loopback, source: Source
) -> None:
    assets = [
        {"id": "worse", "symbol": "A", "name": "Sol", "rank": "7"},
        {"id": "bitcoin", "symbol": "B", "name": "SOL", "rank": 6},
    ]
    assert answered(server, source, assets)[-1] == "/ta/bitcoin/candlesticks"


def test_threads_look_a_coin_up_once(server: Loopback, source: Source) -> None:
    server.delay_seconds = 0.02
    with ThreadPoolExecutor(8) as threads:
        asked = threads.map(
            lambda _: list(source.pages(market("PEPE"), START, START + 600)), range(8)
        )
        assert [sum(len(page.candles) for page in pages) for pages in asked] == [2] * 8
    assert [request.path for request in server.requests].count("/assets") == 1


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ([], "without a list under 'data'"),
        ({"data": {}}, "without a list under 'data'"),
        ({"data": [{"id": "sol", "symbol": "SOL"}, 7]}, "with an asset 1 that is no object"),
    ],
)
def test_another_answer_than_assets_is_named(
    server: Loopback, source: Source, answer: Any, found: str
) -> None:
    server.faults.append(as_json(answer))
    error = fails(source, market("SOL"))
    assert error.code == "source.bad_answer"
    assert error.message == f"coincap answered {found} (GET /assets)"


def test_a_look_up_keeps_to_the_deadline(server: Loopback, source: Source) -> None:
    pages = source.pages(market("SOL"), START, START + 600, deadline=time.monotonic() - 1)
    with pytest.raises(SourceError) as caught:
        list(pages)
    assert caught.value.message == "there is no time left to ask coincap (GET /assets)"
    assert server.requests == []


def test_a_call_is_booked_by_the_bars_it_asks_for(server: Loopback) -> None:
    meter = Book()
    source = make(server, meter=meter)
    list(source.pages(market("PEPE"), START, START + DAY + 600))
    source.close()
    # 5 for /assets, 288 bars of 105 bytes at 2,500 a credit, and 2 bars
    assert meter.booked == [5, 1 + 288 * 105 // 2500, 1]


def test_a_used_up_plan_is_told_to_the_meter_once(server: Loopback) -> None:
    meter = Book()
    source = make(server, meter=meter)
    server.faults.append(as_json({"error": "Forbidden: Monthly usage limit exceeded"}, 403))
    error = fails(source)
    source.close()
    assert error.message == (
        "coincap says that the plan is used up (HTTP 403: Forbidden: Monthly usage limit exceeded)"
    )
    assert error.hint == (
        "wait for the next month, take a larger plan, or take another source: "
        '[source] name = "bitvavo", init --source bitvavo'
    )
    assert (meter.refusals, meter.booked, len(server.requests)) == (1, [1], 1)


def test_other_quotes_than_usd_and_eur_are_a_setting_to_mend(
    server: Loopback, source: Source
) -> None:
    with pytest.raises(ConfigError) as caught:
        source.pages(Market.of("BTC/GBP", "coincap", "5m"), START, START + 600)
    assert caught.value.code == "config.symbol"
    assert caught.value.message == "coincap quotes only USD, so it has no BTC/GBP"
    assert caught.value.hint == (
        "--symbol BTC/USD or BTC/EUR, --source bitvavo, or set "
        '[source] slugs = { GBP = "its-slug" } to a token worth 1 GBP'
    )
    assert server.requests == []


# --- derived prices ---


def test_a_price_in_euro_is_derived_from_two_calls_a_page(server: Loopback) -> None:
    meter = Book()
    source = make(server, meter=meter)
    first, second = source.pages(EUR, START, START + DAY + 600)
    source.close()
    assert [request.path for request in server.requests] == [
        "/ta/bitcoin/candlesticks",
        "/ta/euro-coin/candlesticks",
    ] * 2
    assert meter.booked == [13, 13, 1, 1]
    assert (first.derived, first.start, first.end) == (True, START, START + DAY)
    assert (second.derived, second.start, second.end) == (True, START + DAY, START + DAY + 600)
    assert (len(first.candles), len(second.candles)) == (288, 2)
    assert first.candles.open.tolist()[:2] == [100 / 2, 101 / 2]
    assert first.candles.close.tolist()[:2] == [101 / 4, 102 / 4]
    assert first.candles.high.tolist()[:2] == [102 / 1.25, 103 / 1.25]
    assert first.candles.low.tolist()[:2] == [101 / 4, 102 / 4]  # 98 / 2.5 is above the close
    assert np.isnan(first.candles.volume).all()
    assert first.skew_seconds == pytest.approx(0, abs=5)


def test_a_price_in_usd_is_not_derived(source: Source) -> None:
    (page,) = source.pages(BTC, START, START + 600)
    assert not page.derived


def test_no_euro_candle_is_no_row(server: Loopback, source: Source) -> None:
    server.candles["EUR/USD"] = euro(700).take(np.array([0, 2, 3]))
    (page,) = source.pages(EUR, START, START + 3000)
    assert page.candles.open_time.tolist() == [START, START + 600, START + 900]
    assert (page.start, page.end) == (START, START + 3000)


def test_no_candle_of_the_coin_saves_the_call_for_the_euro(
    server: Loopback, source: Source
) -> None:
    server.candles["BTC/USD"] = series(2)
    (page,) = source.pages(EUR, START + DAY, START + DAY + 600)
    assert (page.start, page.end, len(page.candles)) == (START + DAY, START + DAY + 600, 0)
    assert page.derived
    assert len(server.requests) == 1


def test_another_token_is_a_setting(server: Loopback) -> None:
    source = make(server, slugs={"EUR": "eth-euro", "GBP": "ethereum"})
    (page,) = source.pages(Market.of("BTC/GBP", "coincap", "5m"), START, START + 600)
    assert page.candles.open.tolist() == [1.0, 1.0]
    error = fails(source, EUR)
    source.close()
    assert error.message == (
        "coincap has no candles of EUR under the slug 'eth-euro' "
        "(HTTP 404: Asset history not found)"
    )
    assert error.hint == (
        'set [source] slugs = { EUR = "its-slug" }, as in coincap.io/assets/its-slug, '
        "or check [source] base_url"
    )


def test_an_answer_for_other_times_vouches_for_nothing(server: Loopback, source: Source) -> None:
    row = {"time": (START - DAY) * 1000, "open": 1, "high": 1, "low": 1, "close": 1}
    server.faults.append(as_json({"candles": [row]}))
    error = fails(source)
    assert error.code == "source.bad_answer"
    assert error.message == (
        "coincap answered with candles of 2024-05-31T00:00:00Z to 2024-05-31T00:00:00Z, none of "
        "2024-06-01T00:00:00Z to 2024-06-01T00:10:00Z (GET /ta/bitcoin/candlesticks)"
    )


def test_a_page_that_repeats_vouches_for_its_own_bars_alone(
    server: Loopback, source: Source
) -> None:
    server.rewrite.extend([spoil.stuck()] * 2)
    first, second = source.pages(BTC, START, START + 2 * DAY)
    assert (first.start, first.end) == (START, START + DAY)
    assert (second.start, second.end, len(second.candles)) == (
        START + DAY,
        START + DAY + 300,  # `end` was inclusive
        1,
    )


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_nothing_is_asked(server: Loopback, key: str | None) -> None:
    source = make(server, key)
    error = fails(source)
    assert error.code == "source.no_key"
    assert error.message == "coincap needs a key, and COINCAP_API_KEY is not set"
    assert error.hint.startswith("put COINCAP_API_KEY=... into the environment or the workspace's")
    assert server.requests == []


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ"])
def test_a_key_that_can_be_none_is_refused_without_repeating_it(server: Loopback, key: str) -> None:
    error = fails(make(server, key))
    assert error.code == "source.bad_key"
    assert error.message == "the key in COINCAP_API_KEY holds characters that no coincap key has"
    assert server.requests == []


def test_blanks_around_a_key_are_cut(server: Loopback) -> None:
    source = make(server, f" {KEY}\n")
    list(source.pages(BTC, START, START + 600))
    source.close()
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_wrong_key_is_told_and_not_repeated(server: Loopback) -> None:
    source = make(server, "wrong-key-77")
    error = fails(source)
    source.close()
    assert error.code == "source.bad_key"
    assert "wrong-key-77" not in error.message + error.hint
    assert error.hint.startswith("check COINCAP_API_KEY")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        (
            as_json({"error": "Forbidden: Monthly usage limit exceeded"}, 403),
            "source.quota",
            "coincap says that the plan is used up "
            "(HTTP 403: Forbidden: Monthly usage limit exceeded)",
        ),
        (
            as_json({"error": "Forbidden"}, 403),
            "source.forbidden",
            "coincap refuses to answer (HTTP 403: Forbidden)",
        ),
        (
            as_json({"message": "Monthly limit reached"}, 429),
            "source.quota",
            "coincap says that the plan is used up (HTTP 429: Monthly limit reached)",
        ),
        (
            as_json({"error": "Asset history not found"}, 404),
            "config.symbol",
            "coincap has no candles of BTC under the slug 'bitcoin' "
            "(HTTP 404: Asset history not found)",
        ),
        (
            as_json({"detail": "start must be less than end"}, 400),
            "source.http",
            "coincap refused the request (HTTP 400: start must be less than end)",
        ),
        (
            Reply(400, b"start must be less than end"),
            "source.http",
            "coincap refused the request (HTTP 400: start must be less than end)",
        ),
        (
            as_json({"error": "Internal hiccup"}),
            "source.bad_answer",
            "coincap answered with an error instead of data (HTTP 200: Internal hiccup)",
        ),
        (
            as_json({"error": "Monthly usage limit exceeded"}),
            "source.quota",
            "coincap says that the plan is used up (HTTP 200: Monthly usage limit exceeded)",
        ),
    ],
)
def test_a_refusal_is_never_asked_again(
    server: Loopback, source: Source, reply: Reply, code: str, message: str
) -> None:
    server.faults.append(reply)
    error = fails(source)
    assert (error.code, error.retry, error.message) == (code, False, message)
    assert error.hint
    assert len(server.requests) == 1


def test_a_404_of_the_look_up_is_not_about_a_coin(server: Loopback, source: Source) -> None:
    server.faults.append(as_json({"error": "Not Found"}, 404))
    error = fails(source, market("SOL"))
    assert (error.code, error.hint) == ("source.http", "check [source] base_url")
    assert error.message == "coincap refused the request (HTTP 404: Not Found)"


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
        (as_json({"candles": [{**GOOD, "open": "n/a"}]}), "with text for the open of candle 0"),
        (as_json({"candles": [{**GOOD, "high": True}]}), "with a boolean for the high of candle 0"),
        (as_json({"candles": [GOOD, {**GOOD, "low": {}}]}), "with an object for the low of candle"),
        (as_json({"candles": [{**GOOD, "time": None}]}), "with null for the time of candle 0"),
        (as_json({"candles": [{"time": 1}]}), "with a candle 0 without 'open'"),
        (as_json({"candles": {"0": GOOD}}), "without a list under 'candles'"),
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


def test_a_missing_price_costs_only_its_own_row(server: Loopback, source: Source) -> None:
    later = {**GOOD, "time": (START + 300) * 1000}
    server.faults.append(as_json({"candles": [{**GOOD, "low": None, "high": "NaN"}, later]}))
    (page,) = source.pages(BTC, START, START + 600)
    assert page.candles.open_time.tolist() == [START, START + 300]
    assert np.isnan(page.candles.low).tolist() == [True, False]
    assert np.isnan(page.candles.high).tolist() == [True, False]


def test_numbers_may_be_written_as_text(server: Loopback, source: Source) -> None:
    (straight,) = source.pages(BTC, START, START + 3000)
    server.rewrite.append(spoil.retyped())
    (retyped,) = source.pages(BTC, START, START + 3000)
    assert retyped.candles.fingerprint() == straight.candles.fingerprint()


def test_what_is_not_known_beforehand_is_logged_without_the_key(
    server: Loopback, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.rewrite.extend([spoil.moved_in_time(8.753)] * 2)
    list(source.pages(market("PEPE"), START, START + DAY))
    list(source.pages(EUR, START, START + 300))
    said = [record.getMessage() for record in caplog.records if "cryptocast" in record.name]
    assert said[0].startswith("coincap answered HTTP 200 with ")
    assert said[2] == (
        "coincap:PEPE/USD:5m: 288 bars requested, 10 rows received, "
        "first and last time modulo a bar: [8, 8]"
    )
    assert said[3] == "coincap:BTC/EUR:5m is derived: BTC over EUR in USD"
    assert KEY not in caplog.text


def test_hours_and_days_are_asked_by_their_names(server: Loopback, source: Source) -> None:
    hours = Market.of("BTC/USD", "coincap", "2h")
    pages = list(source.pages(hours, START, START + 30 * DAY))
    assert [page.end - page.start for page in pages] == [24 * DAY, 6 * DAY]
    assert {request.query["interval"] for request in server.requests} == {"h2"}


def test_a_future_as_of_is_refused(server: Loopback) -> None:
    source = Source(Setup(SourceSettings(), [BTC], Secrets({}), clock=VirtualClock(9e9)))
    with pytest.raises(CryptocastError, match="is in the future"):
        source.pages(BTC, START, START + 600)


def test_a_slug_is_looked_up_once_whatever_process_asks(server: Loopback) -> None:
    meter = Book()
    for _ in range(2):
        source = make(server, meter=meter)
        list(source.pages(market("PEPE"), START, START + 600))
        source.close()
    assert [request.path for request in server.requests] == [
        "/assets",
        "/ta/pepe/candlesticks",
        "/ta/pepe/candlesticks",
    ]
    assert meter.notes == {("coincap", "slug PEPE"): "pepe"}
