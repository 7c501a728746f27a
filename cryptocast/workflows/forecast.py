"""forecast: one tick for all markets, or what was served last.

A tick always serves: production, else the version before it, else the random walk that
needs no training; what is not production is labelled with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptocast.errors import CryptocastError, StateError, StoreError, no_production
from cryptocast.store import Tick, Unserved
from cryptocast.values import Deployment, ForecastSet, Market, iso
from cryptocast.workflows.serving.backfill import find_unserved, make_up
from cryptocast.workflows.serving.catch_up import CaughtUp, catch_up
from cryptocast.workflows.serving.cleared import refuse_gone
from cryptocast.workflows.serving.ladder import Ladder
from cryptocast.workflows.serving.sets import Failure, Question, forecast_sets
from cryptocast.workflows.serving.shadows import cast_shadow, shadowing
from cryptocast.workflows.serving.tracks import Tracks
from cryptocast.workflows.watching.alerts import send_alerts
from cryptocast.workflows.watching.metrics import write_metrics
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TickReport:
    """The sets of an origin; `new` is False where all of them were there before."""

    new: bool
    forecasts: tuple[ForecastSet, ...]
    warnings: tuple[str, ...] = ()


def newest(ws: Workspace, *, symbols: tuple[str, ...] = ()) -> TickReport:
    """The newest served set of every market. Raises StateError where there is none."""
    markets = ws.markets(symbols)
    with ws.store.read() as reader:
        found = reader.ledger.newest(markets, ws.clock.now())
    if not found:
        raise StateError(
            "nothing was forecast yet", code="state.no_forecast", hint="cryptocast forecast --once"
        )
    return TickReport(False, tuple(found[m] for m in markets if m in found))


def tick(ws: Workspace, *, fetch: bool = True, symbols: tuple[str, ...] = ()) -> TickReport:
    """Catch up, forecast every market at the clock's origin, store one set a market, and tell.

    What is served already is left as it is. A source that fails costs a warning, not the
    forecast. When the newest origin is safe, the origins that nobody served are made up for,
    and the shadow, if there is one, forecasts too. Receivers and the metrics file are told at
    the end, of a failure as well. Raises StateError without a production model or where no
    market has 24 candles.
    """
    try:
        report = _serve(ws, fetch=fetch, symbols=symbols)
    except CryptocastError:
        _tell(ws)
        raise
    return replace(report, warnings=(*report.warnings, *_tell(ws)))


def _tell(ws: Workspace) -> list[str]:
    """Alerts and metrics; what failed of them."""
    return [*send_alerts(ws), *write_metrics(ws)]


def _serve(ws: Workspace, *, fetch: bool, symbols: tuple[str, ...]) -> TickReport:
    """The tick itself."""
    markets = ws.markets(symbols)
    started = ws.clock.now()
    origin = markets[0].floor(started)
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(markets)
        there = reader.ledger.served(markets, origin)
        if ws.clock.virtual:  # the system's clock never goes back so far
            refuse_gone(reader, markets, origin)
    if not serving:
        raise no_production()
    missing = [market for market in markets if market not in there]
    if not missing:
        return TickReport(False, tuple(there[m] for m in markets))
    caught = {market: CaughtUp(market) for market in missing}
    if fetch:
        caught = catch_up(ws, missing, started)
    ladder = Ladder.of(ws, serving)
    questions = [Question(market, caught[market].series, (origin,)) for market in missing]
    with ws.store.read() as reader:
        tracks = Tracks(ws, served=True)
        made, failures = forecast_sets(ws, reader, ladder, questions, tracks)
        unserved = find_unserved(ws, reader, missing, origin)
        shadow = shadowing(reader)
    new = _keep(ws, made, failures, started)
    if failures and not made and not there:
        # Why no candle came says more than that there are too few.
        raise caught[failures[0].market].error or failures[0].error
    if not all(new):  # another process was quicker: what it served is the forecast
        with ws.store.read() as reader:
            there |= reader.ledger.served(missing, origin)
    served = {s.market: s for s, written in zip(made, new, strict=True) if written} | there
    warnings = [
        *_warnings(caught, failures, made),
        *_afterwards(ws, unserved, shadow, _shadowed(questions, serving, shadow)),
    ]
    return TickReport(any(new), tuple(served[m] for m in markets if m in served), tuple(warnings))


def _shadowed(
    questions: Sequence[Question], serving: Mapping[Market, Deployment], shadow: str | None
) -> list[Question]:
    """Those whose production is not the shadow itself."""
    own = {market for market, row in serving.items() if row.model_version == shadow}
    return [question for question in questions if question.market not in own]


def _afterwards(
    ws: Workspace,
    unserved: Sequence[Unserved],
    shadow: str | None,
    questions: Sequence[Question],
) -> Iterator[str]:
    """What waits until the newest origin is served; a store that fails now costs a warning."""
    try:
        yield from make_up(ws, unserved)
        if shadow is not None and questions:
            yield from cast_shadow(ws, shadow, questions)
    except StoreError as error:
        yield f"{error.message} ({error.hint})"


def _warnings(
    caught: Mapping[Market, CaughtUp], failures: Sequence[Failure], made: Sequence[ForecastSet]
) -> Iterator[str]:
    """What a person should know of a tick: failed sources, markets without one, stand-ins."""
    for market, found in caught.items():
        if found.error is not None:
            yield f"{market.id}: {found.error.message} ({found.error.hint})"
        if found.refused is not None:
            yield f"{market.id}: {found.refused}"
    for failure in failures:
        yield f"{failure.market.id}: {failure.error.message} ({failure.error.hint})"
    for made_set in made:
        version, reason = made_set.model.version, made_set.model.fallback
        if reason is None:
            continue
        series = caught[made_set.market].series
        if series == made_set.market or reason != f"source:{series.source}":
            yield f"{made_set.market.id}: served by {version} instead of production ({reason})"
        else:
            yield f"{made_set.market.id}: forecast from the candles of {series.id}"


def _keep(
    ws: Workspace, made: Sequence[ForecastSet], failures: Sequence[Failure], started: float
) -> list[bool]:
    """Write every set with its tick in one transaction; a set that is there already stays.

    Returns for each set whether it was written.
    """
    finished = ws.clock.now()
    with ws.store.write() as writer:
        new = writer.ledger.put_sets(made, served=True)
        writer.ledger.put_ticks(
            Tick(
                s.market.id,
                s.origin,
                started,
                finished,
                "late" if s.late else "ok",
                detail=s.model.fallback,
            )
            for s, written in zip(made, new, strict=True)
            if written
        )
        writer.ledger.put_ticks(
            Tick(f.market.id, f.origin, started, finished, "failed", f.error.code, f.error.message)
            for f in failures
        )
    return new


def documents(report: TickReport) -> Iterator[dict[str, object]]:
    """The sets as the contract writes them."""
    return map(document, report.forecasts)


def document(forecast: ForecastSet) -> dict[str, object]:
    """A set as the contract writes it."""
    return {
        "market": forecast.market.id,
        "origin": iso(forecast.origin),
        "issued_at": iso(forecast.issued_at),
        "last_close": forecast.last_close,
        "stale_bars": forecast.stale_bars,
        "late": forecast.late,
        "mode": forecast.mode,
        "model": {
            "version": forecast.model.version,
            "kind": forecast.model.kind,
            "fallback": forecast.model.fallback,
        },
        "levels": list(forecast.levels),
        "steps": [
            {
                "step": step,
                "target_time": iso(forecast.target_time(step)),
                "quantiles": quantiles.tolist(),
            }
            for step, quantiles in enumerate(forecast.quantiles, start=1)
        ],
    }
