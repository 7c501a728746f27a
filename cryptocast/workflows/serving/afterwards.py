"""afterwards: what a tick does once the newest origin is safe.

It makes up for origins that passed without a forecast, and lets the shadow forecast.
A set that is made up is a `backfill`: from what was known at its origin, by the version that
was deployed then. It does not prove what was said in time, and is never counted as if it did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from cryptocast import store
from cryptocast.compute.ladder import Ladder, production_versions
from cryptocast.compute.sets import (
    FailedOrigin,
    Question,
    forecast_sets,
    issued_afterwards,
    issued_now,
)
from cryptocast.compute.tracks import Tracks
from cryptocast.display import counted
from cryptocast.errors import ModelError, StateError
from cryptocast.seams import Clock
from cryptocast.store import Reader, Tick, Unserved, Writer, ruling
from cryptocast.values import Deployment, ForecastSet, Market, iso
from cryptocast.workflows.learning.scope import served_markets
from cryptocast.workflows.serving.blocks import blocks
from cryptocast.workspace import Workspace

# The share of the time to the next close that may go into the past; the rest waits a tick.
_SHARE = 0.5

_Versions = tuple[str, ...]
"""The version in production at an origin, then the one before it; none: the random walk."""


def make_up(ws: Workspace, unserved: Sequence[Unserved]) -> list[str]:
    """Note every origin as missed, and serve it after all if `[loop] backfill_missed` is on.

    Oldest first, a block of markets in a transaction. What does not fit into half of the
    time to the next close waits for the next tick. Returns warnings for a person.
    """
    warnings: list[str] = []
    if not unserved:
        return warnings
    with ws.store.read() as reader:
        rulings, graphs = reader.rulings(), reader.graphs()
    started, interval = ws.clock.now(), unserved[0].market.interval_seconds
    for block in blocks(unserved, lambda missed: len(missed.origins)):
        if not ws.clock.virtual and ws.clock.now() - started > _SHARE * interval:
            break
        sets: list[ForecastSet] = []
        failures: list[FailedOrigin] = []
        if ws.settings.loop.backfill_missed:
            with ws.store.read() as reader:
                for versions, questions in _ruled(block, rulings).items():
                    made, failed = _forecast_missed(ws, reader, versions, questions, graphs)
                    sets += made
                    failures += failed
        with ws.store.write() as writer:
            warnings += _store_missed(writer, block, sets, failures, ws.clock)
    return warnings


def cast_shadow(ws: Workspace, version: str, questions: Sequence[Question]) -> list[str]:
    """Store what the version forecasts, unserved; return why it could not.

    Answers by another version in its stead are not stored, and markets that the version is
    not meant for are left out.
    """
    with suppress(ModelError):  # if the bundle is damaged, the ladder says so
        meant = served_markets(ws.settings, ws.bundle(version).card)
        questions = [question for question in questions if question.market in meant]
    stamp = issued_now(ws.clock, ws.settings.loop.late_seconds)
    with ws.store.read() as reader:
        versions = {question.market: [version] for question in questions}
        ladder = Ladder(ws.settings, ws.bundle, versions, graphs=reader.graphs())
    tracks, reasons = Tracks(ws.settings, served=False), set[str]()
    ahead = {(question.market, version): question.origins[0] for question in questions}
    for block in blocks(questions):
        with ws.store.read() as reader:
            tracks.load(reader, ahead, ladder.recent_bars, block[0].origins[-1])
            sets, _, _ = forecast_sets(reader, ladder, block, tracks, stamp)
        own = [s for s in sets if s.model.version == version]
        with ws.store.write() as writer:
            writer.ledger.put_sets(own, served=False, virtual=ws.clock.virtual)
        reasons |= {str(s.model.fallback) for s in sets if s.model.version != version}
    return [f"shadow version {version} did not forecast ({reason})" for reason in sorted(reasons)]


def _forecast_missed(
    ws: Workspace,
    reader: Reader,
    versions: _Versions,
    questions: Sequence[Question],
    graphs: Mapping[str, str],
) -> tuple[list[ForecastSet], list[FailedOrigin]]:
    """Return the sets of missed origins that these versions ruled, best first."""
    served = {question.market: versions for question in questions}
    ladder = Ladder(ws.settings, ws.bundle, served, graphs=graphs, none="deployed_later")
    tracks = Tracks(ws.settings, served=True)
    stamp = issued_afterwards(ws.clock)
    sets, failures, _ = forecast_sets(reader, ladder, questions, tracks, stamp)
    return sets, failures


def _ruled(
    block: Sequence[Unserved], rulings: Sequence[tuple[float, Deployment]]
) -> dict[_Versions, list[Question]]:
    """Return runs of neighbouring origins by the versions that ruled them by `written_at`."""
    written = {row.id: written_at for written_at, row in rulings}
    rows = [row for _, row in rulings]
    ruled: dict[_Versions, list[Question]] = {}
    for missed in block:
        market, deployments = missed.market, ruling(rows, missed.market)
        runs: list[tuple[_Versions, list[int]]] = []
        for origin in missed.origins:
            before = [row for row in deployments if written[row.id] <= origin]
            chosen = production_versions({market: before[-1]})[market] if before else []
            versions = tuple(chosen)
            neighbour = runs and runs[-1][1][-1] + market.interval_seconds == origin
            if not neighbour or runs[-1][0] != versions:
                runs.append((versions, []))
            runs[-1][1].append(origin)
        for versions, origins in runs:
            ruled.setdefault(versions, []).append(Question(market, market, tuple(origins)))
    return ruled


def _store_missed(
    writer: Writer,
    block: Sequence[Unserved],
    sets: Sequence[ForecastSet],
    failures: Sequence[FailedOrigin],
    clock: Clock,
) -> list[str]:
    """Write the sets with a tick for each origin; return a warning that counts them by market."""
    errors = {(failure.market, failure.origin): failure.error for failure in failures}
    ticks = [(m.market, tick) for m in block for tick in _missed_ticks(m, errors, clock.now())]
    interval = block[0].market.interval_seconds
    # Another process may have been here meanwhile: an origin is called missed once.
    moments, markets = [tick.origin for _, tick in ticks], [missed.market for missed in block]
    first, end = min(moments), max(moments) + interval
    unserved = store.unserved_origins(writer, markets, first, end, virtual=clock.virtual)
    left = {(still.market, origin) for still in unserved for origin in still.origins}
    ticks = [(market, tick) for market, tick in ticks if (market, tick.origin) in left]
    written = writer.ledger.put_sets(sets, served=True, virtual=clock.virtual)
    writer.ledger.put_ticks(tick for _, tick in ticks)
    counts = Counter(market for market, _ in ticks)
    new = Counter(s.market for s, is_new in zip(sets, written, strict=True) if is_new)
    warnings = []
    for market, earlier in ((missed.market, missed.earlier) for missed in block):
        if counts[market]:
            more = 0 if earlier is None else (earlier[1] - earlier[0]) // interval
            told = f"{counted(counts[market] + more, 'origin')} missed"
            warnings.append(f"{market.id}: {told}, {new[market]:,} of them forecast afterwards")
    return warnings


def _missed_ticks(
    missed: Unserved, errors: Mapping[tuple[Market, int], StateError], now: float
) -> Iterator[Tick]:
    """Yield a tick of each missed origin of a market, and one of all before them."""
    market = missed.market
    if missed.earlier is not None:
        first, last = missed.earlier
        count = (last - first) // market.interval_seconds + 1
        detail = f"{count} origins from {iso(first)} to {iso(last)} were missed"
        yield Tick(market.id, last, now, now, "missed", detail=detail)
    for origin in missed.origins:
        error = errors.get((market, origin))
        code, message = (error.code, error.message) if error else (None, None)
        yield Tick(market.id, origin, now, now, "missed", code, message)
