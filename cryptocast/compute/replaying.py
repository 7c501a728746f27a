"""Forecast a run of past origins of one market, from what a store held when it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptocast.compute.ladder import Ladder
from cryptocast.compute.sets import FailedOrigin, Question, forecast_sets, issued_at_origin
from cryptocast.compute.tracks import MEMORY_BARS, Held, SpanOf, Tracks
from cryptocast.config import Settings
from cryptocast.values import Candles, Event, ForecastSet, Market, Past


@dataclass(frozen=True, slots=True, eq=False)
class Recollection:
    """The candles and sets that a store held for one run of a market: a `Held` of its own.

    Nothing is stored at the origins of the run, so the sets before its first origin are those
    before each.
    """

    market: Market
    held: Candles
    last: int | None  # open time of the last candle before those, if there is one
    pasts: Mapping[tuple[Market, str], Past]

    @classmethod
    def of(
        cls, stored: Held, ladder: Ladder, question: Question, settings: Settings, *, served: bool
    ) -> Recollection:
        """Read what the run of a market needs."""
        market, first, last = question.market, question.origins[0], question.origins[-1]
        start = first - ladder.context_bars * market.interval_seconds
        shape = settings.model.horizon, len(settings.model.levels)
        pairs = [(market, version) for version in ladder.versions(market)]
        since = first - MEMORY_BARS * market.interval_seconds
        span = stored.spans([market], start).get(market)
        return cls(
            market,
            stored.candles([market], start, last)[market],
            None if span is None else span.last,
            stored.ledger.past(pairs, first, since=since, shape=shape, served=served),
        )

    def candles(self, markets: Sequence[Market], start: int, end: int) -> Mapping[Market, Candles]:
        """Return those of them with open time in `[start, end)`."""
        times = self.held.open_time
        taken = self.held.take((times >= start) & (times < end))
        return dict.fromkeys(markets, taken)

    def spans(self, markets: Sequence[Market], end: float) -> Mapping[Market, SpanOf]:
        """Return how much was stored before `end`, as far as that is known."""
        times = self.held.open_time[self.held.open_time < end]
        last = int(times[-1]) if len(times) else self.last
        return {} if last is None else dict.fromkeys(markets, _Span(last))

    @property
    def ledger(self) -> Recollection:
        """The forecast sets."""
        return self

    def past(
        self,
        pairs: Sequence[tuple[Market, str]],
        origin: int,  # noqa: ARG002 - the protocol's
        *,
        since: int,
        shape: tuple[int, int],  # noqa: ARG002 - the protocol's
        served: bool,  # noqa: ARG002 - the protocol's
    ) -> Mapping[tuple[Market, str], Past]:
        """Return the sets of each pair that served from `since` on."""
        found = {pair: self.pasts[pair] for pair in pairs if pair in self.pasts}
        return {pair: past for pair, past in found.items() if past.origins[-1] >= since}


@dataclass(frozen=True, slots=True)
class _Span:
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class MarketRun:
    """Neighbouring origins of one market, and what they are forecast from."""

    question: Question
    ladder: Ladder
    stored: Recollection


@dataclass(frozen=True, slots=True)
class ReplayRule:
    """All that the runs of a replay have in common."""

    settings: Settings
    served: bool
    shadow: str | None  # only what this version answers is kept; None: whoever answers


@dataclass(frozen=True, slots=True, eq=False)
class RunForecasts:
    """The sets of a run, the origins that got none, and the level shifts that were seen."""

    sets: tuple[ForecastSet, ...]
    failures: tuple[FailedOrigin, ...]
    shifts: tuple[Event, ...]


def forecast_run(run: MarketRun, rule: ReplayRule) -> RunForecasts:
    """Forecast a run as ticks at its origins would have."""
    tracks = Tracks(rule.settings, served=rule.served)
    sets, failures, shifts = forecast_sets(
        run.stored, run.ladder, [run.question], tracks, issued_at_origin
    )
    if rule.shadow is not None:
        sets = [s for s in sets if s.model.version == rule.shadow]
    return RunForecasts(tuple(sets), tuple(failures), tuple(shifts))
