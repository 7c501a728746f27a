"""Ticks in this process, on a virtual clock, in a workspace that holds candles beyond AS_OF.

Moments are bars after AS_OF: production has learned from nothing later.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast.clock import VirtualClock
from cryptocast.store import Store
from cryptocast.values import Candles, Deployment, Market
from cryptocast.workflows.forecast import tick
from cryptocast.workflows.serving.tick import TickReport
from cryptocast.workspace import Workspace
from support import engines
from support.commands import BARS, INTERVAL, LATER_BARS, NOW, candles, query

SYMBOLS = ("BTC/EUR", "ETH/EUR", "SOL/EUR")
MARKETS = tuple(Market.of(symbol, "file", "5m") for symbol in SYMBOLS)
BTC = MARKETS[0]

_made: dict[str, Path] = {}


@pytest.fixture(scope="session")
def stocked(forced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Candles of three markets to `LATER_BARS` after AS_OF; deployed before the first of them.

    The LSTM (version 2) is production, the random walk (version 1) the one before. Not to be
    written to: copy it.
    """
    if "stocked" not in _made:
        folder = Path(shutil.copytree(forced, tmp_path_factory.mktemp("stocked") / "w"))
        with Store(folder / "cryptocast.duckdb", 60).write() as writer:
            for market in MARKETS:
                rows = candles(market.symbol).take(slice(BARS + LATER_BARS))
                writer.put_candles(market, rows, provenance="live", fetched_at=NOW)
        change(folder, 'UPDATE deployments SET written_at = "at"')
        _made["stocked"] = folder
    return _made["stocked"]


@pytest.fixture
def w(stocked: Path, tmp_path: Path) -> Path:
    """A copy of the stocked workspace."""
    return Path(shutil.copytree(stocked, tmp_path / "w"))


def origin(bar: int) -> int:
    """The origin so many bars after AS_OF."""
    return NOW + bar * INTERVAL


@contextmanager
def at(folder: Path, bar: float = 1, **settings: Any) -> Iterator[Workspace]:
    """The workspace on a clock that stands at a bar; settings as `loop__late_seconds=1`."""
    options = {name.replace("__", "."): value for name, value in settings.items()}
    clock = VirtualClock(NOW + bar * INTERVAL)
    with Workspace.open(folder, environ={}, options=options, clock=clock) as ws:
        yield ws


def ticked(folder: Path, *bars: float, fetch: bool = False, **settings: Any) -> TickReport:
    """One tick after the other in one process; the last one's report."""
    with at(folder, bars[0], **settings) as ws:
        for bar in bars:
            ws.clock = VirtualClock(NOW + bar * INTERVAL)
            report = tick(ws, fetch=fetch)
    return report


def change(folder: Path, sql: str) -> None:
    """Change a workspace's database as no command does."""
    with engines.opened(folder / "cryptocast.duckdb", read_only=False) as connection:
        connection.execute(sql)


def deploy(folder: Path, version: str, previous: str | None, bar: float = 0) -> None:
    """A deployment whose row was written at a bar."""
    with Store(folder / "cryptocast.duckdb", 60).write() as writer:
        writer.put_deployment(
            Deployment(0, NOW, "*", version, previous, "promote", "x", "{}"),
            written_at=NOW + bar * INTERVAL,
        )


def drop(folder: Path, bars: Iterable[int], market: Market = BTC) -> None:
    """Remove the candles that open at these bars."""
    moments = ", ".join(str(origin(bar)) for bar in bars)
    change(
        folder,
        f"DELETE FROM candles WHERE market = '{market.id}' AND epoch(open_time) IN ({moments})",
    )


def redenominate(folder: Path, bar: int, factor: float, market: Market = BTC) -> None:
    """Prices times a factor in every candle that opens at or after a bar."""
    change(
        folder,
        f"UPDATE candles SET open = open * {factor}, high = high * {factor}, low = low * {factor},"
        f" close = close * {factor}, volume = volume / {factor}"
        f" WHERE market = '{market.id}' AND epoch(open_time) >= {origin(bar)}",
    )


def spoil_from(folder: Path, bar: int) -> None:
    """Other prices in every candle that opens at or after a bar."""
    change(
        folder,
        "UPDATE candles SET open = 7, high = 9 + epoch(open_time)::BIGINT % 5, low = 6,"
        f" close = 6.5 + epoch(open_time)::BIGINT % 3, volume = 1"
        f" WHERE epoch(open_time) >= {origin(bar)}",
    )


def sets(folder: Path, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    """Columns of the sets in their order; `bar` is the origin in bars after AS_OF."""
    return query(
        folder,
        f"SELECT {columns} FROM (SELECT *, ((epoch(origin) - {NOW}) / {INTERVAL})::INTEGER AS bar"
        f" FROM forecast_sets) WHERE {where} ORDER BY market, bar, model_version",
    )


def tick_rows(folder: Path, columns: str = "bar, status") -> list[tuple[Any, ...]]:
    """Columns of the ticks in the order they were written."""
    return query(
        folder,
        f"SELECT {columns} FROM (SELECT *, rowid AS n,"
        f" ((epoch(origin) - {NOW}) / {INTERVAL})::INTEGER AS bar FROM ticks) ORDER BY n",
    )


def stored(folder: Path, market: Market = BTC) -> Candles:
    """All candles of a market."""
    with Store(folder / "cryptocast.duckdb", 60).read() as reader:
        return reader.candles([market], 0, 2 * NOW)[market]


def quantiles_of(report: TickReport) -> np.ndarray:
    """[M, H, Q] of all sets."""
    return np.stack([made.quantiles for made in report.forecasts])
