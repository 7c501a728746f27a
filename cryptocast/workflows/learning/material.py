"""What learning and judging start from: the newest candles of every market, laid out and split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast import dataset
from cryptocast.dataset import Bars, Part, Split
from cryptocast.errors import StateError
from cryptocast.store import Reader
from cryptocast.values import MIN_CANDLES, Candles, Market, Windows, iso
from cryptocast.workspace import Workspace

MOST_WINDOWS = 12_000
"""Of several markets: the windows of all bars of a hundred of them are more than a gigabyte."""

_DAY = 86_400


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Candles of every market in `[start, end)`, as bars, with their split."""

    markets: tuple[Market, ...]
    candles: tuple[Candles, ...]
    bars: tuple[Bars, ...]
    split: Split
    start: int
    end: int
    lookback: int
    horizon: int
    max_stale_bars: int

    @property
    def interval_seconds(self) -> int:
        """Length of a bar; all markets share it."""
        return self.markets[0].interval_seconds

    @property
    def learned(self) -> Part:
        """Training and validation together: what the gate's origins are unseen by."""
        return Part(self.split.train.start, self.split.validation.end)

    def windows(self, part: Part) -> Windows:
        """The windows of all markets whose origins lie in a part; of several `MOST_WINDOWS`.

        Where there are more, every n-th origin of each market is taken, of neighbouring markets
        not the same ones: windows of one moment, and of neighbouring ones, tell much the same.
        """
        found = [self.market_windows(i, part) for i in range(len(self.bars))]
        every = -(-sum(map(len, found)) // MOST_WINDOWS)
        if every > 1 and len(found) > 1:  # those of a single market are a view of its features
            found = [each.take(slice(i % every, None, every)) for i, each in enumerate(found)]
        return Windows.concatenate(found)

    def market_windows(self, index: int, part: Part) -> Windows:
        """The windows of one market whose origins lie in a part."""
        return dataset.cut(
            self.bars[index],
            part,
            lookback=self.lookback,
            horizon=self.horizon,
            max_stale_bars=self.max_stale_bars,
            market=index,
        )

    def fingerprint(self, part: Part) -> str:
        """A hash of every candle of a part, in the order of the markets."""
        digest = hashlib.sha256()
        for candles in self.candles:
            chosen = (candles.open_time >= part.start) & (candles.open_time < part.end)
            digest.update(candles.take(chosen).fingerprint().encode())
        return digest.hexdigest()[:16]

    def rows(self, part: Part) -> tuple[int, int | None, int | None]:
        """How many candles a part holds over all markets, the first and the last open time."""
        times = np.concatenate([candles.open_time for candles in self.candles])
        times = times[(times >= part.start) & (times < part.end)]
        if not len(times):
            return 0, None, None
        return len(times), int(times.min()), int(times.max())


def gather(
    ws: Workspace,
    markets: Sequence[Market] = (),
    *,
    lookback: int | None = None,
    horizon: int | None = None,
    days: float | None = None,
    test_bars: int | None = None,
    end: int | None = None,
) -> Material:
    """Read the last `days` (default `[data] days`) of the markets up to now, and split them.

    `markets` are by default all that are configured. `end` is a moment on the grid, before
    now, to read up to instead.

    Raises StateError where a market has fewer than 24 candles there.
    """
    data, model = ws.settings.data, ws.settings.model
    markets = tuple(markets) or ws.markets()
    interval = markets[0].interval_seconds
    end = markets[0].floor(ws.clock.now()) if end is None else end
    wanted = round((days or data.days) * _DAY) // interval
    start = end - wanted * interval
    with ws.store.read() as reader:
        stored = reader.candles(markets, start, end)
        candles = tuple(stored[market] for market in markets)
        for market, found in zip(markets, candles, strict=True):
            _require(reader, market, len(found), wanted)
    start = max(start, min(int(c.open_time[0]) for c in candles))
    split = dataset.plan(
        start,
        end,
        interval,
        test_bars=test_bars or data.test_bars,
        gate_bars=data.gate_bars,
        validation_bars=data.validation_bars,
    )
    return Material(
        markets=markets,
        candles=candles,
        bars=tuple(
            dataset.lay_out(c, m, start, end) for c, m in zip(candles, markets, strict=True)
        ),
        split=split,
        start=start,
        end=end,
        lookback=lookback or model.lookback,
        horizon=horizon or model.horizon,
        max_stale_bars=ws.settings.loop.max_stale_bars,
    )


def _require(reader: Reader, market: Market, rows: int, wanted: int) -> None:
    """StateError where a market has too few candles to forecast at all."""
    if rows == 0:
        told, hint = f"{market.id} has no candles up to now", "cryptocast fetch"
        if (span := reader.spans([market]).get(market)) is not None:
            newest = iso(span.last + market.interval_seconds)
            told += f", they end at {newest}"
            hint += f"; recorded ones are used with --as-of {newest}"
        raise StateError(told, code="state.no_candles", hint=hint)
    if rows < MIN_CANDLES:
        days = max(1, -(-wanted * market.interval_seconds // _DAY))
        raise StateError(
            f"{market.id} has {rows} candles, at least {MIN_CANDLES} are needed",
            code="state.not_enough_candles",
            hint=f"cryptocast fetch --days {days}",
        )
