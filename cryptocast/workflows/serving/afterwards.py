"""afterwards: what a tick does once the newest origin is safe.

It makes up for origins that passed without a forecast, and lets the shadow forecast.
A set that is made up is a `backfill`: from what was known at its origin, by the version that
was deployed then. It does not prove what was said in time, and is never counted as if it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from cryptocast.errors import ModelError
from cryptocast.seams import Clock
from cryptocast.store import Reader, Tick, Unserved, Writer, ruling
from cryptocast.values import Deployment, ForecastSet, iso
from cryptocast.workflows.learning.scope import served_markets
from cryptocast.workspace import Workspace

# The share of the time to the next close that may go into the past; the rest waits a tick.
_SHARE = 0.5


def make_up(ws: Workspace, unserved: Sequence[Unserved]) -> list[str]:
    """Note every origin as missed, and serve it after all if `[loop] backfill_missed` is on.

    Oldest first, each market in a transaction of its own. What does not fit into half of the
    time to the next close waits for the next tick. Returns warnings for a person.
    """
    warnings: list[str] = []
    if not unserved:
        return warnings
    with ws.store.read() as reader:
        rulings = reader.rulings()
    started = ws.clock.now()
    for missed in unserved:
        interval = missed.market.interval_seconds
        if not ws.clock.virtual and ws.clock.now() - started > _SHARE * interval:
            break
        sets: list[ForecastSet] = []
        failures: list[FailedOrigin] = []
        if ws.settings.loop.backfill_missed and missed.origins:
            with ws.store.read() as reader:
                for deployment, origins in _ruled(missed, rulings):
                    made, failed = _forecast_missed(ws, reader, missed, deployment, origins)
                    sets += made
                    failures += failed
        with ws.store.write() as writer:
            warnings += _store_missed(writer, missed, sets, failures, ws.clock)
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
    tracks = Tracks(ws.settings, served=False)
    with ws.store.read() as reader:
        versions = {question.market: [version] for question in questions}
        ladder = Ladder(ws.settings, ws.bundle, versions, graphs=reader.graphs())
        sets, _, _ = forecast_sets(reader, ladder, questions, tracks, stamp)
    own = [s for s in sets if s.model.version == version]
    with ws.store.write() as writer:
        writer.ledger.put_sets(own, served=False, virtual=ws.clock.virtual)
    reasons = {str(s.model.fallback) for s in sets if s.model.version != version}
    return [f"shadow version {version} did not forecast ({reason})" for reason in sorted(reasons)]


def _forecast_missed(
    ws: Workspace,
    reader: Reader,
    missed: Unserved,
    deployment: Deployment | None,
    origins: tuple[int, ...],
) -> tuple[list[ForecastSet], list[FailedOrigin]]:
    """Return the sets of a market's missed origins by the deployment that ruled them."""
    versions = {} if deployment is None else production_versions({missed.market: deployment})
    graphs = reader.graphs()
    ladder = Ladder(ws.settings, ws.bundle, versions, graphs=graphs, none="deployed_later")
    question = Question(missed.market, missed.market, origins)
    tracks = Tracks(ws.settings, served=True)
    stamp = issued_afterwards(ws.clock)
    sets, failures, _ = forecast_sets(reader, ladder, [question], tracks, stamp)
    return sets, failures


def _ruled(
    missed: Unserved, rulings: Sequence[tuple[float, Deployment]]
) -> Iterator[tuple[Deployment | None, tuple[int, ...]]]:
    """Yield runs of neighbouring origins, each with the deployment that ruled by `written_at`."""
    written = {row.id: written_at for written_at, row in rulings}
    deployments = ruling([row for _, row in rulings], missed.market)
    run: list[int] = []
    before: Deployment | None = None
    for origin in missed.origins:
        ruled = [deployment for deployment in deployments if written[deployment.id] <= origin]
        rules = ruled[-1] if ruled else None
        neighbour = run and run[-1] + missed.market.interval_seconds == origin
        if run and not (neighbour and rules == before):
            yield before, tuple(run)
            run = []
        before = rules
        run.append(origin)
    if run:
        yield before, tuple(run)


def _store_missed(
    writer: Writer,
    missed: Unserved,
    sets: Sequence[ForecastSet],
    failures: Sequence[FailedOrigin],
    clock: Clock,
) -> list[str]:
    """Write the sets with a tick for each origin; return a warning that counts them."""
    market, interval, now = missed.market, missed.market.interval_seconds, clock.now()
    errors = {failure.origin: failure.error for failure in failures}
    ticks = []
    summed_up = 0
    if missed.earlier is not None:
        first, last = missed.earlier
        summed_up = (last - first) // interval
        detail = f"{summed_up + 1} origins from {iso(first)} to {iso(last)} were missed"
        ticks.append(Tick(market.id, last, now, now, "missed", detail=detail))
    for origin in missed.origins:
        error = errors.get(origin)
        code, message = (error.code, error.message) if error else (None, None)
        ticks.append(Tick(market.id, origin, now, now, "missed", code, message))
    # Another process may have been here meanwhile: an origin is called missed once.
    first, end = ticks[0].origin, ticks[-1].origin + interval
    unserved = store.unserved_origins(writer, [market], first, end, virtual=clock.virtual)
    left = {origin for still in unserved for origin in still.origins}
    ticks = [tick for tick in ticks if tick.origin in left]
    written = sum(writer.ledger.put_sets(sets, served=True, virtual=clock.virtual))
    writer.ledger.put_ticks(ticks)
    if not ticks:
        return []
    count = len(ticks) + summed_up
    told = f"{counted(count, 'origin')} missed, {written:,} of them forecast afterwards"
    return [f"{market.id}: {told}"]
