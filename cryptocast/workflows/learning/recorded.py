"""A recorded series on its grid, as `pretrain` learns from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryptocast import dataset
from cryptocast.candles import aggregate, normalise
from cryptocast.config import Settings
from cryptocast.dataset import Bars, Part
from cryptocast.errors import ConfigError
from cryptocast.models import Series
from cryptocast.sources import Recording
from cryptocast.values import Market, Windows

LOOKBACK = 4
"""The bars that a base network needs to be there, at most one of them missing: it reads the newest
alone, whose features hold the memory."""

LEAST_BARS = 576
"""Of shorter series nothing is learned."""


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One series on its grid."""

    file: Path
    name: str  # in reports
    market: Market
    bars: Bars
    fingerprint: str

    @classmethod
    def of(cls, found: Recording, settings: Settings, now: float) -> Recorded | None:
        """A file's closed candles in our interval; None where they are fewer than `LEAST_BARS`."""
        market = Market.of(found.market.symbol, "file", settings.market.interval)
        finer, ours = found.market.interval_seconds, market.interval_seconds
        if ours % finer:
            raise ConfigError(
                f"{found.file.name} holds candles of {found.market.interval}: "
                f"none of {market.interval} can be made of them",
                code="config.interval",
                hint="set [market] interval to theirs, or leave the file out",
            )
        candles = normalise(found.candles, found.market, now=now).candles
        if finer != ours:
            candles = aggregate(candles, finer, ours)
        if len(candles) < LEAST_BARS:
            return None
        first, last = int(candles.open_time[0]), int(candles.open_time[-1])
        bars = dataset.lay_out(candles, market, first, last + ours)
        return cls(found.file, found.file.name, market, bars, candles.fingerprint())

    @property
    def start(self) -> int:
        """Open time of the first bar."""
        return self.bars.first

    @property
    def end(self) -> int:
        """Where the last bar ends."""
        return self.bars.first + len(self.bars) * self.market.interval_seconds

    def windows(self, settings: Settings, start: int, end: int) -> Windows:
        """The windows of the origins in `[start, end)`, their targets purged at its end."""
        return dataset.cut(
            self.bars,
            Part(start, max(start, end)),
            lookback=LOOKBACK,
            horizon=settings.model.horizon,
            max_stale_bars=settings.loop.max_stale_bars,
        )

    def series(self, settings: Settings, start: int, end: int) -> Series:
        """What the network learns from in `[start, end)`: the newest bars alone, no windows."""
        windows = self.windows(settings, start, end)
        return Series(
            windows.inputs[:, -1].astype(np.float32), windows.standardised.astype(np.float32)
        )
