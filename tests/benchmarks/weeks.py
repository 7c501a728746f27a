"""Weeks of simulated candles: as a file for a workspace, and split as `[data]` has it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from cryptocast import dataset
from cryptocast.config import Settings
from cryptocast.dataset import Bars, Part, Split
from cryptocast.sources.sim import simulate
from cryptocast.values import DAY_SECONDS, Candles, FloatArray, Market, Windows, parse_time

SEED = 0
NEWEST = parse_time("2024-06-08") // DAY_SECONDS  # the day after the newest week
SYMBOLS = ("BTC/EUR", "ETH/EUR", "SOL/EUR", "XRP/EUR")


def candles(symbol: str, days: range) -> tuple[Market, Candles]:
    """Five-minute candles of whole days (Unix day numbers)."""
    market = Market.of(symbol, "sim", "5m")
    return market, simulate(SEED, market, np.array(days))


class Week:
    """2,016 bars of one market with the windows of each part; another market and week a number."""

    def __init__(self, number: int) -> None:
        self.settings = Settings()
        last = NEWEST - 14 * number
        self.market, self.candles = candles(SYMBOLS[number % len(SYMBOLS)], range(last - 7, last))
        self.start, self.end = (last - 7) * DAY_SECONDS, last * DAY_SECONDS

    @property
    def split(self) -> Split:
        """The default split."""
        data = self.settings.data
        return dataset.plan(
            self.start,
            self.end,
            self.market.interval_seconds,
            test_bars=data.test_bars,
            gate_bars=data.gate_bars,
            validation_bars=data.validation_bars,
        )

    def bars(self) -> Bars:
        """The candles on their grid."""
        return dataset.lay_out(self.candles, self.market, self.start, self.end)

    def windows(self, bars: Bars, part: Part) -> Windows:
        """The windows of a part, by the default settings."""
        model, loop = self.settings.model, self.settings.loop
        return dataset.cut(
            bars,
            part,
            lookback=model.lookback,
            horizon=model.horizon,
            max_stale_bars=loop.max_stale_bars,
        )

    def save(self, file: Path) -> None:
        """What the peer needs: the series, where training ends, and the origins to answer."""
        bars = self.bars()
        judged = self.judged(bars)
        np.savez(
            file,
            log_close=bars.log_close,
            train_bars=self.split.train.bars(self.market.interval_seconds),
            at=(judged.origin - bars.first) // self.market.interval_seconds,
            levels=self.settings.model.levels,
        )

    def judged(self, bars: Bars) -> Windows:
        """The windows of validation, then those of the gate and the test: no model saw them."""
        parts = (self.split.validation, self.split.judged)
        return Windows.concatenate([self.windows(bars, part) for part in parts])

    def means(self, losses: FloatArray) -> tuple[float, float]:
        """The mean of [N, H] losses of `judged` over validation, and over gate and test."""
        cut = len(self.windows(self.bars(), self.split.validation).origin)
        return float(np.nanmean(losses[:cut])), float(np.nanmean(losses[cut:]))


def write(file: Path, days: int = 7) -> None:
    """The newest days and eight that follow them, as a Parquet file of the source `file`."""
    _, made = candles(SYMBOLS[0], range(NEWEST - days, NEWEST + 8))
    columns = {name: getattr(made, name) for name in ("open", "high", "low", "close", "volume")}
    time = pl.from_epoch(pl.Series("open_time", made.open_time)).dt.replace_time_zone("UTC")
    pl.DataFrame({"open_time": time, **columns}).write_parquet(file)


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:]))
