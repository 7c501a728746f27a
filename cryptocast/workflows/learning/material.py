"""Read candles for learning and judging, and split them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cryptocast import dataset
from cryptocast.bundles import Card
from cryptocast.compute.material import Material
from cryptocast.config import DataSettings
from cryptocast.dataset import Part, Split
from cryptocast.errors import StateError
from cryptocast.store import Reader, Store
from cryptocast.values import DAY_SECONDS, FEATURES, MIN_CANDLES, Candles, Market, iso
from cryptocast.workspace import Workspace

_BLOCK_MARKETS = 50  # read by one query


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
    model, markets = ws.settings.model, tuple(markets) or ws.markets()
    end = markets[0].floor(ws.clock.now()) if end is None else end
    with ws.store.read() as reader:
        split = planned_split(
            reader, ws.settings.data, markets, end=end, days=days, test_bars=test_bars
        )
        stored = list(_in_blocks(reader, markets, split.train.start, split.test.end))
    return Material.of(
        markets,
        [candles for _, candles in stored],
        split,
        lookback=lookback or model.lookback,
        horizon=horizon or model.horizon,
        max_stale_bars=ws.settings.loop.max_stale_bars,
    )


def planned_split(
    reader: Reader,
    data: DataSettings,
    markets: Sequence[Market],
    *,
    end: int,
    days: float | None = None,
    test_bars: int | None = None,
) -> Split:
    """Split the time that `gather` reads, which begins with the first candle in it.

    Raises StateError as `gather` does.
    """
    interval = markets[0].interval_seconds
    wanted = round((days or data.days) * DAY_SECONDS) // interval
    start = end - wanted * interval
    spans = reader.spans(markets, end, start)
    for market in markets:
        rows = spans[market].rows if market in spans else 0
        _require_candles(reader, market, rows, wanted)
    return dataset.plan(
        min(span.first for span in spans.values()),
        end,
        interval,
        test_bars=test_bars or data.test_bars,
        gate_bars=data.gate_bars,
        validation_bars=data.validation_bars,
    )


def series(
    store: Store, markets: Sequence[Market], start: int, end: int
) -> Iterator[tuple[Market, Candles]]:
    """Yield the candles of each market with open time in `[start, end)`.

    They are read in blocks, so that memory does not grow with the number of markets.
    """
    for block in _blocks(markets):
        with store.read() as reader:
            stored = reader.candles(block, start, end)
        yield from stored.items()


def _in_blocks(
    reader: Reader, markets: Sequence[Market], start: int, end: int
) -> Iterator[tuple[Market, Candles]]:
    """Yield the same through one connection: all candles are of one moment."""
    for block in _blocks(markets):
        yield from reader.candles(block, start, end).items()


def _blocks(markets: Sequence[Market]) -> Iterator[Sequence[Market]]:
    """Yield the markets in the blocks that one query reads: it takes twice what it returns."""
    for first in range(0, len(markets), _BLOCK_MARKETS):
        yield markets[first : first + _BLOCK_MARKETS]


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
        stored = list(_in_blocks(reader, markets, start, end))
    nothing = Part(end, end)
    material = Material.of(
        markets,
        [candles for _, candles in stored],
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
