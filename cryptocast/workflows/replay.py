"""replay: the live tick for every origin of a past range, on a virtual clock, into the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptocast import bundles
from cryptocast.errors import ModelError, StateError, UsageError, no_production
from cryptocast.store import Reader, Tick
from cryptocast.values import BUILTIN_RANDOM_WALK, ForecastSet, Market, iso
from cryptocast.workflows.learning.scope import served_markets
from cryptocast.workflows.learning.versions import registered_bundle
from cryptocast.workflows.serving.events import refuse_gone
from cryptocast.workflows.serving.ladder import Ladder
from cryptocast.workflows.serving.sets import (
    FailedOrigin,
    Question,
    forecast_sets,
    issued_at_origin,
)
from cryptocast.workflows.serving.tracks import Tracks
from cryptocast.workspace import Workspace

BLOCK_ORIGINS = 288
"""At most so many origins are committed at once; what a kill costs."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one transaction brought: neighbouring origins of one market."""

    market: Market
    made: tuple[ForecastSet, ...]
    failures: tuple[FailedOrigin, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """What will be replayed: per market the runs of origins that have no set yet."""

    first: int
    last: int
    served: bool  # False: a shadow, or of origins that the version learned from
    runs: tuple[Question, ...]
    skipped: int  # (market, origin) pairs that have a set
    holes: tuple[tuple[Market, int], ...]  # how many bars of the range are not stored
    ladder: Ladder
    version: str | None  # only its own answers are kept; None: whoever answers

    @property
    def origins(self) -> int:
        """How many (market, origin) pairs there are to forecast."""
        return sum(len(run.origins) for run in self.runs)


def plan(
    ws: Workspace,
    start: int,
    end: int,
    *,
    symbols: tuple[str, ...] = (),
    version: str | None = None,
    in_sample: bool = False,
) -> Replay:
    """Look what there is to do for the origins from `start` to `end`, both inclusive.

    Raises UsageError for an empty range, one that is not over yet, or, unless `in_sample`,
    one that the model has learned from; StateError without a production model, or where the
    stored candles end before the range does: what is served is never taken back, so stale
    forecasts that a fetch would have spared are not made.
    """
    markets = ws.markets(symbols)
    interval = markets[0].interval_seconds
    first, last = -(-start // interval) * interval, markets[0].floor(end)
    if first > last:
        raise UsageError(
            f"no origin lies between {iso(start)} and {iso(end)}",
            hint="--start and --end are the first and the last origin",
        )
    if last > ws.clock.now():
        raise UsageError(
            f"{iso(last)} has not come yet", hint=f"--end {iso(markets[0].floor(ws.clock.now()))}"
        )
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(markets)
        if not serving:
            raise no_production()
        refuse_gone(reader, markets, first)
        for market in markets:
            _require_candles(ws, reader, market, last)
    answering = {market: row.model_version for market, row in serving.items()}
    if version in answering.values():
        raise UsageError(
            f"version {version} serves: it is no shadow",
            code="usage.serves",
            hint="cryptocast replay without --version",
        )
    if version is not None:
        markets = _frozen(ws, version, markets)
        answering = dict.fromkeys(markets, version)
        ladder = Ladder(
            ws.settings, ws.bundle, {market: [version] for market in markets}, in_sample=in_sample
        )
    else:
        ladder = Ladder.of(ws.settings, ws.bundle, serving, in_sample=in_sample)
    for each in dict.fromkeys(answering.values()):
        _refuse_mixed(ws, each, first, last, version, in_sample)
    served = version is None and not in_sample
    with ws.store.read() as reader:
        holes = reader.fillable_gaps(dict.fromkeys(markets, (first, last)))
        there = {
            market: reader.ledger.origins(
                market,
                first,
                last + interval,
                version=None if served else answering.get(market, BUILTIN_RANDOM_WALK),
            )
            for market in markets
        }
    runs = [
        Question(market, market, run)
        for market in markets
        for run in _runs(range(first, last + interval, interval), there[market])
    ]
    skipped = sum(map(len, there.values()))
    gone = tuple((market, sum(gap.bars for gap in gaps)) for market, gaps in holes.items() if gaps)
    return Replay(first, last, served, tuple(runs), skipped, gone, ladder, version)


def replay(ws: Workspace, planned: Replay) -> Iterator[Block]:
    """Forecast what was planned, a block and a transaction at a time.

    A set is what a tick at its origin would have written: from the candles that had closed by
    then, calibrated by what was known then. Interrupted, the next one goes on after the last
    block.
    """
    done = 0
    for run in planned.runs:
        with ws.store.read() as reader:
            made, failures = forecast_sets(
                reader,
                planned.ladder,
                [run],
                Tracks(ws.settings, served=planned.served),
                issued_at_origin,
            )
        if planned.version is not None:
            made = [s for s in made if s.model.version == planned.version]
        with ws.store.write() as writer:
            new = writer.ledger.put_sets(made, served=planned.served)
            if planned.served:
                writer.ledger.put_ticks(
                    Tick(s.market.id, s.origin, s.origin, s.origin, "ok", detail=s.model.fallback)
                    for s, written in zip(made, new, strict=True)
                    if written
                )
        done += len(run.origins)
        told = f"{run.market.symbol} to {iso(run.origins[-1])}"
        ws.progress.advance(done, planned.origins, told)
        kept = (s for s, written in zip(made, new, strict=True) if written)
        yield Block(run.market, tuple(kept), tuple(failures))


def fallbacks(sets: Sequence[ForecastSet]) -> dict[str, int]:
    """How many sets were made by a stand-in, by reason."""
    return dict(Counter(s.model.fallback for s in sets if s.model.fallback))


def _frozen(ws: Workspace, version: str, markets: Sequence[Market]) -> tuple[Market, ...]:
    """Freeze a version that is to shadow; those of the markets that it is meant for."""
    chosen = registered_bundle(ws, version)
    meant = [market for market in served_markets(ws.settings, chosen.card) if market in markets]
    if not meant:
        raise UsageError(
            f"version {version} is meant for {chosen.card.markets[0]}",
            hint=f"--symbol {chosen.card.markets[0]}",
        )
    bundles.freeze(ws.bundle_folder(version), chosen.card, ws.registry().onnx(version))
    return tuple(meant)


def _require_candles(ws: Workspace, reader: Reader, market: Market, last: int) -> None:
    span = reader.spans([market], last).get(market)
    reach = market.interval_seconds * (1 + ws.settings.loop.max_stale_bars)
    if span is None or span.last + reach < last:
        end = "there are none" if span is None else f"they end at {iso(span.last)}"
        raise StateError(
            f"{market.id} has no candles up to {iso(last)}: {end}",
            code="state.not_enough_candles",
            hint=f"cryptocast fetch --start ... --end {iso(last)}",
        )


def _refuse_mixed(
    ws: Workspace, answering: str, first: int, last: int, version: str | None, in_sample: bool
) -> None:
    """A set that is not served would bar the way for one that is: no range holds both kinds."""
    try:
        learned = ws.bundle(answering).card.data_end
    except ModelError:
        return  # it will not answer, and what stands in says why
    if first < learned and not in_sample:
        raise UsageError(
            f"version {answering} has learned from the candles up to {iso(learned)}",
            code="usage.in_sample",
            hint=f"--start {iso(learned)}, or --in-sample for sets that do not count as served",
        )
    if last >= learned and in_sample and version is None:
        raise UsageError(
            f"version {answering} has not learned from the candles after {iso(learned)}",
            code="usage.in_sample",
            hint=f"--in-sample with an --end before {iso(learned)}; those after are served",
        )


def _runs(origins: range, there: set[int]) -> Iterator[tuple[int, ...]]:
    """The neighbouring origins without a set, `BLOCK_ORIGINS` at most a run."""
    run: list[int] = []
    for origin in origins:
        if origin not in there:
            run.append(origin)
        if run and (origin in there or len(run) == BLOCK_ORIGINS):
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)
