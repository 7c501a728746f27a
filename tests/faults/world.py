"""A bare workspace with one market at a loopback server, whose pages are of a few bars.

It holds the first `EARLIER` of `BARS` bars; what a fetch brings besides comes in three pages
(Kraken's in one), so that a fault in the second shows what becomes of the others.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cryptocast import workspace
from cryptocast.clock import VirtualClock
from cryptocast.sources import Setup, binance, bitvavo, coinbase, coincap
from cryptocast.sources._pace import Pace, Patience
from cryptocast.store import Store
from cryptocast.values import Candles, Market, iso
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.serving.fetching import MarketFetch
from cryptocast.workspace import Workspace
from support.commands import AS_OF, INTERVAL, NOW, Done, run
from support.commands import candles as simulated
from support.loopback import KEY, Loopback
from support.patience import PATIENT, leap_at_a_drip

BARS = 48
EARLIER = 12
CALL = 13  # 36 bars and an overlap of 3 are three calls
OVERLAP = 3
START = NOW - BARS * INTERVAL
SOURCES = ("binance", "bitvavo", "coinbase", "coincap", "kraken")


Row = tuple[float, ...]
Table = dict[int, Row]  # open time -> open, high, low, close


@dataclass
class World:
    """One source of one market, its server, and a workspace."""

    source: str
    folder: Path
    server: Loopback
    patch: pytest.MonkeyPatch
    store: Store  # of that workspace: one DuckDB for all looks at it, the commands' too

    @property
    def symbol(self) -> str:
        return symbol_of(self.source)

    @property
    def pages(self) -> int:
        """How many calls bring what is missing."""
        return 1 if self.source == "kraken" else 3

    @property
    def truth(self) -> Table:
        """The closed candles that the server has."""
        c = self.server.candles[self.symbol]
        return {t: row for t, row in table(c).items() if START <= t < NOW}

    def page(self, number: int) -> Table:
        """The closed candles of one of the calls, counted from 1."""
        first = START + (EARLIER - OVERLAP) * INTERVAL
        start, end = first, NOW
        if self.source != "kraken":
            start = first + (number - 1) * CALL * INTERVAL
            end = min(start + CALL * INTERVAL, NOW)
        return {t: row for t, row in self.truth.items() if start <= t < end}

    def stored(self) -> Table:
        """What the workspace's database holds of the market."""
        with self.store.read() as reader:
            market = Market.of(self.symbol, self.source, "5m")
            return table(reader.candles([market], 0, NOW * 2)[market])

    def point(self, base_url: str | None = None) -> None:
        """Have the commands ask this server, or another address."""
        url = base_url or self.server.base_url(self.source)
        self.patch.setenv("CRYPTOCAST_SOURCE__NAME", self.source)
        self.patch.setenv("CRYPTOCAST_SOURCE__BASE_URL", url)
        self.patch.setenv("CRYPTOCAST_MARKET__SYMBOLS", f'["{self.symbol}"]')
        self.patch.setenv("COINCAP_API_KEY", KEY)

    def patience(self, patience: Patience) -> None:
        """How patient the source is from now on."""
        self.patch.setitem(Setup.__init__.__kwdefaults__, "patience", patience)

    def fetch_again(self) -> MarketFetch:
        """The same without the command around it, which takes as long again."""
        self.server.requests.clear()
        with Workspace.open(self.folder, clock=VirtualClock(NOW)) as ws:
            (market,) = fetch(ws, start=START).markets
        return market

    def fetch(self, *options: str, as_of: str | None = AS_OF) -> Done:
        """Fetch all bars, with nothing on the lists of requests before."""
        self.server.requests.clear()
        moment = () if as_of is None else ("--as-of", as_of)
        return run("fetch", "-w", self.folder, *moment, "--start", iso(START), "--json", *options)


@contextmanager
def world(source: str, folder: Path, store: Store | None = None) -> Iterator[World]:
    """A World of a workspace that is there."""
    with Loopback({symbol_of(source): series()}) as server, pytest.MonkeyPatch.context() as patch:
        used = store or Store(folder / "cryptocast.duckdb", 60)
        made = World(source, folder, server, patch, used)
        server.now = NOW + 100
        patch.setattr(workspace, "Store", lambda path, wait_seconds: used)
        patch.setattr(Pace, "wait", lambda pace, deadline: True)  # no second is to be lost
        leap_at_a_drip(patch, server)
        calls_of(CALL, patch)
        made.point()
        made.patience(PATIENT)
        yield made


@contextmanager
def copied(source: str, template: Path) -> Iterator[World]:
    """A World of a copy of a workspace; all copies lie in one place, one after the other."""
    store = _place()
    folder = store.path.parent
    shutil.rmtree(folder)
    shutil.copytree(template, folder)
    with world(source, folder, store) as made:
        yield made


@cache
def _place() -> Store:
    """The store of all copies: starting DuckDB for each would take longer than a fetch."""
    return Store(Path(tempfile.mkdtemp()) / "cryptocast.duckdb", 60)


def calls_of(bars: int, patch: pytest.MonkeyPatch) -> None:
    """Let a call bring so many bars: with few, a short series is of several pages."""
    for source in (binance.Source, bitvavo.Source, coinbase.Source, coincap.Source):
        patch.setattr(source, "bars_a_call", bars)


@cache
def with_no_bars() -> Path:
    """A workspace whose database is empty. Not to be written to: copy it."""
    folder = Path(tempfile.mkdtemp())
    (folder / "cryptocast.toml").write_text("", encoding="utf-8")
    with Store(folder / "cryptocast.duckdb", 60).read():
        return folder


@cache
def with_earlier_bars(source: str) -> Path:
    """A workspace that holds the first bars. Not to be written to: copy it."""
    folder = Path(tempfile.mkdtemp()) / "w"
    with copied(source, with_no_bars()) as made:
        done = made.fetch(as_of=iso(START + EARLIER * INTERVAL))
        assert done.code == 0, done.err
        return Path(shutil.copytree(made.folder, folder))


@cache
def series() -> Candles:
    """Some bars before the first that is asked for, and some after the newest closed one."""
    c = simulated()
    return c.take((c.open_time >= START - 10 * INTERVAL) & (c.open_time < NOW + 5 * INTERVAL))


def symbol_of(source: str) -> str:
    """The pair that a source has."""
    return "BTC/USD" if source == "coincap" else "BTC/EUR"


def table(c: Candles) -> Table:
    """Candles by their open time."""
    columns: tuple[Any, ...] = (c.open, c.high, c.low, c.close)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip(c.open_time.tolist(), rows, strict=True))
