"""What every candle source promises. A new file in `sources/` needs one more case for it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast import plugins
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError
from cryptocast.sources import PACKAGE, Setup, open_source, resolve_auto
from cryptocast.values import Market
from support.source_cases import CASES, CLOCK, END, Case, ask, prices, rows


@pytest.fixture(params=plugins.names(PACKAGE))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param not in CASES:
        pytest.fail(
            f"the source '{request.param}' has no contract case: add it to CASES in "
            "tests/support/source_cases.py"
        )
    with CASES[request.param](tmp_path) as case:
        yield case
        case.source.close()


def test_pages_cover_the_range_oldest_first_without_overlap(case: Case) -> None:
    pages = ask(case, case.start, END)
    assert pages[0].start == case.start
    assert pages[-1].end == END
    assert all(left.end == right.start for left, right in pairwise(pages))
    assert all(page.start < page.end for page in pages)
    for page in pages:
        assert (page.candles.open_time >= page.start).all()
        assert (page.candles.open_time < page.end).all()
    assert len(rows(pages)) > 100


def test_asking_in_pieces_equals_asking_at_once(case: Case) -> None:
    edges = [
        case.start,
        case.start + 300,
        case.start + 301,
        case.start + 60_000,
        case.start + 86_400,
        END,
    ]
    pieces = [page for left, right in pairwise(edges) for page in ask(case, left, right)]
    assert rows(pieces) == rows(ask(case, case.start, END))


def test_asking_again_gives_the_same(case: Case) -> None:
    assert rows(ask(case, case.start, case.start + 86_400)) == rows(
        ask(case, case.start, case.start + 86_400)
    )


def test_an_empty_range_yields_no_row(case: Case) -> None:
    assert rows(ask(case, case.start, case.start)) == []
    assert rows(ask(case, case.start + 300, case.start)) == []


def test_a_range_between_two_candles_yields_no_row(case: Case) -> None:
    assert rows(ask(case, case.start + 3001, case.start + 3299)) == []


def test_it_says_whether_candles_come_late(case: Case) -> None:
    assert isinstance(case.source.publishes_late, bool)


def test_columns_are_arrays_of_one_length_and_type(case: Case) -> None:
    for page in ask(case, case.start, case.start + 86_400):
        assert page.candles.open_time.dtype == np.int64
        for column in prices(page.candles):
            assert column.dtype == np.float64
            assert len(column) == len(page.candles)


def test_it_may_be_closed_twice_and_used_again(case: Case) -> None:
    case.source.close()
    case.source.close()
    assert rows(ask(case, case.start, case.start + 86_400))


def test_an_unknown_symbol_is_a_setting_to_mend(case: Case) -> None:
    unknown = Market(case.market.source, "NOPE", case.market.quote, "5m")
    with pytest.raises(ConfigError) as caught:
        list(case.source.pages(unknown, case.start, END))
    assert (caught.value.code, caught.value.exit_code) == ("config.symbol", 2)
    assert caught.value.hint


def test_it_says_what_a_call_brings_and_costs(case: Case) -> None:
    assert isinstance(case.source.metered, bool)
    assert isinstance(case.source.bars_a_call, int)
    assert case.source.bars_a_call > 0
    back = case.source.bars_back
    assert back is None or (isinstance(back, int) and back > 0)


def test_markets_may_be_asked_for_from_many_threads_at_once(case: Case) -> None:
    def answer(market: Market) -> list[tuple[Any, ...]]:
        return rows(list(case.source.pages(market, case.start, END)))

    with ThreadPoolExecutor(len(case.markets)) as threads:
        together = list(threads.map(answer, case.markets))
    assert together == [answer(market) for market in case.markets]
    assert len({repr(answer) for answer in together}) == len(case.markets)


def test_an_unknown_source_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(Setup(SourceSettings(name="bitvavoo"), [], Secrets({}), clock=CLOCK))
    assert caught.value.message == "there is no source 'bitvavoo'"
    assert caught.value.hint.startswith("did you mean 'bitvavo'? known: binance, bitvavo, ")


@pytest.mark.parametrize(
    ("symbols", "key", "name", "why"),
    [
        (["BTC/USD"], "k", "coincap", "COINCAP_API_KEY is set and every market is quoted in USD"),
        (["BTC/USD"], None, "bitvavo", "bitvavo needs no key, and COINCAP_API_KEY is not set"),
        (
            ["BTC/USD", "BTC/EUR"],
            "k",
            "bitvavo",
            "COINCAP_API_KEY is set, but coincap quotes only USD, not BTC/EUR",
        ),
    ],
)
def test_auto_is_settled_and_says_why(
    symbols: list[str], key: str | None, name: str, why: str
) -> None:
    markets = [Market.of(symbol, "auto", "5m") for symbol in symbols]
    secrets = Secrets({} if key is None else {"COINCAP_API_KEY": key})
    assert resolve_auto(SourceSettings(), markets, secrets) == (name, why)
