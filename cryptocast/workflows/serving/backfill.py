"""backfill: make up for origins that passed while nobody forecast them.

A set made so is a `backfill`: from what was known at its origin, by the version that ruled
then. It is no proof of what was said in time, and is never counted as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cryptocast.store import Reader, Tick, Unserved, ruling
from cryptocast.values import Deployment, ForecastSet, Market, iso
from cryptocast.workflows.serving.ladder import Ladder
from cryptocast.workflows.serving.sets import Failure, Question, forecast_sets
from cryptocast.workflows.serving.tracks import Tracks
from cryptocast.workspace import Workspace

# Of the time to the next close, at most so much goes into the past; the rest waits a tick.
_SHARE = 0.5


def find_unserved(
    ws: Workspace, reader: Reader, markets: Sequence[Market], origin: int
) -> list[Unserved]:
    """What nobody served of the `[loop] backfill_bars` origins before this one."""
    reach = ws.settings.loop.backfill_bars * markets[0].interval_seconds
    return reader.ledger.unserved(markets, origin - reach, origin)


def make_up(ws: Workspace, unserved: Sequence[Unserved]) -> list[str]:
    """Note every origin as missed, and serve it after all where `[loop] backfill_missed` is on.

    Oldest first, each market in a transaction of its own; what half of the time to the next
    close does not suffice for waits for the next tick. Returns what a person should know.
    """
    warnings: list[str] = []
    if not unserved:
        return warnings
    with ws.store.read() as reader:
        rulings = reader.rulings()
    started = ws.clock.now()
    for found in unserved:
        interval = found.market.interval_seconds
        if not ws.clock.virtual and ws.clock.now() - started > _SHARE * interval:
            break
        made, failures = _served_late(ws, found, rulings)
        warnings += _keep(ws, found, made, failures)
    return warnings


def _served_late(
    ws: Workspace, found: Unserved, rulings: Sequence[tuple[float, Deployment]]
) -> tuple[list[ForecastSet], list[Failure]]:
    """The sets of a market's missed origins."""
    made: list[ForecastSet] = []
    failures: list[Failure] = []
    if not ws.settings.loop.backfill_missed or not found.origins:
        return made, failures
    with ws.store.read() as reader:
        for deployment, origins in _ruled(found, rulings):
            if deployment is None:
                ladder = Ladder(ws, {}, none="deployed_later")
            else:
                ladder = Ladder.of(ws, {found.market: deployment})
            question = Question(found.market, found.market, origins)
            tracks = Tracks(ws, served=True)
            sets, failed = forecast_sets(ws, reader, ladder, [question], tracks, mode="backfill")
            made += sets
            failures += failed
    return made, failures


def _ruled(
    found: Unserved, rulings: Sequence[tuple[float, Deployment]]
) -> Iterator[tuple[Deployment | None, tuple[int, ...]]]:
    """Runs of neighbouring origins, each with the deployment that ruled it by `written_at`."""
    written = {row.id: written_at for written_at, row in rulings}
    mine = [(written[row.id], row) for row in ruling([row for _, row in rulings], found.market)]
    run: list[int] = []
    before: Deployment | None = None
    for origin in found.origins:
        ruled = [deployment for written_at, deployment in mine if written_at <= origin]
        rules = ruled[-1] if ruled else None
        neighbour = run and run[-1] + found.market.interval_seconds == origin
        if run and not (neighbour and rules == before):
            yield before, tuple(run)
            run = []
        before = rules
        run.append(origin)
    if run:
        yield before, tuple(run)


def _keep(
    ws: Workspace, found: Unserved, made: Sequence[ForecastSet], failures: Sequence[Failure]
) -> list[str]:
    """Write the sets with a tick for each origin, in one transaction."""
    market, now = found.market, ws.clock.now()
    interval = market.interval_seconds
    errors = {failure.origin: failure.error for failure in failures}
    ticks = []
    summed_up = 0
    if found.earlier is not None:
        first, last = found.earlier
        summed_up = (last - first) // interval
        told = f"{summed_up + 1} origins from {iso(first)} to {iso(last)} were missed"
        ticks.append(Tick(market.id, last, now, now, "missed", detail=told))
    for origin in found.origins:
        error = errors.get(origin)
        detail = (error.code, error.message) if error else (None, None)
        ticks.append(Tick(market.id, origin, now, now, "missed", *detail))
    with ws.store.write() as writer:
        # Another process may have been here meanwhile: an origin is called missed once.
        first, end = ticks[0].origin, ticks[-1].origin + interval
        left = {o for u in writer.ledger.unserved([market], first, end) for o in u.origins}
        ticks = [tick for tick in ticks if tick.origin in left]
        written = sum(writer.ledger.put_sets(made, served=True))
        writer.ledger.put_ticks(ticks)
    if not ticks:
        return []
    missed = len(ticks) + summed_up
    return [f"{market.id}: {missed} origins were missed, {written} of them are made up for"]
