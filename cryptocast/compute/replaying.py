"""Forecast runs of past origins of some markets, from what a store held when it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptocast import calibration
from cryptocast.compute.ladder import Ladder
from cryptocast.compute.sets import FailedOrigin, Question, forecast_sets, issued_at_origin
from cryptocast.compute.tracks import MEMORY_BARS, Held, SpanOf, Tracks
from cryptocast.config import Settings
from cryptocast.values import Candles, Event, ForecastSet, Market, Past


@dataclass(frozen=True, slots=True, eq=False)
class Recollection:
    """The candles and sets that a store held for a run of each market: a `Held` of its own.

    Nothing is stored at the origins of a run, so the sets before its first origin are those
    before each.
    """

    held: Mapping[Market, Candles]
    last: Mapping[Market, int]  # open time of the last candle before those, where there is one
    pasts: Mapping[tuple[Market, str], Past]

    @classmethod
    def of(
        cls,
        stored: Held,
        ladder: Ladder,
        questions: Sequence[Question],
        settings: Settings,
        *,
        served: bool,
    ) -> Recollection:
        """Read what the runs need; those from and to the same origin share their queries."""
        shape = settings.model.horizon, len(settings.model.levels)
        inner = calibration.inner_place(settings.model.levels)
        interval = questions[0].market.interval_seconds
        alike: dict[tuple[int, int], list[Market]] = {}
        for question in questions:
            ends = question.origins[0], question.origins[-1]
            alike.setdefault(ends, []).append(question.market)
        held: dict[Market, Candles] = {}
        before: dict[Market, int] = {}
        pasts: dict[tuple[Market, str], Past] = {}
        for (first, last), markets in alike.items():
            start = first - ladder.context_bars * interval
            held |= stored.candles(markets, start, last)
            before |= {market: span.last for market, span in stored.spans(markets, start).items()}
            pairs = [(market, version) for market in markets for version in ladder.versions(market)]
            since = first - MEMORY_BARS * interval
            pasts |= stored.ledger.past(
                pairs, first, since=since, until=last, shape=shape, inner=inner, served=served
            )
        return cls(held, before, pasts)

    def candles(self, markets: Sequence[Market], start: int, end: int) -> Mapping[Market, Candles]:
        """Return those of them with open time in `[start, end)`."""
        held = {market: self.held[market] for market in markets}
        return {
            market: its.take((its.open_time >= start) & (its.open_time < end))
            for market, its in held.items()
        }

    def spans(self, markets: Sequence[Market], end: float) -> Mapping[Market, SpanOf]:
        """Return how much was stored before `end`, as far as that is known."""
        spans = {}
        for market in markets:
            times = self.held[market].open_time
            last = times[times < end][-1:].tolist() or [self.last.get(market)]
            if last[0] is not None:
                spans[market] = _Span(last[0])
        return spans

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
        until: int | None,  # noqa: ARG002 - the protocol's
        shape: tuple[int, int],  # noqa: ARG002 - the protocol's
        inner: int | None,  # noqa: ARG002 - the protocol's
        served: bool,  # noqa: ARG002 - the protocol's
    ) -> Mapping[tuple[Market, str], Past]:
        """Return the past of each pair that served from `since` on."""
        found = {pair: self.pasts[pair] for pair in pairs if pair in self.pasts}
        return {pair: past for pair, past in found.items() if past.origin >= since}


@dataclass(frozen=True, slots=True)
class _Span:
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedRuns:
    """Neighbouring origins of some markets, a run each, and what they are forecast from."""

    questions: Sequence[Question]
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
    """The sets of runs, the origins that got none, and the level shifts that were seen."""

    sets: tuple[ForecastSet, ...]
    failures: tuple[FailedOrigin, ...]
    shifts: tuple[Event, ...]


def forecast_runs(runs: ReplayedRuns, rule: ReplayRule) -> RunForecasts:
    """Forecast runs as ticks at their origins would have."""
    tracks = Tracks(rule.settings, served=rule.served)
    sets, failures, shifts = forecast_sets(
        runs.stored, runs.ladder, runs.questions, tracks, issued_at_origin
    )
    if rule.shadow is not None:
        sets = [s for s in sets if s.model.version == rule.shadow]
    return RunForecasts(tuple(sets), tuple(failures), tuple(shifts))
