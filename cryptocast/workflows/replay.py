"""replay: the live tick for every origin of a past range, on a virtual clock, into the ledger."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from cryptocast import bundles
from cryptocast.compute.ladder import Ladder, production_versions
from cryptocast.compute.replaying import Recollection, ReplayedRuns, ReplayRule, forecast_runs
from cryptocast.compute.sets import FailedOrigin, Question
from cryptocast.errors import ModelError, StateError, UsageError, no_production
from cryptocast.store import Reader, Store, Tick, Writer, fillable_gaps
from cryptocast.values import BUILTIN_RANDOM_WALK, Deployment, ForecastSet, Market, iso
from cryptocast.workflows.learning.scope import served_markets
from cryptocast.workflows.learning.versions import registered_bundle, version_named
from cryptocast.workflows.serving.events import keep_new, refuse_gone
from cryptocast.workflows.serving.recordings import latest_virtual_origin
from cryptocast.workspace import Workspace

BLOCK_ORIGINS = 288
"""How many sets are committed at once at most; what a kill costs."""

_BLOCK_MARKETS = 50  # whose candles of a month, and bars, take 60 MB


@dataclass(frozen=True, slots=True)
class Block:
    """The sets that one transaction stored: of neighbouring origins of each of its markets."""

    sets: tuple[ForecastSet, ...]
    failures: tuple[FailedOrigin, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """A plan of what to replay: per market the runs of origins that have no set yet."""

    range: range  # of origins
    markets: tuple[Market, ...]
    versions: Mapping[Market, Sequence[str]]  # that may answer, best first
    shadow: str | None  # only what this version answers is kept; None: whoever answers
    in_sample: bool  # whether versions answer at origins that they have learned from
    runs: tuple[Question, ...] = ()
    skipped: int = 0  # (market, origin) pairs that have a set already
    holes: tuple[tuple[Market, int], ...] = ()  # how many bars of the range are not stored

    @property
    def first(self) -> int:
        """The first origin."""
        return self.range[0]

    @property
    def last(self) -> int:
        """The last origin."""
        return self.range[-1]

    @property
    def served(self) -> bool:
        """True if the sets count as served."""
        return self.shadow is None and not self.in_sample

    @property
    def origins(self) -> int:
        """The number of (market, origin) pairs to forecast."""
        return sum(len(run.origins) for run in self.runs)


def plan(
    ws: Workspace,
    start: int,
    end: int | None,
    *,
    symbols: tuple[str, ...] = (),
    version: str | None = None,
    in_sample: bool = False,
) -> Replay:
    """Find out what there is to do for the origins from `start` to `end`, both inclusive.

    Without an end the range goes to the newest origin that is over. Raises UsageError for an
    empty range, one that is not over yet, or, unless `in_sample`, one that the model has
    learned from; StateError without a production model, or if the stored candles end before
    the range does: what is served is never taken back, so stale forecasts that a fetch would
    have spared are not made.
    """
    markets = ws.markets(symbols)
    with ws.store.read() as reader:
        latest = latest_virtual_origin(reader, ws.settings, ws.clock.now())
        origins = _past_origins(markets[0], start, latest if end is None else end, latest)
        productions = reader.productions().of_markets(markets)
        if not productions:
            raise no_production()
        refuse_gone(reader, markets, origins[0])
        _require_candles(reader, markets, origins[-1], ws.settings.loop.max_stale_bars)
    if version is None:
        versions = production_versions(productions)
    else:
        version = version_named(ws, version)
        _refuse_serving(version, productions)
        markets = _freeze_shadow(ws, version, markets)
        versions = {market: [version] for market in markets}
    for name in dict.fromkeys(names[0] for names in versions.values()):
        with suppress(ModelError):  # it will not answer, and what stands in says why
            learned = ws.bundle(name).card.data_end
            _refuse_mixed(name, learned, origins, shadow=version is not None, in_sample=in_sample)
    planned = Replay(origins, tuple(markets), versions, version, in_sample)
    with ws.store.read() as reader:
        return _with_runs(reader, planned)


def replay(ws: Workspace, planned: Replay) -> Iterator[Block]:
    """Forecast what was planned, a block and a transaction at a time.

    A set is what a tick at its origin would have written: from the candles that had closed by
    then, calibrated by what was known then. If it is interrupted, the next replay goes on
    after the last block.
    """
    with ws.store.read() as reader:
        graphs = reader.graphs()
    ladder = Ladder(
        ws.settings, ws.bundle, planned.versions, graphs=graphs, in_sample=planned.in_sample
    )
    rule = ReplayRule(ws.settings, planned.served, planned.shadow)
    done = 0
    for together in _rounds(planned.runs):
        runs = _read(ws.store, ladder, _blocks(together), rule)
        forecasts = ws.engine.map(forecast_runs, runs, rule)
        for questions, made in zip(_blocks(together), forecasts, strict=True):
            with ws.store.write() as writer:
                new = _store(writer, made.sets, served=planned.served)
                keep_new(writer, made.shifts)
            done += sum(len(question.origins) for question in questions)
            newest = questions[-1]
            reached = f"{newest.market.symbol} to {iso(newest.origins[-1])}"
            ws.progress.advance(done, planned.origins, reached)
            yield Block(tuple(new), made.failures)


def _rounds(runs: Sequence[Question]) -> Iterator[list[Question]]:
    """Yield the first runs of all markets, then the second ones, and so on.

    Calibration goes on from the sets of the run before, so those of one market wait for each
    other.
    """
    by_market: dict[Market, list[Question]] = {}
    for run in runs:
        by_market.setdefault(run.market, []).append(run)
    for together in itertools.zip_longest(*by_market.values()):
        yield [run for run in together if run is not None]


def _blocks(runs: Sequence[Question]) -> Iterator[list[Question]]:
    """Yield the runs in blocks of few markets and sets; a day of one market is a block."""
    block: list[Question] = []
    for run in runs:
        sets = sum(len(other.origins) for other in [*block, run])
        if block and (sets > BLOCK_ORIGINS or len(block) == _BLOCK_MARKETS):
            yield block
            block = []
        block.append(run)
    if block:
        yield block


def _read(
    store: Store, ladder: Ladder, blocks: Iterable[Sequence[Question]], rule: ReplayRule
) -> Iterator[ReplayedRuns]:
    """Yield each block of runs with what they are forecast from."""
    for block in blocks:
        with store.read() as reader:
            stored = Recollection.of(reader, ladder, block, rule.settings, served=rule.served)
        yield ReplayedRuns(block, ladder.of(run.market for run in block), stored)


def _past_origins(market: Market, start: int, end: int, latest: int) -> range:
    """Return the origins of the range. Raise UsageError if there are none, or later than that."""
    interval = market.interval_seconds
    first, last = -(-start // interval) * interval, market.floor(end)
    if first > last:
        raise UsageError(
            f"no origin lies between {iso(start)} and {iso(end)}",
            hint="--start and --end are the first and the last origin",
        )
    if last > latest:
        raise UsageError(f"the origin {iso(last)} is not over yet", hint=f"--end {iso(latest)}")
    return range(first, last + interval, interval)


def _require_candles(
    reader: Reader, markets: Sequence[Market], last: int, max_stale_bars: int
) -> None:
    """Raise StateError if a market's candles end before the last origin does."""
    spans = reader.spans(markets, last)
    for market in markets:
        span = spans.get(market)
        reach = market.interval_seconds * (1 + max_stale_bars)
        if span is None or span.last + reach < last:
            end = "there are none" if span is None else f"they end at {iso(span.last)}"
            raise StateError(
                f"{market.id} has no candles up to {iso(last)}: {end}",
                code="state.not_enough_candles",
                hint=f"cryptocast fetch --start ... --end {iso(last)}",
            )


def _refuse_serving(version: str, productions: Mapping[Market, Deployment]) -> None:
    """Raise UsageError if a version that is to shadow is in production."""
    if version in {row.model_version for row in productions.values()}:
        raise UsageError(
            f"version {version} is in production: it cannot be a shadow",
            code="usage.serves",
            hint="cryptocast replay without --version",
        )


def _freeze_shadow(ws: Workspace, version: str, markets: Sequence[Market]) -> tuple[Market, ...]:
    """Freeze a version that is to shadow, and return the markets that it is meant for.

    Raises UsageError if these are none of the given ones.
    """
    bundle = registered_bundle(ws, version)
    meant = [market for market in served_markets(ws.settings, bundle.card) if market in markets]
    if not meant:
        raise UsageError(
            f"version {version} is meant for {bundle.card.markets[0]}",
            hint=f"--symbol {bundle.card.markets[0]}",
        )
    bundles.freeze(ws.bundle_folder(version), bundle.card, ws.registry().onnx(version))
    return tuple(meant)


def _refuse_mixed(
    version: str, learned: int, origins: range, *, shadow: bool, in_sample: bool
) -> None:
    """Raise UsageError if a range holds origins of both kinds: served and unserved.

    A set that is not served would bar the way for one that is. `learned` is the end of the
    candles that the version has learned from.
    """
    if origins[0] < learned and not in_sample:
        raise UsageError(
            f"version {version} has learned from the candles up to {iso(learned)}",
            code="usage.in_sample",
            hint=f"--start {iso(learned)}, or --in-sample for sets that do not count as served",
        )
    if origins[-1] >= learned and in_sample and not shadow:
        raise UsageError(
            f"version {version} has not learned from the candles after {iso(learned)}",
            code="usage.in_sample",
            hint=f"--in-sample with an --end before {iso(learned)}; those after are served",
        )


def _with_runs(reader: Reader, planned: Replay) -> Replay:
    """Return the plan with what is left to forecast, and what the ledger and candles lack."""
    first, last, markets = planned.first, planned.last, planned.markets
    gaps = fillable_gaps(reader, dict.fromkeys(markets, (first, last)))
    runs: list[Question] = []
    skipped = 0
    for market in markets:
        # Of served sets there is one per origin, of others one per version.
        names = planned.versions.get(market, (BUILTIN_RANDOM_WALK,))
        version = None if planned.served else names[0]
        stored = reader.ledger.origins(market, first, planned.range.stop, version=version)
        runs += (Question(market, market, run) for run in _runs(planned.range, stored))
        skipped += len(stored)
    return replace(
        planned,
        runs=tuple(runs),
        skipped=skipped,
        holes=tuple((m, sum(gap.bars for gap in its)) for m, its in gaps.items() if its),
    )


def _runs(origins: range, stored: set[int]) -> Iterator[tuple[int, ...]]:
    """Yield the runs of neighbouring origins without a set, `BLOCK_ORIGINS` long at most."""
    run: list[int] = []
    for origin in origins:
        if origin not in stored:
            run.append(origin)
        if run and (origin in stored or len(run) == BLOCK_ORIGINS):
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _store(writer: Writer, sets: Sequence[ForecastSet], *, served: bool) -> list[ForecastSet]:
    """Write the sets, with a tick each if they are served; return those that are new."""
    written = writer.ledger.put_sets(sets, served=served, virtual=True)
    new = [s for s, is_new in zip(sets, written, strict=True) if is_new]
    if served:
        writer.ledger.put_ticks(
            Tick(s.market.id, s.origin, s.origin, s.origin, "ok", detail=s.model.fallback)
            for s in new
        )
    return new
