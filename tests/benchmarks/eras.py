"""Recorded candles by era, and the two random walks to beat there: for the benchmarks.

W7 is the product's random walk: anyone can run it. H knows in hindsight which of 13 decays is
best for each step of each series, and its quantiles over all of it: no forecaster could run it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryptocast import dataset
from cryptocast.candles import aggregate, normalise
from cryptocast.compute.scoring import WALK, YARDSTICK_BARS, baseline
from cryptocast.config import Settings
from cryptocast.dataset import Bars, Part
from cryptocast.dataset.averages import MEMORY_BARS, SIGMA_FLOOR, average, moves
from cryptocast.dataset.windows import usable
from cryptocast.models import _quantiles
from cryptocast.sources.file import recordings
from cryptocast.values import FloatArray, IntArray, Market, Recording

DECAYS = (0.7, 0.8, 0.86, 0.9, 0.92, 0.94, 0.955, 0.97, 0.98, 0.985, 0.99, 0.993, 0.9965)
LEVELS = Settings().model.levels
HORIZON = Settings().model.horizon
STALE = Settings().loop.max_stale_bars
TAUGHT_LOOKBACK = 4  # as pretrain has it
LOOKBACK = 64
"""What an origin that is scored has before it, for networks that read a window."""

EVERY = 5
"""Of the origins so many are one that is scored: 5 and the 12 bars of an hour share no factor."""

_LEAST_DAYS = 30
_BATCH = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One series of T bars; row t is the origin at which bar t closes."""

    file: str
    era: str
    bars: Bars
    features: NDArray[np.float32]  # [T, F]
    sigma: FloatArray  # [T]

    @property
    def name(self) -> str:
        """Venue, pair and era."""
        return f"{self.file.split('_')[0]} {self.bars.market.symbol} {self.era}"

    @property
    def unit(self) -> FloatArray:
        """[T, H] what targets are measured in."""
        return np.asarray(self.sigma[:, None] * np.sqrt(np.arange(1, HORIZON + 1)))

    def targets(self, rows: IntArray) -> FloatArray:
        """[N, H] standardised, of some rows; NaN where no candle is."""
        moves = dataset.log_returns(self.bars, rows + 1, HORIZON, len(self.bars))
        return np.asarray(moves / self.unit[rows])

    def taught(self) -> IntArray:
        """[N] the rows that `pretrain` learns from."""
        at = np.arange(TAUGHT_LOOKBACK, len(self.bars))
        return np.asarray(at[usable(self.bars, at, TAUGHT_LOOKBACK, STALE)] - 1)

    def judged(self, every: int) -> IntArray:
        """[N] the rows that are scored: those with a whole memory before them, but the profile."""
        at = np.arange(MEMORY_BARS + LOOKBACK, len(self.bars))
        return np.asarray(at[usable(self.bars, at, LOOKBACK, STALE)][::every] - 1)

    def moves(self) -> tuple[FloatArray, FloatArray]:
        """[T] log-returns of a bar, and whether they tell of its volatility."""
        return moves(self.bars)

    def widths(self) -> FloatArray:
        """[decays, T] log of each walk's volatility over sigma."""
        per_bar, told = self.moves()
        variance = average(per_bar**2, np.stack([told] * len(DECAYS)), np.array(DECAYS))
        return np.asarray(np.log(np.sqrt(np.maximum(variance, SIGMA_FLOOR**2)) / self.sigma))


Forecast = Callable[[IntArray], FloatArray]
"""Quantiles [N, H, Q] of a track's rows, in units of sigma * sqrt(step)."""

Learned = Callable[[Track, Sequence[Track]], Forecast]
"""What was learned, for a track; beside it all tracks of its era."""


def read(folder: Path, interval: str) -> list[Track]:
    """Every file of a folder that holds a month."""
    found = recordings([str(folder / "*.parquet")], {})
    tracks = (laid_out(each, interval) for each in found)
    return [track for track in tracks if track is not None]


def laid_out(found: Recording, interval: str) -> Track | None:
    """One file on the grid of an interval, or None if it holds less than a month."""
    market = Market.of(found.market.symbol, "file", interval)
    seconds = market.interval_seconds
    candles = normalise(found.candles, found.market, now=time.time()).candles
    if seconds != found.market.interval_seconds:
        candles = aggregate(candles, found.market.interval_seconds, seconds)
    first, end = int(candles.open_time[0]), int(candles.open_time[-1]) + seconds
    if end - first < _LEAST_DAYS * 86_400:
        return None
    bars = dataset.lay_out(candles, market, first, end)
    made = dataset.compute(bars)
    values = made.values.astype(np.float32)
    return Track(found.file.name, era(first, end), bars, values, made.sigma)


def era(first: int, end: int) -> str:
    """The years of a span of time: `2024`, `2020-21`."""
    years = [datetime.fromtimestamp(moment, UTC).year for moment in (first, end - 1)]
    return str(years[0]) if years[0] == years[1] else f"{years[0]}-{years[1] % 100}"


@dataclass(frozen=True, slots=True, eq=False)
class Hindsight:
    """H: of a track, the decay that was best for each step, and its quantiles over all of it."""

    decay: IntArray  # [H] places in `DECAYS`
    quantiles: FloatArray  # [H, Q] in units of that decay's volatility * sqrt(step)

    @classmethod
    def of(cls, track: Track, rows: IntArray) -> Hindsight:
        """Choose by the CRPS on these rows, of which all outcomes are known."""
        targets, unit = track.targets(rows), track.unit[rows]
        found = []
        for width in np.exp(track.widths()[:, rows, None]):
            quantiles = _quantiles.symmetric(targets / width, LEVELS)
            loss = _quantiles.crps(quantiles, targets / width, LEVELS) * width * unit
            found.append((np.nanmean(loss, axis=0), quantiles))
        decay = np.argmin([loss for loss, _ in found], axis=0)
        return cls(decay, np.stack([found[d][1][step] for step, d in enumerate(decay)]))

    def forecast(self, track: Track) -> Forecast:
        """Its quantiles of the rows of the track that it was chosen on."""
        width = np.exp(track.widths()[self.decay]).T
        return lambda rows: self.quantiles * width[rows][..., None]


def yardstick(track: Track, rows: IntArray) -> FloatArray:
    """[N, H] CRPS in log-return of W7, the product's random walk; NaN in the first week."""
    seconds = track.bars.market.interval_seconds
    windows = dataset.cut(
        track.bars,
        Part(track.bars.first, track.bars.first + len(track.bars) * seconds),
        lookback=1,
        horizon=HORIZON,
        max_stale_bars=STALE,
    )
    cut = int(np.searchsorted(windows.origin, track.bars.first + seconds * YARDSTICK_BARS))
    before, after = windows.take(slice(0, cut)), windows.take(slice(cut, None))
    walk = baseline(WALK, before, after, LEVELS, seconds).quantiles
    place = {int(origin): row for row, origin in enumerate(after.origin)}
    origins = (track.bars.open_time[rows] + seconds).tolist()
    known = np.array([place.get(origin, -1) for origin in origins])
    losses = np.full((len(rows), HORIZON), np.nan)
    there = known >= 0
    losses[there] = crps(walk[known[there]], after.targets[known[there]])
    return losses


def crps(quantiles: FloatArray, targets: FloatArray) -> FloatArray:
    """[N, H] of quantiles [N, H, Q], in the unit of the targets; NaN where one is."""
    total = np.zeros_like(targets)
    for place, level in enumerate(LEVELS):
        error = targets - quantiles[..., place]
        total += np.maximum(level * error, (level - 1) * error)
    return np.asarray(2 * total / len(LEVELS))


def batches(rows: IntArray) -> Iterator[IntArray]:
    """The rows, some thousand at a time."""
    yield from (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))
