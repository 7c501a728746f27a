"""The start of learning and judging: candles laid out and split, and the plan of a training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cryptocast import dataset, models
from cryptocast.bundles import Card
from cryptocast.dataset import Bars, Part, Split
from cryptocast.errors import StateError
from cryptocast.seams import ModelKind, Params
from cryptocast.store import Reader, Store
from cryptocast.values import DAY_SECONDS, FEATURES, MIN_CANDLES, Candles, Market, Windows, iso
from cryptocast.workspace import Workspace

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
    """Read the last `days` (default `[data] days`) of the markets, and split them.

    `markets` defaults to all configured ones, `end` to now; another `end` is a past moment on
    the grid. Raises StateError if a market has fewer than 24 candles there.
    """
    data, model, markets = ws.settings.data, ws.settings.model, tuple(markets) or ws.markets()
    interval = markets[0].interval_seconds
    end = markets[0].floor(ws.clock.now()) if end is None else end
    wanted = round((days or data.days) * DAY_SECONDS) // interval
    start = end - wanted * interval
    with ws.store.read() as reader:
        stored = reader.candles(markets, start, end)
        for market in markets:
            _require_candles(reader, market, len(stored[market]), wanted)
    split = dataset.plan(
        max(start, min(int(stored[market].open_time[0]) for market in markets)),
        end,
        interval,
        test_bars=test_bars or data.test_bars,
        gate_bars=data.gate_bars,
        validation_bars=data.validation_bars,
    )
    return Material.of(
        markets,
        [stored[market] for market in markets],
        split,
        lookback=lookback or model.lookback,
        horizon=horizon or model.horizon,
        max_stale_bars=ws.settings.loop.max_stale_bars,
    )


def without_candles(ws: Workspace, markets: Sequence[Market]) -> dict[str, StateError]:
    """Return the markets, by id, that `gather` would refuse, each with its error."""
    interval = markets[0].interval_seconds
    end = markets[0].floor(ws.clock.now())
    wanted = round(ws.settings.data.days * DAY_SECONDS) // interval
    errors = {}
    with ws.store.read() as reader:
        spans = reader.spans(markets, end, end - wanted * interval)
        for market in markets:
            try:
                rows = spans[market].rows if market in spans else 0
                _require_candles(reader, market, rows, wanted)
            except StateError as error:
                errors[market.id] = error
    return errors


def _require_candles(reader: Reader, market: Market, rows: int, wanted: int) -> None:
    """Raise StateError if a market has too few candles to forecast at all."""
    if rows == 0:
        message, hint = f"{market.id} has no candles up to now", "cryptocast fetch"
        if (span := reader.spans([market]).get(market)) is not None:
            newest = iso(span.last + market.interval_seconds)
            message += f", they end at {newest}"
            hint += f"; to use recorded ones, add --as-of {newest}"
        raise StateError(message, code="state.no_candles", hint=hint)
    if rows < MIN_CANDLES:
        days = max(1, -(-wanted * market.interval_seconds // DAY_SECONDS))
        raise StateError(
            f"{market.id} has {rows} candles, at least {MIN_CANDLES} are needed",
            code="state.not_enough_candles",
            hint=f"cryptocast fetch --days {days}",
        )


def recall(store: Store, card: Card) -> Material:
    """Read the candles that a version learned from, split as they were then.

    Raises StateError: `state.nothing_learned` for a base network, `state.other_code` if the card
    does not say how the candles were split or names other features, and `state.other_data` if
    the stored candles are no longer those that it learned from.
    """
    validation_start, max_stale_bars = _repeatable(card)
    start, end = card.data_start, card.data_end
    markets = [Market.of(name, "", card.interval) for name in card.markets]
    with store.read() as reader:
        candles = reader.candles(markets, start, end)
    nothing = Part(end, end)
    material = Material.of(
        markets,
        [candles[market] for market in markets],
        Split(Part(start, validation_start), Part(validation_start, end), nothing, nothing),
        lookback=card.lookback,
        horizon=card.horizon,
        max_stale_bars=max_stale_bars,
    )
    if (fingerprint := material.fingerprint(material.learned)) != card.fingerprint:
        raise StateError(
            f"the stored candles from {iso(start)} to {iso(end)} are not those that version "
            f"{card.version} learned from (fingerprint {fingerprint}, then {card.fingerprint})",
            code="state.other_data",
            hint=f"cryptocast fetch --start {iso(start)} --end {iso(end)} brings missing ones",
        )
    return material


def _repeatable(card: Card) -> tuple[int, int]:
    """Return where validation began and how stale a candle could be; raise as `recall` says."""
    if card.data_start == card.data_end:
        raise StateError(
            f"version {card.version} learned nothing here: it is a base network",
            code="state.nothing_learned",
            hint="cryptocast pretrain makes one anew, from the candles of its own card",
        )
    if card.features != FEATURES:
        reason = "it reads other features than this cryptocast computes"
    elif card.validation_start is None or card.max_stale_bars is None:
        reason = "its card does not say how the candles were split"
    else:
        return card.validation_start, card.max_stale_bars
    raise StateError(
        f"version {card.version} cannot be repeated: {reason}",
        code="state.other_code",
        hint="cryptocast train makes a version that can be",
    )
