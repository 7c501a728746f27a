"""sets: the forecast sets of tick, backfill, shadow and replay, all made in the same way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cryptocast import dataset
from cryptocast.compute.ladder import Answer, Ladder, Request
from cryptocast.compute.tracks import Calibrating, Held, Tracks
from cryptocast.dataset import Bars
from cryptocast.errors import StateError
from cryptocast.seams import Clock
from cryptocast.values import MIN_CANDLES, Candles, Event, ForecastSet, IntArray, Market, iso

# Bars that are laid out at a time: 50 MB, as the profile of one market looks back 10,000.
_BARS_AT_ONCE = 500_000

LEVEL_SHIFT = "level_shift"
"""The kind of the events of bars in which a market moved to another level and stayed there."""

Stamp = Callable[[int], tuple[float, str]]
"""Given an origin, when its set is issued, and the mode that follows from that."""


@dataclass(frozen=True, slots=True)
class Question:
    """A market at rising origins, to be forecast from the candles of a series of the same pair."""

    market: Market
    series: Market
    origins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FailedOrigin:
    """An origin of a market that got no forecast, and why."""

    market: Market
    origin: int
    error: StateError


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A question with its candles, and its answerable origins laid out in bars."""

    question: Question
    candles: Candles
    request: Request


@dataclass(frozen=True, slots=True, eq=False)
class _Answered:
    """An origin with its answer, and what its set takes from the candles and bars."""

    question: Question
    origin: int
    answer: Answer
    candles: Candles  # of the market itself, as far back as outcomes are learned
    last_close: float
    stale_bars: int
    shifts: IntArray  # open times of the level shifts that are suspected at the origin

    @property
    def calibrating(self) -> Calibrating:
        """All that its calibration goes by."""
        market = self.question.market
        known_until = self.origin - self.stale_bars * market.interval_seconds
        version = self.answer[0].version
        return Calibrating(market, version, self.origin, known_until, self.candles, self.shifts)


def issued_now(clock: Clock, late_seconds: float) -> Stamp:
    """Return a stamp for sets of a tick: `live`, or `late` from `late_seconds` after the origin."""

    def stamp(origin: int) -> tuple[float, str]:
        now = clock.now()
        return now, "late" if now - origin > late_seconds else "live"

    return stamp


def issued_afterwards(clock: Clock) -> Stamp:
    """Return a stamp for sets of missed origins: `backfill`."""
    return lambda _: (clock.now(), "backfill")


def issued_at_origin(origin: int) -> tuple[float, str]:
    """Stamp a set of the virtual past: `replay`."""
    return float(origin), "replay"


def forecast_sets(
    reader: Held, ladder: Ladder, questions: Sequence[Question], tracks: Tracks, stamp: Stamp
) -> tuple[list[ForecastSet], list[FailedOrigin], list[Event]]:
    """Return the sets of all questions, from stored candles that closed by each origin.

    Markets are laid out some at a time, so that memory stays flat; a version is asked once for
    each time. The events are the level shifts that the bars hold.
    """
    failures: list[FailedOrigin] = []
    events: list[Event] = []
    answered: list[_Answered] = []
    # Candles that were stored together are read together.
    questions = sorted(questions, key=lambda question: question.series.id)
    at_once = max(_BARS_AT_ONCE // ladder.context_bars, 1)
    for first in range(0, len(questions), at_once):
        prepared, failed = _prepared(reader, ladder, questions[first : first + at_once])
        failures += failed
        answers = ladder.answers([entry.request for entry in prepared])
        for entry, its_answers in zip(prepared, answers, strict=True):
            answered += _answered(entry, its_answers, ladder.recent_bars)
            events += _level_shifts(entry.request.bars)
    firsts: dict[tuple[Market, str], int] = {}
    for each in answered:
        firsts.setdefault((each.question.market, each.answer[0].version), each.origin)
    last = max((question.origins[-1] for question in questions), default=None)
    tracks.load(reader, firsts, ladder.recent_bars, last)
    return _sets(answered, tracks, stamp), failures, events


def _prepared(
    reader: Held, ladder: Ladder, questions: Sequence[Question]
) -> tuple[list[_Prepared], list[FailedOrigin]]:
    """Return the questions with the bars that answer them, and the origins with too few candles."""
    failures: list[FailedOrigin] = []
    prepared: list[_Prepared] = []
    for question, candles in _candles(reader, ladder.context_bars, questions):
        context = ladder.context_bars * question.market.interval_seconds
        recent = ladder.recent_bars * question.market.interval_seconds
        origins = np.array(question.origins, dtype=np.int64)
        counts = np.searchsorted(candles.open_time, origins)
        counts -= np.searchsorted(candles.open_time, origins - recent)
        for origin, count in zip(question.origins, counts, strict=True):
            if count < MIN_CANDLES:
                error = _too_few(reader, question.series, origin, int(count))
                failures.append(FailedOrigin(question.market, origin, error))
        origins = origins[counts >= MIN_CANDLES]
        if len(origins):
            first, last = int(origins[0]), int(origins[-1])
            start = dataset.needed_start(candles, question.series, first - context, first - recent)
            bars = dataset.lay_out(candles, question.series, start, last)
            at = (origins - start) // question.market.interval_seconds
            prepared.append(_Prepared(question, candles, Request(question.market, bars, at)))
    return prepared, failures


def _answered(
    prepared: _Prepared, answers: Sequence[Answer], recent_bars: int
) -> Iterator[_Answered]:
    """Yield each origin with its answer and no more of its bars than its set takes."""
    question, candles, request = prepared.question, prepared.candles, prepared.request
    bars, interval = request.bars, question.market.interval_seconds
    own = Candles.empty()
    if question.series == question.market:
        first = bars.first + int(request.at[0]) * interval
        # A copy, since a view would keep the candles of the whole context.
        own = candles.take(candles.open_time >= first - recent_bars * interval)
    for place, answer in zip(request.at.tolist(), answers, strict=True):
        origin = bars.first + place * interval
        yield _Answered(
            question=question,
            origin=origin,
            answer=answer,
            candles=own,
            last_close=float(candles.close[int(np.searchsorted(candles.open_time, origin)) - 1]),
            stale_bars=int(bars.age[place - 1]),
            shifts=bars.open_time[dataset.suspected(bars, place)],
        )


def _level_shifts(bars: Bars) -> Iterator[Event]:
    """Yield an event of each level shift that the bars hold, at the moment it was known."""
    for shift in dataset.lasting(bars, len(bars)):
        opened, factor = int(bars.open_time[shift]), math.exp(bars.log_return[shift])
        known = opened + dataset.WAIT_BARS * bars.market.interval_seconds
        yield Event(known, LEVEL_SHIFT, bars.market.id, {"bar": iso(opened), "factor": factor})


def _candles(
    reader: Held, context_bars: int, questions: Sequence[Question]
) -> list[tuple[Question, Candles]]:
    """Return the stored candles of each question; questions about the same range share a query."""
    ranges: dict[tuple[int, int], list[Question]] = {}
    for question in questions:
        context = context_bars * question.market.interval_seconds
        range_ = (question.origins[0] - context, question.origins[-1])
        ranges.setdefault(range_, []).append(question)
    candles: dict[Question, Candles] = {}
    for (start, end), alike in ranges.items():
        series = list(dict.fromkeys(question.series for question in alike))
        stored = reader.candles(series, start, end)
        candles |= {question: stored[question.series] for question in alike}
    return [(question, candles[question]) for question in questions]


def _sets(answered: Sequence[_Answered], tracks: Tracks, stamp: Stamp) -> list[ForecastSet]:
    """Return the sets in the order of the answers, of which one market's are in that of origins.

    The first of all markets are made together, then the second of each: what is learned from one
    goes into the next.
    """
    rounds: list[list[int]] = []
    counts: Counter[Market] = Counter()
    for place, each in enumerate(answered):
        market = each.question.market
        if counts[market] == len(rounds):
            rounds.append([])
        rounds[counts[market]].append(place)
        counts[market] += 1
    sets: dict[int, ForecastSet] = {}
    for places in rounds:
        some = [answered[place] for place in places]
        sets |= zip(places, _round(some, tracks, stamp), strict=True)
    return [sets[place] for place in range(len(answered))]


def _round(answered: Sequence[_Answered], tracks: Tracks, stamp: Stamp) -> list[ForecastSet]:
    """Return a set of each market, calibrated, in prices, and let the tracks go on from them."""
    asked = [each.calibrating for each in answered]
    widening = tracks.calibrate(asked, np.stack([each.answer[1] for each in answered]))
    closes = np.array([each.last_close for each in answered])
    prices = dataset.to_prices(widening.log_quantiles, closes[:, None, None])
    sets = []
    for place, each in enumerate(answered):
        model, question = each.answer[0], each.question
        if question.series != question.market:
            reasons = [f"source:{question.series.source}", model.fallback]
            model = replace(model, fallback=", ".join(reason for reason in reasons if reason))
        issued_at, mode = stamp(each.origin)
        forecast = ForecastSet(
            market=question.market,
            origin=each.origin,
            issued_at=issued_at,
            last_close=each.last_close,
            stale_bars=each.stale_bars,
            mode=mode,
            model=model,
            levels=tracks.levels,
            quantiles=prices[place],
            scale=None if widening.scale is None else widening.scale[place],
            body=None if widening.body is None else widening.body[place],
        )
        tracks.remember(forecast)
        sets.append(forecast)
    return sets


def _too_few(reader: Held, series: Market, origin: int, count: int) -> StateError:
    """Return the error of an origin with too few candles before it."""
    span = reader.spans([series], origin).get(series)
    hint = "cryptocast fetch"
    if span is not None:
        hint += f", or for recorded candles --as-of {iso(span.last + series.interval_seconds)}"
    return StateError(
        f"{series.id} has {count} candles before {iso(origin)}, at least {MIN_CANDLES} are needed",
        code="state.not_enough_candles",
        hint=hint,
    )
