"""Bitvavo against a loopback server that speaks it."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.errors import CryptocastError
from cryptocast.sources.bitvavo import Source
from cryptocast.values import Candles, Market
from support.exchanges import BARS, START, TIMES, bitcoin, check_first, check_named, fails
from support.loopback import Loopback, Reply, as_json, html, truncated_json

BTC = bitcoin(Source)


@pytest.mark.parametrize("inclusive", [True, False])
def test_pages_come_oldest_first_and_hold_every_candle_once(
    server: Loopback, source: Source, inclusive: bool
) -> None:
    server.end_inclusive = inclusive
    pages = list(source.pages(BTC, START, START + BARS * 300))
    candles = Candles.concatenate([page.candles for page in pages])
    assert candles.open_time.tolist() == TIMES.tolist()
    check_first(candles)
    assert candles.close[-1] == 100.5 + BARS
    assert [page.start for page in pages] == [START + 1439 * 300 * i for i in range(3)]
    assert server.requests[0].path == "/BTC-EUR/candles"
    assert server.requests[0].query == {
        "interval": "5m",
        "limit": "1440",
        "start": str(START * 1000),
        "end": str((START + 1439 * 300) * 1000),
    }
    assert "authorization" not in server.requests[0].headers


def test_no_trades_are_an_empty_page(source: Source) -> None:
    (page,) = source.pages(BTC, START - 6000, START - 3000)
    assert (page.start, page.end, len(page.candles)) == (START - 6000, START - 3000, 0)


def test_an_unknown_market_is_a_setting_to_mend(source: Source) -> None:
    error = fails(source, Market.of("NOPE/EUR", "bitvavo", "5m"))
    assert (error.code, error.exit_code) == ("config.symbol", 2)
    assert error.message == (
        "bitvavo does not know this market (HTTP 400: market parameter is invalid.)"
    )


def test_a_ban_is_not_made_longer_by_asking_again(server: Loopback, source: Source) -> None:
    body = {"errorCode": 105, "error": "Your IP has been banned. The ban expires at 1717200000."}
    server.faults.append(as_json(body, 429))
    error = fails(source)
    assert (error.code, error.retry) == ("source.rate_limited", False)
    assert len(server.requests) == 1


ROW = [START * 1000, "1", "2", "0.5", "1.5", "10"]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (html(), "with an HTML page instead of JSON"),
        (truncated_json(), "with broken JSON"),
        (as_json({"error": "nothing here"}), "with an object instead of a list of candles"),
        (as_json([ROW, ROW[:5]]), "with a candle 1 that is no list of 6"),
        (as_json([[*ROW, "7"]]), "with a candle 0 that is no list of 6"),
        (as_json([{"open": 1}]), "with a candle 0 that is no list of 6"),
        (as_json([["soon", *ROW[1:]]]), "with text for the time of candle 0"),
        (as_json([[None, *ROW[1:]]]), "with null for the time of candle 0"),
        (as_json([["NaN", *ROW[1:]]]), "with text for the time of candle 0"),
        (as_json([ROW, [*ROW[:4], "n/a", "1"]]), "with text for the close of candle 1"),
        (as_json([[*ROW[:3], "1_000", *ROW[4:]]]), "with text for the low of candle 0"),
        (as_json([[*ROW[:3], "١٢٣", *ROW[4:]]]), "with text for the low of candle 0"),
        (as_json([[ROW[0], True, *ROW[2:]]]), "with a boolean for the open of candle 0"),
        (as_json([[*ROW[:5], {}]]), "with an object for the volume of candle 0"),
        (as_json([[START, *ROW[1:]]]), "with the time 1717200000, no milliseconds"),
    ],
)
def test_another_answer_than_candles_is_named(
    server: Loopback, source: Source, reply: Reply, found: str
) -> None:
    check_named(server, source, reply, found, "/BTC-EUR/candles")


def test_null_and_nan_spoil_only_their_own_row(server: Loopback, source: Source) -> None:
    rows = [
        [(START + 300 * 2) * 1000, "1", "2", "0.5", "NaN", "10"],
        [(START + 300) * 1000, None, "2", "0.5", "1.5", "10"],
        [START * 1000, 1, 2.0, "0.5", 10**400, None],
    ]
    server.faults.append(as_json(rows))
    (page,) = source.pages(BTC, START, START + 900)
    c = page.candles
    assert c.open_time.tolist() == [START, START + 300, START + 600]
    assert np.isnan(c.open).tolist() == [False, True, False]
    assert c.low.tolist() == [0.5, 0.5, 0.5]
    assert c.close[0] == np.inf
    assert np.isnan(c.close[2])
    assert np.isnan(c.volume[0])


def test_rows_far_from_what_was_asked_are_no_answer(server: Loopback, source: Source) -> None:
    server.faults.append(as_json([ROW]))
    with pytest.raises(CryptocastError) as caught:
        list(source.pages(BTC, START + 6000, START + 9000))
    assert caught.value.code == "source.bad_answer"
    assert caught.value.message == (
        "bitvavo answered with candles of 2024-06-01T00:00:00Z to 2024-06-01T00:00:00Z, "
        "none of 2024-06-01T01:40:00Z to 2024-06-01T02:30:00Z (GET /BTC-EUR/candles)"
    )


def test_an_answer_cut_by_other_rules_vouches_for_what_it_holds(
    server: Loopback, source: Source
) -> None:
    server.faults.append(as_json([[(START + 300 * n) * 1000, *ROW[1:]] for n in range(10)]))
    (page,) = source.pages(BTC, START + 600, START + 300 * 20)
    assert (page.start, page.end) == (START + 600, START + 300 * 10)
    assert page.candles.open_time.tolist() == [START + 300 * n for n in range(2, 10)]


def test_a_row_at_an_inclusive_end_is_not_far(server: Loopback, source: Source) -> None:
    server.faults.append(as_json([ROW]))
    (page,) = source.pages(BTC, START - 6000, START)
    assert (page.start, page.end, len(page.candles)) == (START - 6000, START, 0)
