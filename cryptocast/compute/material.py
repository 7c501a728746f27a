"""The start of learning and judging: candles laid out and split, and the plan of a training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cryptocast import dataset, models
from cryptocast.dataset import Bars, Part, Split
from cryptocast.seams import ModelKind, Params
from cryptocast.values import Candles, Market, Windows

MOST_WINDOWS = 12_000
"""The most windows that several markets give: those of a hundred would take over a gigabyte."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The candles of one or several markets, as bars, with their split and how windows are cut."""

    markets: tuple[Market, ...]
    candles: tuple[Candles, ...]
    bars: tuple[Bars, ...]
    split: Split
    lookback: int
    horizon: int
    max_stale_bars: int

    @classmethod
    def of(
        cls,
        markets: Sequence[Market],
        candles: Sequence[Candles],
        split: Split,
        *,
        lookback: int,
        horizon: int,
        max_stale_bars: int,
    ) -> Material:
        """Lay the candles of each market on the grid of the whole split."""
        bars = _laid_out(markets, candles, split)
        return cls(tuple(markets), tuple(candles), bars, split, lookback, horizon, max_stale_bars)

    def replaced(self, markets: Sequence[Market], candles: Sequence[Candles]) -> Material:
        """Return the same split and windows with other markets and candles."""
        bars = _laid_out(markets, candles, self.split)
        return replace(self, markets=tuple(markets), candles=tuple(candles), bars=bars)

    @property
    def start(self) -> int:
        """Open time of the first bar."""
        return self.split.train.start

    @property
    def end(self) -> int:
        """End of the last bar."""
        return self.split.test.end

    @property
    def interval_seconds(self) -> int:
        """Length of a bar; all markets share it."""
        return self.markets[0].interval_seconds

    @property
    def learned(self) -> Part:
        """Training and validation part together: a model has not seen the gate's origins."""
        return Part(self.split.train.start, self.split.validation.end)

    def windows(self, part: Part) -> Windows:
        """Return the windows of all markets whose origins lie in a part.

        Several markets give at most `MOST_WINDOWS`. If there are more, every n-th origin of each
        market is taken, and other ones for the next market: windows of the same or neighbouring
        moments add little to each other.
        """
        windows = [self.market_windows(i, part) for i in range(len(self.bars))]
        every = -(-sum(map(len, windows)) // MOST_WINDOWS)
        if every > 1 and len(windows) > 1:  # those of a single market are a view of its features
            windows = [w.take(slice(i % every, None, every)) for i, w in enumerate(windows)]
        return Windows.concatenate(windows)

    def market_windows(self, index: int, part: Part) -> Windows:
        """Return the windows of one market whose origins lie in a part."""
        return dataset.cut(
            self.bars[index],
            part,
            lookback=self.lookback,
            horizon=self.horizon,
            max_stale_bars=self.max_stale_bars,
            market=index,
        )

    def fingerprint(self, part: Part) -> str:
        """Return a hash of every candle of a part, in the order of the markets."""
        digest = hashlib.sha256()
        for candles in self.candles:
            chosen = (candles.open_time >= part.start) & (candles.open_time < part.end)
            digest.update(candles.take(chosen).fingerprint().encode())
        return digest.hexdigest()[:16]

    @property
    def digest(self) -> str:
        """A hash of all that windows are cut from, and how."""
        whole = self.fingerprint(Part(self.start, self.end))
        return f"{whole} {self.split} L{self.lookback} H{self.horizon} {self.max_stale_bars}"

    def rows(self, part: Part) -> tuple[int, int | None, int | None]:
        """Return the number of candles in a part over all markets, the first and last open time."""
        times = np.concatenate([candles.open_time for candles in self.candles])
        times = times[(times >= part.start) & (times < part.end)]
        if not len(times):
            return 0, None, None
        return len(times), int(times.min()), int(times.max())


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Everything that rules a training besides its candles: the same one gives the same model."""

    model: ModelKind
    params: Params
    levels: tuple[float, ...]
    seed: int
    params_from: str = "default"  # or best, a file, or the version that is repeated

    @property
    def name(self) -> str:
        """The name of its step and of its run, which tells where a network starts."""
        params = {**self.model.defaults(), **self.params}
        if "start_at" not in params:
            return f"train {self.model.kind}"
        where = "scratch" if params["start_at"] == models.HAR else "base"
        return f"train {self.model.kind} from {where}"


def _laid_out(
    markets: Sequence[Market], candles: Sequence[Candles], split: Split
) -> tuple[Bars, ...]:
    start, end = split.train.start, split.test.end
    return tuple(dataset.lay_out(c, m, start, end) for c, m in zip(candles, markets, strict=True))
