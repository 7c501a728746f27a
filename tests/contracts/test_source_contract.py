"""What every candle source promises. A new file in `sources/` needs one more case here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast import plugins
from cryptocast.clock import VirtualClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError
from cryptocast.seams import CandleSource
from cryptocast.sources import PACKAGE, open_source, resolve_auto
from cryptocast.values import Candles, Market, Page, parse_time
from loopback import KEY, Loopback

START = parse_time("2024-06-01")
BARS = 3100
END = START + BARS * 300
CLOCK = VirtualClock(END)


@dataclass(frozen=True)
class Case:
    """A source at work: over the bars from START to END, of which some are missing."""

    source: CandleSource
    market: Market


Make = Callable[[Path], AbstractContextManager[Case]]


def recorded() -> Candles:
    """Candles with gaps, so that no source can get by with counting rows."""
    number = np.delete(np.arange(BARS), [0, 7, 8, 9, 1439, 1440, 2000])
    price = 100 + np.sin(number)
    return Candles.of(START + 300 * number, price, price + 2, price - 2, price, number + 1.0)


def opened(name: str, symbol: str, settings: dict[str, Any], key: str | None = None) -> Case:
    market = Market.of(symbol, name, "5m")
    secrets = Secrets({} if key is None else {"COINCAP_API_KEY": key})
    source = open_source(
        name, SourceSettings(name=name, **settings), [market], secrets, clock=CLOCK
    )
    assert source.name == name
    return Case(source, market)


@contextmanager
def a_file(folder: Path) -> Iterator[Case]:
    c = recorded()
    lines = ["ts,open,high,low,close,volume"]
    for row in zip(c.open_time.tolist(), *(a.tolist() for a in prices(c)), strict=True):
        lines.append(",".join(map(repr, row)))
    (folder / "BTC-EUR.csv").write_text("\n".join(lines), encoding="utf-8")
    yield opened("file", "BTC/EUR", {"path": str(folder)})


@contextmanager
def a_simulation(folder: Path) -> Iterator[Case]:
    yield opened("sim", "BTC/EUR", {"seed": 3})


def over_http(name: str, symbol: str, key: str | None = None) -> Make:
    @contextmanager
    def make(folder: Path) -> Iterator[Case]:
        with Loopback({symbol: recorded()}) as server:
            yield opened(name, symbol, {"base_url": server.base_url(name)}, key)

    return make


CASES: dict[str, Make] = {
    "bitvavo": over_http("bitvavo", "BTC/EUR"),
    "coincap": over_http("coincap", "BTC/USD", KEY),
    "file": a_file,
    "sim": a_simulation,
}


@pytest.fixture(params=plugins.names(PACKAGE))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param not in CASES:
        pytest.fail(
            f"the source '{request.param}' has no contract case: add it to CASES in "
            "tests/contracts/test_source_contract.py"
        )
    with CASES[request.param](tmp_path) as case:
        yield case
        case.source.close()


def prices(candles: Candles) -> tuple[np.ndarray[Any, Any], ...]:
    return (candles.open, candles.high, candles.low, candles.close, candles.volume)


def ask(case: Case, start: int, end: int) -> list[Page]:
    return list(case.source.pages(case.market, start, end))


def rows(pages: Sequence[Page]) -> list[tuple[Any, ...]]:
    """Every row of all pages, NaN as text so that rows can be compared."""
    candles = Candles.concatenate([page.candles for page in pages])
    columns = [candles.open_time.tolist(), *([repr(p) for p in a] for a in prices(candles))]
    return list(zip(*columns, strict=True))


def test_pages_cover_the_range_oldest_first_without_overlap(case: Case) -> None:
    pages = ask(case, START, END)
    assert pages[0].start == START
    assert pages[-1].end == END
    assert all(left.end == right.start for left, right in pairwise(pages))
    assert all(page.start < page.end for page in pages)
    for page in pages:
        assert (page.candles.open_time >= page.start).all()
        assert (page.candles.open_time < page.end).all()
    assert len(rows(pages)) > 100


def test_asking_in_pieces_equals_asking_at_once(case: Case) -> None:
    edges = [START, START + 300, START + 301, START + 60_000, START + 86_400, END]
    pieces = [page for left, right in pairwise(edges) for page in ask(case, left, right)]
    assert rows(pieces) == rows(ask(case, START, END))


def test_asking_again_gives_the_same(case: Case) -> None:
    assert rows(ask(case, START, START + 86_400)) == rows(ask(case, START, START + 86_400))


def test_an_empty_range_yields_no_row(case: Case) -> None:
    assert rows(ask(case, START, START)) == []
    assert rows(ask(case, START + 300, START)) == []


def test_a_range_between_two_candles_yields_no_row(case: Case) -> None:
    assert rows(ask(case, START + 3001, START + 3299)) == []


def test_it_says_whether_candles_come_late(case: Case) -> None:
    assert isinstance(case.source.publishes_late, bool)


def test_columns_are_arrays_of_one_length_and_type(case: Case) -> None:
    for page in ask(case, START, START + 86_400):
        assert page.candles.open_time.dtype == np.int64
        for column in prices(page.candles):
            assert column.dtype == np.float64
            assert len(column) == len(page.candles)


def test_it_may_be_closed_twice_and_used_again(case: Case) -> None:
    case.source.close()
    case.source.close()
    assert rows(ask(case, START, START + 86_400))


def test_an_unknown_symbol_is_a_setting_to_mend(case: Case) -> None:
    unknown = Market(case.market.source, "NOPE", case.market.quote, "5m")
    with pytest.raises(ConfigError) as caught:
        list(case.source.pages(unknown, START, END))
    assert (caught.value.code, caught.value.exit_code) == ("config.symbol", 2)
    assert caught.value.hint


def test_an_unknown_source_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        open_source("bitvavoo", SourceSettings(), [], Secrets({}), clock=CLOCK)
    assert caught.value.message == "there is no source 'bitvavoo'"
    assert caught.value.hint.startswith("did you mean 'bitvavo'? known: bitvavo, coincap")


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
