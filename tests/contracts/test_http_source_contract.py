"""What every source over HTTP promises besides, whatever its server answers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptocast.candles import normalise
from cryptocast.errors import SourceError
from cryptocast.testing.sources import prices, rows
from cryptocast.values import Candles, Page
from support import spoil
from support.loopback import as_json
from support.source_cases import END, OVER_HTTP, Case, ask, recorded

HUNDRED = END - 100 * 300
UNTIDY = {
    "backwards": spoil.backwards(),
    "shuffled": spoil.shuffled(),
    "repeated": spoil.repeated(),
    "unaligned": spoil.moved_in_time(8),
    "two rows that disagree": spoil.doubled(3),
    "a row of long before": spoil.with_stray(-86_400 * 9),
    "a row of long after": spoil.with_stray(86_400 * 9),
}
BAD_ROWS = {
    "null": spoil.cell("close", None, 3),
    "NaN": spoil.cell("open", math.nan, 3),
    "negative": spoil.cell("low", -1, 3),
    "zero": spoil.cell("high", 0, 3),
    "high below low": spoil.high_below_low(3),
}
NO_CANDLES = {
    "a price that is an object": spoil.cell("close", {}, 3),
    "a price that is a boolean": spoil.cell("close", True, 3),
    "a price that is a word": spoil.cell("close", "n/a", 3),
    "a time that is null": spoil.cell("time", None, 3),
    "an object for the list": spoil.on_rows(lambda rows: {"0": rows}),
    "a row that is null": spoil.on_rows(lambda rows: [*rows, None]),
    "a row that is empty": spoil.on_rows(lambda rows: [*rows, type(rows[0])()]),
}


@pytest.fixture(params=sorted(OVER_HTTP))
def http(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with OVER_HTTP[request.param](tmp_path) as case:
        yield case
        case.source.close()


def spoilt(case: Case, step: spoil.Rewrite) -> tuple[list[tuple[int, float]], list[Page]]:
    """Time and close of a hundred bars as they are, and what comes of a spoilt answer."""
    assert case.server is not None
    proper = Candles.concatenate([page.candles for page in ask(case, HUNDRED, END)])
    case.server.rewrite.append(step)
    pages = ask(case, HUNDRED, END)
    assert not case.server.rewrite
    return list(zip(proper.open_time.tolist(), proper.close.tolist(), strict=True)), pages


def closes(case: Case, pages: list[Page]) -> list[tuple[int, float]]:
    """Time and close of all that is left of pages after normalise."""
    parts = [
        normalise(page.candles, case.market, now=END, start=page.start, end=page.end).candles
        for page in pages
    ]
    left = Candles.concatenate(parts)
    return list(zip(left.open_time.tolist(), left.close.tolist(), strict=True))


def test_what_was_recorded_comes_back(http: Case) -> None:
    there = recorded()
    there = there.take(there.open_time >= http.start)
    given = Candles.concatenate([page.candles for page in ask(http, http.start, END)])
    assert given.open_time.tolist() == there.open_time.tolist()
    for ours, theirs in zip(prices(given)[:4], prices(there)[:4], strict=True):
        assert ours.tolist() == theirs.tolist()


def test_no_call_asks_for_more_bars_than_a_call_brings(http: Case) -> None:
    assert http.server is not None
    pages = ask(http, http.start, END)
    most = http.source.bars_a_call
    assert all(page.end - page.start <= most * 300 for page in pages)
    asked = [request for request in http.server.requests if request.path != "/assets"]
    assert len(asked) == len(pages) == math.ceil((END - http.start) / 300 / most)


def test_every_page_tells_the_clock_of_the_server(http: Case) -> None:
    assert http.server is not None
    http.server.skew_seconds = -600
    for page in ask(http, END - 6000, END):
        assert page.skew_seconds == pytest.approx(-600, abs=5)


def test_after_the_deadline_nothing_is_asked(http: Case) -> None:
    assert http.server is not None
    with pytest.raises(SourceError) as caught:
        list(http.source.pages(http.market, http.start, END, deadline=time.monotonic() - 1))
    assert (caught.value.code, caught.value.exit_code) == ("source.timeout", 4)
    assert caught.value.message.startswith(f"there is no time left to ask {http.source.name}")
    assert http.server.requests == []


@pytest.mark.parametrize("place", [0, 50, -1], ids=["first", "in the middle", "last"])
def test_the_running_candle_may_stand_anywhere(http: Case, place: int) -> None:
    assert http.server is not None
    http.server.now = END - 150
    http.server.rewrite.append(spoil.newest_at(place))
    given = rows(ask(http, END - 100 * 300, END))
    assert not http.server.rewrite
    assert len(given) == 100
    assert sorted(given) == rows(ask(http, END - 100 * 300, END))


@pytest.mark.parametrize("step", UNTIDY.values(), ids=UNTIDY)
def test_an_untidy_answer_gives_the_same_candles(http: Case, step: spoil.Rewrite) -> None:
    proper, pages = spoilt(http, step)
    assert closes(http, pages) == proper


@pytest.mark.parametrize("step", BAD_ROWS.values(), ids=BAD_ROWS)
def test_an_impossible_row_is_lost_alone(http: Case, step: spoil.Rewrite) -> None:
    proper, pages = spoilt(http, step)
    left = closes(http, pages)
    assert len(left) == len(proper) - 1
    assert set(left) < set(proper)
    (page,) = pages
    done = normalise(page.candles, http.market, now=END, start=page.start, end=page.end)
    assert done.rejected == 1


@pytest.mark.parametrize("step", NO_CANDLES.values(), ids=NO_CANDLES)
def test_what_is_no_candle_is_an_error(http: Case, step: spoil.Rewrite) -> None:
    with pytest.raises(SourceError) as caught:
        spoilt(http, step)
    assert (caught.value.code, caught.value.retry) == ("source.bad_answer", False)
    assert caught.value.message.startswith(f"{http.source.name} answered with")


def test_rows_of_before_what_was_asked_are_no_answer(http: Case) -> None:
    with pytest.raises(SourceError) as caught:
        spoilt(http, spoil.moved_in_time(-86_400 * 30))
    assert caught.value.code == "source.bad_answer"
    assert caught.value.message.startswith(f"{http.source.name} answered with candles of ")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_of_the_key_only_where_there_is_one(http: Case, status: int) -> None:
    assert http.server is not None
    http.server.faults.append(as_json({"error": "no"}, status))
    with pytest.raises(SourceError) as caught:
        ask(http, HUNDRED, END)
    error, name = caught.value, http.source.name
    if (name, status) == ("coincap", 401):
        assert error.code == "source.bad_key"
        assert error.hint == "check COINCAP_API_KEY: keys are made at https://pro.coincap.io"
        return
    assert (error.code, error.retry) == ("source.forbidden", False)
    assert error.message == f"{name} refuses to answer (HTTP {status}: no)"
    other = "kraken" if name == "bitvavo" else "bitvavo"  # the one at fault is not advised
    assert error.hint == (
        "it may refuse this network or country; check [source] base_url, "
        f'or take another source: [source] name = "{other}", init --source {other}'
    )


def test_numbers_may_be_text_and_text_numbers(http: Case) -> None:
    proper, pages = spoilt(http, spoil.retyped())
    assert closes(http, pages) == proper


def test_a_page_that_repeats_for_ever_is_never_taken_for_missing_bars(http: Case) -> None:
    assert http.server is not None
    http.server.rewrite.extend([spoil.stuck()] * 99)
    http.server.now = END - 100 * 300
    ask(http, END - 200 * 300, END - 100 * 300)
    http.server.now = END
    with pytest.raises(SourceError) as caught:
        ask(http, END - 1000, END)
    assert caught.value.code == "source.bad_answer"
    assert len(http.server.requests) == 2
