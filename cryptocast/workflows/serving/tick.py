"""tick: the steps that every tick takes, as functions that `forecast` calls one by one."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptocast.compute.ladder import Ladder
from cryptocast.compute.sets import FailedOrigin, Question, forecast_sets, issued_now
from cryptocast.compute.tracks import Tracks
from cryptocast.seams import Clock
from cryptocast.store import Reader, Store, Tick, Unserved, unserved_origins
from cryptocast.values import Deployment, Event, ForecastSet, Market
from cryptocast.workflows.serving.catch_up import CaughtUp
from cryptocast.workflows.serving.events import keep_new, shadowing
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TickReport:
    """The sets of an origin; `new` is False if all of them existed before."""

    new: bool
    forecasts: tuple[ForecastSet, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TickStart:
    """The start of a tick: its origin, what is deployed, and what is served already."""

    started: float
    origin: int
    markets: tuple[Market, ...]
    productions: Mapping[Market, Deployment]
    graphs: Mapping[str, str]  # by version: the hash of the graph that was deployed
    served: Mapping[Market, ForecastSet]

    @property
    def missing(self) -> list[Market]:
        """The markets without a served set at the origin."""
        return [market for market in self.markets if market not in self.served]

    def only(self, markets: Container[Market]) -> TickStart:
        """Return the same start for these of its markets."""
        return replace(self, markets=tuple(m for m in self.markets if m in markets))


@dataclass(frozen=True, slots=True)
class Forecasts:
    """The forecasts of a tick at its origin."""

    sets: tuple[ForecastSet, ...] = ()
    failures: tuple[FailedOrigin, ...] = ()
    shifts: tuple[Event, ...] = ()  # of level

    def joined(self, later: Forecasts) -> Forecasts:
        """Return these and those of other markets that were made later."""
        return Forecasts(
            self.sets + later.sets,
            self.failures + later.failures,
            self.shifts + later.shifts,
        )

    @property
    def failed_everywhere(self) -> bool:
        """True if no market got a forecast."""
        return bool(self.failures) and not self.sets


@dataclass(frozen=True, slots=True)
class LeftOver:
    """The work that a tick leaves for afterwards."""

    unserved: tuple[Unserved, ...]  # earlier origins without a served set
    shadow: str | None  # the version that shadows


def look_up(reader: Reader, markets: tuple[Market, ...], started: float) -> TickStart:
    """Read what is deployed, and what is served already at the origin of a moment."""
    origin = markets[0].floor(started)
    productions = reader.productions().of_markets(markets)
    served = reader.ledger.served(markets, origin)
    return TickStart(started, origin, markets, productions, reader.graphs(), served)


def forecast_newest(
    ws: Workspace,
    start: TickStart,
    caught: Mapping[Market, CaughtUp],
    ladder: Ladder,
    tracks: Tracks,
) -> Forecasts:
    """Forecast every missing market at the origin, each from the series it caught up with.

    The tracks of all markets that caught up are read with the first of them: one by one, blocks
    would decode most of what the ledger holds again and again.
    """
    questions = as_questions(start, caught)
    stamp = issued_now(ws.clock, ws.settings.loop.late_seconds)
    ahead = {(market, ladder.versions(market)[0]): start.origin for market in caught}
    with ws.store.read() as reader:
        tracks.load(reader, ahead, ladder.recent_bars, start.origin)
        sets, failures, shifts = forecast_sets(reader, ladder, questions, tracks, stamp)
    return Forecasts(tuple(sets), tuple(failures), tuple(shifts))


def look_back(reader: Reader, start: TickStart, bars: int, *, virtual: bool) -> LeftOver:
    """Read what is left to do for all markets, up to so many bars back, once they are served."""
    since = start.origin - bars * start.markets[0].interval_seconds
    unserved = unserved_origins(reader, start.missing, since, start.origin, virtual=virtual)
    return LeftOver(tuple(unserved), shadowing(reader))


def as_questions(start: TickStart, caught: Mapping[Market, CaughtUp]) -> list[Question]:
    """Return what to forecast: every missing market at the origin."""
    return [Question(m, caught[m].series, (start.origin,)) for m in start.missing]


def store_forecasts(
    store: Store, start: TickStart, forecasts: Forecasts, clock: Clock
) -> TickReport:
    """Write every set with its tick in one transaction, and report what is served now.

    A set that exists already stays: if another process was quicker, what it served is the
    forecast.
    """
    finished = clock.now()
    with store.write() as writer:
        written = writer.ledger.put_sets(forecasts.sets, served=True, virtual=clock.virtual)
        new = [s for s, is_new in zip(forecasts.sets, written, strict=True) if is_new]
        writer.ledger.put_ticks(_ticks(new, forecasts.failures, start.started, finished))
        keep_new(writer, forecasts.shifts)
    served = {s.market: s for s in new}
    if not all(written):
        with store.read() as reader:
            served |= reader.ledger.served(start.missing, start.origin)
    return TickReport(bool(new), tuple(served.values()))


def _ticks(
    new: Sequence[ForecastSet], failures: Sequence[FailedOrigin], started: float, finished: float
) -> Iterator[Tick]:
    """Yield the record of this tick for every market that it served or failed."""
    for s in new:
        status = "late" if s.late else "ok"
        yield Tick(s.market.id, s.origin, started, finished, status, detail=s.model.fallback)
    for failure in failures:
        market, error = failure.market.id, failure.error
        ended = ("failed", error.code, error.message)
        yield Tick(market, failure.origin, started, finished, *ended)


def tick_warnings(caught: Mapping[Market, CaughtUp], forecasts: Forecasts) -> Iterator[str]:
    """Yield what a person should know: failed sources, markets without a forecast, stand-ins."""
    for market, series in caught.items():
        if series.error is not None:
            yield f"{market.id}: {series.error.message} ({series.error.hint})"
        yield from (f"{market.id}: {text}" for text in series.told)
    for failure in forecasts.failures:
        yield f"{failure.market.id}: {failure.error.message} ({failure.error.hint})"
    for s in forecasts.sets:
        version, reason = s.model.version, s.model.fallback
        if reason is None:
            continue
        source = caught[s.market].series
        if source == s.market or reason != f"source:{source.source}":
            yield f"{s.market.id}: served by {version} instead of production ({reason})"
        else:
            yield f"{s.market.id}: forecast from the candles of {source.id}"
