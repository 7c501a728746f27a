"""A store in a fresh folder, things to put into it, and the eyes of an outside user."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast.store import Store
from cryptocast.values import Candles, ForecastSet, Market, ServedModel
from support import engines
from support.commands import start_loaded
from support.engines import _kept_engines  # noqa: F401 - fixtures work where their names are

START = 1_717_372_800  # 2024-06-03T00:00:00Z
LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))


@pytest.fixture(scope="session")
def market() -> Market:
    return Market("bitvavo", "BTC", "EUR", "5m")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cryptocast.duckdb", wait_seconds=60)


@pytest.fixture
def query(store: Store) -> Callable[..., list[tuple[Any, ...]]]:
    """Ask the file as somebody with plain DuckDB would."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with engines.opened(store.path, read_only=False) as connection:
            return connection.execute(sql).fetchall()

    return ask


@pytest.fixture(scope="session")
def make_candles() -> Callable[..., Candles]:
    """Candles of five minutes at the given bars after START; the price follows from the bar."""

    def make(bars: range | list[int], *, shift: float = 0.0, volume: float = 1.0) -> Candles:
        index = np.array(list(bars), dtype=np.int64)
        price = 100 + 10 * np.sin(index / 7) + shift
        return Candles.of(
            START + 300 * index,
            price,
            price + 1,
            price - 1,
            price + 0.5,
            np.full(len(index), volume),
        )

    return make


@pytest.fixture(scope="session")
def make_set(market: Market) -> Callable[..., ForecastSet]:
    """A set of forecasts for the origin `bar` bars after START."""

    def make(
        bar: int,
        version: str = "1",
        *,
        mode: str = "live",
        fallback: str | None = None,
        levels: tuple[float, ...] = LEVELS,
        horizon: int = 3,
        last_close: float = 100.0,
        market: Market = market,
    ) -> ForecastSet:
        spread = np.outer(np.sqrt(np.arange(1, horizon + 1)), np.array(levels) - 0.5)
        origin = START + 300 * bar
        return ForecastSet(
            market=market,
            origin=origin,
            issued_at=origin + 12.345678,
            last_close=last_close,
            stale_bars=2,
            mode=mode,
            model=ServedModel(version, "lstm", fallback),
            levels=levels,
            quantiles=last_close + 0.01 * bar + 20 * spread,
        )

    return make


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python in another process on a script; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        process = start_loaded(*arguments, script=script)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
