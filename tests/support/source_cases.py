"""Every candle source at work, over the same bars: what the contract tests run on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast.clock import VirtualClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.seams import CandleSource
from cryptocast.sources import Setup, open_source
from cryptocast.sources._pace import Pace
from cryptocast.testing.sources import prices
from cryptocast.values import Candles, Market, Page, parse_time
from support.loopback import KEY, Loopback
from support.patience import PATIENT

START = parse_time("2024-06-01")
BARS = 3100
END = START + BARS * 300
CLOCK = VirtualClock(END)
# The first of the last 700 bars is among those missing, for a source that reaches no further.
MISSING = [0, 7, 8, 9, 1439, 1440, 2000, BARS - 700, BARS - 693, BARS - 692, BARS - 200]
BASES = ("BTC", "ETH", "SOL", "BNB", "XRP", "ADA", "DOGE", "AVAX")


@dataclass(frozen=True)
class Case:
    """A source at work: over the bars from `start` to END, of which some are missing."""

    source: CandleSource
    markets: list[Market]  # one a base
    server: Loopback | None = None  # of a source over HTTP
    start: int = START

    @property
    def market(self) -> Market:
        return self.markets[0]


Make = Callable[[Path], AbstractContextManager[Case]]


@cache
def recorded(base: str = BASES[0]) -> Candles:
    """Candles with gaps, so that no source can get by with counting rows."""
    number = np.delete(np.arange(BARS), MISSING)
    price = 100.0 * (1 + BASES.index(base)) + np.sin(number)
    return Candles.of(START + 300 * number, price, price + 2, price - 2, price, number + 1.0)


@cache
def as_csv(base: str) -> str:
    c = recorded(base)
    lines = ["ts,open,high,low,close,volume"]
    for row in zip(c.open_time.tolist(), *(a.tolist() for a in prices(c)), strict=True):
        lines.append(",".join(map(repr, row)))
    return "\n".join(lines)


def opened(
    name: str,
    quote: str,
    settings: dict[str, Any],
    key: str | None = None,
    server: Loopback | None = None,
    start: int = START,
) -> Case:
    markets = [Market.of(f"{base}/{quote}", name, "5m") for base in BASES]
    secrets = Secrets({} if key is None else {"COINCAP_API_KEY": key})
    source = open_source(
        Setup(
            SourceSettings(name=name, **settings),
            markets,
            secrets,
            clock=CLOCK,
            patience=PATIENT,
        )
    )
    assert source.name == name
    return Case(source, markets, server, start)


@contextmanager
def a_file(folder: Path) -> Iterator[Case]:
    for base in BASES:
        (folder / f"{base}-EUR.csv").write_text(as_csv(base), encoding="utf-8")
    yield opened("file", "EUR", {"path": str(folder)})


@contextmanager
def a_simulation(folder: Path) -> Iterator[Case]:
    yield opened("sim", "EUR", {"seed": 3})


def over_http(name: str, quote: str = "EUR", key: str | None = None, start: int = START) -> Make:
    @contextmanager
    def make(folder: Path) -> Iterator[Case]:
        with (
            Loopback({f"{base}/{quote}": recorded(base) for base in BASES}) as server,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(Pace, "wait", lambda pace, deadline: True)  # no second is to be lost
            yield opened(name, quote, {"base_url": server.base_url(name)}, key, server, start)

    return make


@contextmanager
def over_ccxt(folder: Path) -> Iterator[Case]:
    pytest.importorskip("ccxt", reason="the extra cryptocast[ccxt] is not installed")
    importlib.import_module("support.ccxt_dialects")  # puts its own into dialects.APIS
    name = "ccxt:bitvavo"
    with Loopback({f"{base}/EUR": recorded(base) for base in BASES}) as server:
        # Not from the first bar that is there: a page reaches back as far as an answer shows.
        start = START + 20 * 300
        case = opened(name, "EUR", {"base_url": server.base_url(name)}, None, server, start)
        yield case


OVER_HTTP: dict[str, Make] = {
    "binance": over_http("binance"),
    "bitvavo": over_http("bitvavo"),
    "coinbase": over_http("coinbase"),
    "coincap": over_http("coincap", "USD", KEY),
    "kraken": over_http("kraken", start=END - 700 * 300),  # it reaches no further
}
CASES: dict[str, Make] = {
    **OVER_HTTP,
    "ccxt": over_ccxt,
    "file": a_file,
    "sim": a_simulation,
}


def ask(case: Case, start: int, end: int) -> list[Page]:
    return list(case.source.pages(case.market, start, end))
