"""A workspace with a past: more candles and served sets than a flush keeps, up to AS_OF.

Its forecasts are of two steps and three levels, so that weeks of them are quickly made; the
environment `SMALL` is the configuration that they belong to.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from cryptocast.sources import sim
from cryptocast.store import Store, Tick
from cryptocast.values import Candles, ForecastSet, Market, ServedModel
from support.commands import BARS, BTC, INTERVAL, NOW, query

SMALL = {
    "CRYPTOCAST_MODEL__HORIZON": "2",
    "CRYPTOCAST_MODEL__LEVELS": "[0.25, 0.5, 0.75]",
    "CRYPTOCAST_MODEL__KIND": "random_walk",
}
DAYS = 20
CONTEXT_BARS = 12 + 1024 + 63
KEPT_BARS = 2016 + 2 + 2016 + CONTEXT_BARS
"""The monitor's week with a horizon, the baseline's 7 days before, and what features look at."""
GONE = DAYS * 288 - KEPT_BARS
SETS_FROM = NOW - 19 * 86_400
SETS_GONE = GONE - 288

COLUMNS = {
    "candles": "market, epoch_us(open_time), open, high, low, close, volume, provenance,"
    " epoch_us(fetched_at)",
    "forecast_sets": "market, epoch_us(origin), interval_seconds, model_version, model_kind,"
    " quantiles, last_close, stale_bars, scale, epoch_us(issued_at), epoch_us(written_at), mode,"
    " late, served, fallback, levels",
}
_SOURCES = {
    "candles": "candles",
    "forecast_sets": "forecast_sets JOIN level_sets ON level_sets.id = level_set",
}


def past() -> Candles:
    """What came before the candles of `commands.candles()`, back to DAYS before AS_OF."""
    first = (NOW - BARS * INTERVAL) // sim.DAY_SECONDS
    days = np.arange(NOW // sim.DAY_SECONDS - DAYS, first, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sim, "MISSING_SHARE", 0.0)
        return sim.simulate(0, Market.of("BTC/EUR", "sim", "5m"), days)


def a_set(origin: int, close: float, *, version: str = "2", market: Market = BTC) -> ForecastSet:
    quantiles = np.round(close * np.exp([[-6e-4, 0, 6e-4], [-9e-4, 0, 9e-4]]), 2)
    model = ServedModel(version, "lstm", None)
    levels = (0.25, 0.5, 0.75)
    return ForecastSet(market, origin, origin + 12.5, close, 0, "live", model, levels, quantiles)


def age(workspace: Path, folder: Path) -> Path:
    """A copy of a workspace of `init` with DAYS of candles and 19 days of sets and ticks."""
    shutil.copytree(workspace, folder)
    with Store(folder / "cryptocast.duckdb", 60).write() as writer:
        writer.put_candles(BTC, past(), provenance="backfill", fetched_at=NOW)
        stored = writer.candles([BTC], SETS_FROM - INTERVAL, NOW)[BTC]
        closed = zip((stored.open_time + INTERVAL).tolist(), stored.close.tolist(), strict=True)
        sets = [a_set(origin, close) for origin, close in closed if origin < NOW]
        writer.ledger.put_sets(sets, served=True)
        writer.ledger.put_ticks(
            Tick(BTC.id, s.origin, s.origin + 10, s.origin + 13, "ok") for s in sets
        )
    return folder


def archives(folder: Path) -> list[Path]:
    """The archives of a workspace, oldest first; nothing else lies beside them."""
    return sorted((folder / "archive").iterdir())


def in_database(folder: Path, table: str) -> set[str]:
    """Every row of a table as text."""
    rows = query(folder, f"SELECT {COLUMNS[table]} FROM {_SOURCES[table]}")
    return {repr(row) for row in rows}


def in_archive(archive: Path, table: str) -> set[str]:
    """Every row of one archived table as text; polars can read it too."""
    file = archive / f"{table}.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows: list[tuple[Any, ...]] = connection.execute(
            f"SELECT {COLUMNS[table]} FROM '{file}'"
        ).fetchall()
    assert pl.read_parquet(file).height == len(rows)
    return {repr(row) for row in rows}
