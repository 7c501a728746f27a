"""ccxt's own library against a loopback server: every trap of its transport, and what it covers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cryptocast.clock import SystemClock, VirtualClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, CryptocastError, UsageError
from cryptocast.sources import Setup
from cryptocast.sources.ccxt import LEAD_BARS, Source
from cryptocast.values import Candles, Market, Page, parse_time
from support import ccxt_dialects  # noqa: F401 - the loopback server learns what ccxt asks besides candles
from support.loopback import Loopback, Reply, as_json, hang, html, redirect, reset, truncated_json
from support.patience import PATIENT, stand_still_until_asked, wait_briefly_for_what_hangs

ccxt = pytest.importorskip("ccxt", reason="the extra cryptocast[ccxt] is not installed")

START = parse_time("2024-06-01")
LEAD = LEAD_BARS * 300
BARS = 3000
END = START + BARS * 300
PATH = "/ccxt:bitvavo/v2/BTC-EUR/candles"


def recorded(first: int = START - LEAD, bars: int = BARS + LEAD_BARS) -> Candles:
    times = first + 300 * np.arange(bars)
    price = 100.5 + (times - START) / 300
    return Candles.of(times, price, price + 1, price - 1, price, price)


def market(symbol: str = "BTC/EUR", name: str = "ccxt:bitvavo", interval: str = "5m") -> Market:
    return Market.of(symbol, name, interval)


def opened(server: Loopback | None, name: str = "ccxt:bitvavo", **settings: Any) -> Source:
    if server is not None:
        settings.setdefault("base_url", server.base_url(name))
    setup = Setup(
        SourceSettings(name=name, **settings),
        [market(name=name)],
        Secrets({}),
        clock=SystemClock(),
        patience=PATIENT,
    )
    return Source(setup)


@pytest.fixture(autouse=True)
def _unhurried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """ccxt waits up to 3 s between calls, by exchange: only the test of that lets it."""
    if "pace" not in request.node.name:
        monkeypatch.setattr(ccxt.Exchange, "throttle", lambda self, cost=None: None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback({"BTC/EUR": recorded(), "ETH/EUR": recorded()}) as loopback:
        wait_briefly_for_what_hangs(monkeypatch, loopback)
        yield loopback


@pytest.fixture
def source(server: Loopback) -> Iterator[Source]:
    source = opened(server)
    yield source
    source.close()


@pytest.fixture
def ready(server: Loopback, source: Source) -> Source:
    """The source with its markets loaded, so that the next request is one for candles."""
    spans(source, START, START + 600)
    server.requests.clear()
    return source


def pages(source: Source, start: int = START, end: int = END) -> list[Page]:
    return list(source.pages(market(name=source.name), start, end))


def spans(source: Source, start: int = START, end: int = END) -> list[tuple[float, float, int]]:
    """What the pages cover, in bars since START, and how many rows they hold."""
    return [
        ((page.start - START) / 300, (page.end - START) / 300, len(page.candles))
        for page in pages(source, start, end)
    ]


def fails(source: Source, end: int = START + 600) -> CryptocastError:
    with pytest.raises(CryptocastError) as caught:
        pages(source, START, end)
    assert caught.value.hint
    shown = f"{caught.value.message} {caught.value.hint}"
    assert "start=" not in shown
    assert "\n" not in shown
    return caught.value


def refused(name: str, **settings: Any) -> CryptocastError:
    """The error of a source that cannot even be opened."""
    with pytest.raises(ConfigError) as caught:
        opened(None, name, **settings)
    return caught.value


def test_pages_cover_the_range_oldest_first_with_every_candle_once(
    server: Loopback, source: Source
) -> None:
    found = pages(source)
    candles = Candles.concatenate([page.candles for page in found])
    assert candles.open_time.tolist() == (START + 300 * np.arange(BARS)).tolist()
    assert (candles.open[0], candles.high[0], candles.low[0]) == (100.5, 101.5, 99.5)
    assert (candles.close[-1], candles.volume[-1]) == (3099.5, 3099.5)
    assert spans(source) == [(0, 1429, 1429), (1429, 2858, 1429), (2858, 3000, 142)]
    assert [request.path for request in server.requests[:3]] == [
        "/v2/assets",
        "/v2/markets",
        "/v2/BTC-EUR/candles",
    ]
    assert server.requests[2].query == {
        "interval": "5m",
        "limit": "1440",
        "start": str((START - LEAD) * 1000),
        "end": str((START - LEAD + 1440 * 300) * 1000),
    }
    assert server.requests[2].headers["user-agent"].startswith("cryptocast/")


def test_markets_are_loaded_once(server: Loopback, source: Source) -> None:
    for _ in range(3):
        spans(source, START, START + 600)
    assert [request.path for request in server.requests].count("/v2/markets") == 1


def test_what_it_says_of_itself(source: Source) -> None:
    assert source.name == "ccxt:bitvavo"
    assert (source.publishes_late, source.metered, source.bars_back) == (True, False, None)
    assert source.bars_a_call == 1440 - LEAD_BARS


def test_the_pace_is_the_one_that_ccxt_knows(server: Loopback, source: Source) -> None:
    began = time.monotonic()
    pages(source, START, START + 600)
    assert time.monotonic() - began > 2 * ccxt.bitvavo().rateLimit / 1000
    assert len(server.requests) == 3


def test_an_exchange_of_limited_depth_covers_from_its_first_row_on(server: Loopback) -> None:
    source = opened(server, "ccxt:kraken")
    (page,) = pages(source)
    assert (page.start, page.end, len(page.candles)) == (END - 720 * 300, END, 720)
    assert page.candles.close[-1] == 3099.5
    assert len(server.requests) == 3
    source.close()


def test_a_range_that_it_no_longer_goes_back_to_is_not_covered(server: Loopback) -> None:
    source = opened(server, "ccxt:kraken")
    assert spans(source, START, START + 86_400) == []
    source.close()


def test_a_bar_missing_between_candles_is_covered(server: Loopback, source: Source) -> None:
    kept = np.delete(np.arange(BARS + LEAD_BARS), [LEAD_BARS, LEAD_BARS + 5])
    server.candles["BTC/EUR"] = recorded().take(kept)
    assert spans(source, START, START + 10 * 300) == [(0, 10, 8)]


def test_a_missing_bar_at_the_end_is_covered_only_where_a_later_candle_shows_it(
    server: Loopback, source: Source
) -> None:
    whole = recorded()
    server.candles["BTC/EUR"] = whole.take(whole.open_time < END - 300)
    assert spans(source, END - 3000, END) == [(2990, 2999, 9)]
    server.candles["BTC/EUR"] = recorded(bars=BARS + LEAD_BARS + 1).take(
        np.delete(np.arange(BARS + LEAD_BARS + 1), BARS + LEAD_BARS - 1)
    )
    assert spans(source, END - 3000, END) == [(2990, 3000, 9)]


def test_the_first_candle_there_ever_was_is_where_it_begins_to_cover(
    server: Loopback, source: Source
) -> None:
    server.candles["BTC/EUR"] = recorded(START + 1200, 10)
    assert spans(source, START, START + 3000) == [(4, 10, 6)]


def test_an_outage_longer_than_an_answer_is_leapt_over_and_not_covered(
    server: Loopback, source: Source
) -> None:
    whole = recorded(bars=6000)
    out = (whole.open_time >= START + 300 * 100) & (whole.open_time < START + 300 * 4000)
    server.candles["BTC/EUR"] = whole.take(~out)
    assert spans(source, START, START + 300 * 4500) == [
        (0, 100, 100),
        (4000, 4385, 385),
        (4385, 4500, 115),
    ]


def test_no_candle_at_all_covers_nothing(source: Source) -> None:
    assert spans(source, END + 30_000, END + 33_000) == []


@pytest.mark.parametrize(("inclusive", "bars"), [(True, 1429), (False, 1428)])
def test_an_answer_cut_at_its_old_end_loses_no_bar(
    server: Loopback, source: Source, inclusive: bool, bars: int
) -> None:
    # An inclusive end makes a window of 1441 bars, of which the newest 1440 are given.
    server.end_inclusive = inclusive
    assert spans(source)[1] == (bars, 2 * bars, bars)


@pytest.mark.parametrize("days", [-900, -9, 9, 900])
def test_a_row_far_away_vouches_for_nothing(server: Loopback, ready: Source, days: int) -> None:
    near = [[(START + 300 * n) * 1000, "1", "1", "1", "1", "1"] for n in range(-3, 3)]
    far = [(START + 86_400 * days) * 1000, "1", "1", "1", "1", "1"]
    server.faults.append(as_json([far, *near]))
    assert spans(ready)[:2] == [(0, 3, 3), (3, 1432, 1429)]


def test_the_running_candle_is_given_as_it_is(server: Loopback, source: Source) -> None:
    server.now = START + 450
    (page,) = pages(source, START, START + 600)
    assert page.candles.open_time.tolist() == [START, START + 300]


def test_duplicates_and_disorder_are_left_to_normalise(server: Loopback, ready: Source) -> None:
    row = [START * 1000, "1", "2", "0.5", "1.5", "10"]
    later = [(START + 300) * 1000, *row[1:]]
    server.faults.append(as_json([later, row, later]))
    (page,) = pages(ready, START, START + 600)
    assert page.candles.open_time.tolist() == [START, START + 300, START + 300]


def test_a_null_price_spoils_only_its_row(server: Loopback, ready: Source) -> None:
    row = [START * 1000, "1", "2", "0.5", "1.5", "10"]
    server.faults.append(as_json([row, [(START + 300) * 1000, None, "2", "0.5", "1.5", None]]))
    (page,) = pages(ready, START, START + 600)
    assert np.isnan(page.candles.open).tolist() == [False, True]
    assert np.isnan(page.candles.volume).tolist() == [False, True]


def test_bars_that_ccxt_would_fill_in_are_left_out(server: Loopback) -> None:
    pair = {"pair": "btc_eur", "base": "btc", "quote": "eur"}
    rows = [
        {"timestamp": (START + 300 * n) * 1000, "open": "1", "high": "1", "low": "1"}
        | {"close": "1", "volume": "1"}
        for n in (0, 1, 7)
    ]
    server.faults.extend(as_json({"data": data}) for data in ([], [pair], rows))
    source = opened(server, "ccxt:bitopro")
    (page,) = pages(source, START, START + 300 * 8)
    assert page.candles.open_time.tolist() == [START, START + 300, START + 2100]
    source.close()


def test_the_skew_of_the_clocks_is_told(server: Loopback, source: Source) -> None:
    server.skew_seconds = -3600
    (page,) = pages(source, START, START + 600)
    assert page.skew_seconds == pytest.approx(-3600, abs=60)


ROW = [START * 1000, "1", "2", "0.5", "1.5", "10"]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (html(), "with an HTML page instead of JSON"),
        (truncated_json(), "with broken JSON"),
        (Reply(200, b'[[1717200000000, "1", "2"'), "with broken JSON"),
        (Reply(200, b""), "with nothing"),
        (as_json({}), "with an object that holds no list of candles"),
        (as_json(None), "with null that holds no list of candles"),
        (as_json({"error": []}), "with null for the time of candle 0"),
        (as_json([[]]), "with null for the time of candle 0"),
        (as_json([{"open": 1}]), "with null for the time of candle 0"),
        (as_json(["soon"]), "with null for the time of candle 0"),
        (as_json([[None] * 6]), "with null for the time of candle 0"),
        (as_json([ROW, [None, *ROW[1:]]]), "with null for the time of candle 0"),
        (as_json([ROW[:1]] * 3), "with candles that hold no price"),
        (as_json([[START, *ROW[1:]]]), "with the time 1717200000, no milliseconds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_answer_than_candles_is_named(
    server: Loopback, ready: Source, reply: Reply, found: str
) -> None:
    server.faults.append(reply)
    error = fails(ready)
    assert (error.code, error.exit_code) == ("source.bad_answer", 4)
    assert error.message == f"ccxt:bitvavo answered {found} (GET {PATH})"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "code", "what"),
    [
        (as_json({"error": "bad"}, 400), "source.http", "refused the request (HTTP 400: bad)"),
        (Reply(404, b"nothing"), "source.http", "refused the request (HTTP 404: nothing)"),
        (Reply(403, b"no"), "source.forbidden", "refuses to answer (HTTP 403: no)"),
        (html(451), "source.forbidden", "refuses to answer (HTTP 451: an HTML page)"),
        (
            Reply(401, b"who?"),
            "source.forbidden",
            "gives no candles without a key, and ccxt is never given one",
        ),
        (
            as_json({"errorCode": 105, "error": "banned"}, 418),
            "source.rate_limited",
            "limits how often it is asked (HTTP 418: banned)",
        ),
    ],
    ids=["400", "404", "403", "451", "401", "418"],
)
def test_a_lasting_refusal_is_asked_once(
    server: Loopback,
    ready: Source,
    fault: Reply,
    code: str,
    what: str,
) -> None:
    server.faults.append(fault)
    error = fails(ready)
    assert (error.code, error.retry) == (code, False)
    assert error.message == f"ccxt:bitvavo {what}"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (as_json({"errorCode": 1, "error": "slow down"}, 429), "source.rate_limited"),
        (Reply(500, b"oops"), "source.http"),
        (html(503), "source.http"),
        (reset(), "source.unreachable"),
        (hang(), "source.timeout"),
    ],
    ids=["429", "500", "503", "reset", "time-out"],
)
def test_a_passing_fault_is_asked_again_and_not_for_ever(
    server: Loopback, ready: Source, fault: Reply, code: str
) -> None:
    server.faults.append(fault)
    assert spans(ready, START, START + 600) == [(0, 2, 2)]
    assert len(server.requests) == 2
    server.requests.clear()
    server.faults.extend([fault] * 9)
    error = fails(ready)
    assert (error.code, error.retry) == (code, True)
    assert len(server.requests) == PATIENT.tries


@pytest.mark.parametrize(
    ("said", "code", "retry"),
    [
        ("EAPI:Rate limit exceeded", "source.rate_limited", True),
        ("EService:Unavailable", "source.http", True),
        ("EQuery:Invalid asset pair", "config.symbol", False),
        ("EGeneral:Permission denied", "source.forbidden", False),
        ("EGeneral:Something else", "source.http", False),
    ],
)
def test_an_error_inside_a_200_is_an_error(
    server: Loopback, said: str, code: str, retry: bool
) -> None:
    source = opened(server, "ccxt:kraken")
    assert len(spans(source, END - 3000, END)) == 1
    server.requests.clear()
    server.faults.extend([as_json({"error": [said]})] * 9)
    error = fails(source)
    assert (error.code, error.retry) == (code, retry)
    if code != "source.forbidden":
        assert f'(HTTP 200: {{"error": ["{said}"]}})' in error.message
    assert len(server.requests) == (PATIENT.tries if retry else 1)
    source.close()


def test_an_object_where_kraken_has_its_candles_is_a_bad_answer(server: Loopback) -> None:
    source = opened(server, "ccxt:kraken")
    spans(source, END - 3000, END)
    server.faults.append(as_json({"error": [], "result": {"last": 1}}))
    error = fails(source)
    assert error.code == "source.bad_answer"
    assert "with an object that holds no list of candles" in error.message
    source.close()


def test_a_page_that_repeats_for_ever_ends_with_an_error(server: Loopback, ready: Source) -> None:
    fixed = [[(START + 300 * n) * 1000, "1", "1", "1", "1", "1"] for n in range(100)]
    server.faults.extend([as_json(fixed)] * 50)
    found = []
    with pytest.raises(CryptocastError) as caught:
        found.extend(ready.pages(market(), START, END))
    assert caught.value.message == (
        "ccxt:bitvavo answered with the same candles again, where later ones were asked for "
        f"(GET {PATH})"
    )
    assert len(server.requests) == 2


def test_an_old_page_that_repeats_for_ever_ends_with_an_error(
    server: Loopback, ready: Source
) -> None:
    old = [[(START - 86_400 + 300 * n) * 1000, "1", "1", "1", "1", "1"] for n in range(5)]
    server.faults.extend([as_json(old)] * 50)
    error = fails(ready, END)
    assert error.code == "source.bad_answer"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (html(), "with an HTML page instead of JSON"),
        (as_json([]), "with no market at all"),
        (as_json({"markets": 7}), "with no market at all"),
        (as_json(7), "with a number that ccxt cannot read"),
    ],
    ids=["HTML", "empty", "object", "number"],
)
def test_markets_that_cannot_be_read_make_no_symbol_unknown(
    server: Loopback, source: Source, reply: Reply, found: str
) -> None:
    server.faults.extend([as_json([]), reply])
    error = fails(source)
    assert error.code == "source.bad_answer"
    assert error.message == f"ccxt:bitvavo answered {found} (GET /ccxt:bitvavo/v2/markets)"
    assert spans(source, START, START + 600) == [(0, 2, 2)]


def test_one_redirect_after_another_is_a_bad_answer(server: Loopback, ready: Source) -> None:
    server.faults.extend([redirect(server.base_url("ccxt:bitvavo") + "/v2/time")] * 9)
    assert fails(ready).code == "source.bad_answer"


def test_an_unreachable_exchange_says_so_without_the_query(source: Source) -> None:
    lonely = opened(None, base_url="http://127.0.0.1:9")
    error = fails(lonely)
    assert (error.code, error.message) == (
        "source.unreachable",
        "ccxt:bitvavo cannot be reached at 127.0.0.1:9: connection refused",
    )


def test_nothing_is_asked_after_the_deadline(server: Loopback, ready: Source) -> None:
    with pytest.raises(CryptocastError) as caught:
        list(ready.pages(market(), START, END, deadline=time.monotonic() - 1))
    assert caught.value.code == "source.timeout"
    assert server.requests == []


def test_an_answer_is_waited_for_no_longer_than_to_the_deadline(
    server: Loopback, ready: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still_until_asked(monkeypatch, server)
    server.faults.append(hang())
    with pytest.raises(CryptocastError) as caught:
        list(ready.pages(market(), START, END, deadline=0.1))
    assert caught.value.message == f"ccxt:bitvavo did not answer within 0.1 s (GET {PATH})"
    assert len(server.requests) == 1


def test_an_unknown_symbol_is_answered_with_those_that_are_close(source: Source) -> None:
    with pytest.raises(ConfigError) as caught:
        list(source.pages(market("ETHX/EUR"), START, END))
    assert caught.value.code == "config.symbol"
    assert caught.value.message == "ccxt:bitvavo does not trade ETHX/EUR"
    assert caught.value.hint.startswith("check [market] symbols: did you mean ETH/EUR")


def test_an_interval_that_it_lacks_is_answered_with_those_it_has(server: Loopback) -> None:
    source = opened(server, "ccxt:kraken")
    with pytest.raises(ConfigError) as caught:
        source.pages(market(name="ccxt:kraken", interval="6h"), START, END)
    assert caught.value.code == "config.interval"
    assert caught.value.message == "ccxt:kraken has no candles of 6h"
    assert caught.value.hint == "set [market] interval to one of 1m, 5m, 15m, 30m, 1h, 1d"
    assert server.requests == []


def test_the_future_is_not_asked_for(server: Loopback) -> None:
    settings = SourceSettings(name="ccxt:kraken")
    clock = VirtualClock(time.time() + 86_400)
    source = Source(Setup(settings, [], Secrets({}), clock=clock))
    with pytest.raises(UsageError, match="in the future, which ccxt:kraken does not know"):
        source.pages(market(), START, END)


@pytest.mark.parametrize("name", ["ccxt", "ccxt:"])
def test_no_exchange_named_says_how_to_name_one(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(None, name)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "config.source",
        "the source 'ccxt' names no exchange",
        "write it as ccxt:EXCHANGE, for example ccxt:kraken",
    )


def test_an_unknown_exchange_is_answered_with_those_that_are_close() -> None:
    error = refused("ccxt:krakn")
    assert (error.code, error.message) == ("config.source", "ccxt knows no exchange 'krakn'")
    assert error.hint.startswith("did you mean ccxt:kraken")


def test_what_is_in_ccxt_but_no_exchange_is_unknown() -> None:
    assert refused("ccxt:Exchange").message == "ccxt knows no exchange 'Exchange'"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ccxt:zaif", "ccxt:zaif has no candles"),
        ("ccxt:aster", "ccxt:aster has no single address that base_url could stand for"),
    ],
)
def test_an_exchange_that_cannot_serve_says_why(name: str, why: str) -> None:
    error = refused(name, base_url="http://127.0.0.1:9")
    assert (error.code, error.message) == ("config.source", why)
    assert error.hint == "take another source, for example --source ccxt:kraken"


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("ccxt:hyperliquid", "config.source", "is asked by POST, which is not supported"),
        (
            "ccxt:mudrex",
            "source.forbidden",
            "gives no candles without a key, and ccxt is never given one",
        ),
    ],
)
def test_an_exchange_that_is_asked_otherwise_says_why(
    server: Loopback, name: str, code: str, why: str
) -> None:
    error = fails(opened(server, name))
    assert (error.code, error.message) == (code, f"{name} {why}")
    assert server.requests == []


def test_base_url_is_never_left_for_another_host(server: Loopback) -> None:
    error = fails(opened(server, "ccxt:bitbank"))
    assert (error.code, error.message) == (
        "config.source",
        "ccxt:bitbank also asks api.bitbank.cc, which base_url does not stand for",
    )
    assert server.requests == []


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    error = refused("ccxt:kraken")
    assert (error.code, error.exit_code, error.message, error.hint) == (
        "config.extra",
        2,
        "cryptocast[ccxt] is not installed, which every source ccxt:... needs",
        "pip install 'cryptocast[ccxt]'",
    )
