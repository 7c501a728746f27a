"""The start of learning and judging: candles and their split, and the plan of a training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptocast import dataset, models
from cryptocast.dataset import Bars, Part, Split
from cryptocast.seams import ModelKind, Params
from cryptocast.values import Candles, Market, Windows

MOST_WINDOWS = 12_000
"""The most windows that several markets give: those of a hundred would take over a gigabyte."""

_ALL = slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The candles of one or several markets, with their split and how windows are cut.

    Bars and features, which take several times their memory, are made for one market at a time.
    """

    markets: tuple[Market, ...]
    candles: tuple[Candles, ...]
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
        """Take the candles of each market within the split, at least one of each."""
        return cls(tuple(markets), tuple(candles), split, lookback, horizon, max_stale_bars)

    def replaced(self, markets: Sequence[Market], candles: Sequence[Candles]) -> Material:
        """Return the same split and windows with other markets and candles."""
        return replace(self, markets=tuple(markets), candles=tuple(candles))

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
        if len(self.markets) == 1:
            return self.market_windows(0, part)  # a view of its features
        usable = [
            len(dataset.origins(self.bars(i), part, self.lookback, self.max_stale_bars))
            for i in range(len(self.markets))
        ]
        every = max(-(-sum(usable) // MOST_WINDOWS), 1)
        chosen = [slice(i % every, None, every) for i in range(len(usable))]
        counts = [len(range(n)[taken]) for n, taken in zip(usable, chosen, strict=True)]
        parts = (self.market_windows(i, part, taken) for i, taken in enumerate(chosen))
        return Windows.filled(parts, counts)

    def market_windows(self, index: int, part: Part, chosen: slice = _ALL) -> Windows:
        """Return the windows of one market whose origins lie in a part, or the chosen ones."""
        return dataset.cut(
            self.bars(index),
            part,
            lookback=self.lookback,
            horizon=self.horizon,
            max_stale_bars=self.max_stale_bars,
            market=index,
            chosen=chosen,
        )

    def bars(self, index: int) -> Bars:
        """Return the candles of a market laid out on the grid of the whole split."""
        market, candles = self.markets[index], self.candles[index]
        return dataset.lay_out(candles, market, self.start, self.end)

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
        ends = [candles.open_time.searchsorted([part.start, part.end]) for candles in self.candles]
        held = [(c.open_time, *e) for c, e in zip(self.candles, ends, strict=True) if e[0] < e[1]]
        if not held:
            return 0, None, None
        first = min(int(times[start]) for times, start, _ in held)
        last = max(int(times[end - 1]) for times, _, end in held)
        return sum(int(end - start) for _, start, end in held), first, last


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
