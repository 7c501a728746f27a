"""What every candle source promises. A new file in `sources/` needs one more case for it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cryptocast import plugins
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError
from cryptocast.sources import Setup, open_source, resolve_auto
from cryptocast.testing import check_source
from cryptocast.testing.sources import rows
from cryptocast.values import Market
from support.source_cases import CASES, CLOCK, END, Case


@pytest.fixture(params=plugins.built_in(plugins.SOURCES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param not in CASES:
        pytest.fail(
            f"the source '{request.param}' has no contract case: add it to CASES in "
            "tests/support/source_cases.py"
        )
    with CASES[request.param](tmp_path) as case:
        yield case
        case.source.close()


def test_a_source_keeps_what_packages_must_promise_too(case: Case) -> None:
    check_source(case.source, case.market, case.start, END)


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
