"""Forecast sets: the common core of tick, backfill, shadow and replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cryptocast import dataset
from cryptocast.dataset import Bars
from cryptocast.errors import StateError
from cryptocast.store import Reader
from cryptocast.values import MIN_CANDLES, Candles, ForecastSet, IntArray, Market, iso
from cryptocast.workflows.serving.ladder import Answer, Ladder
from cryptocast.workflows.serving.tracks import Tracks
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Question:
    """A market at rising origins, to be forecast from the candles of a series of the same pair."""

    market: Market
    series: Market
    origins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """An origin of a market that got no forecast, and why."""

    market: Market
    origin: int
    error: StateError


def forecast_sets(
    ws: Workspace,
    reader: Reader,
    ladder: Ladder,
    questions: Sequence[Question],
    tracks: Tracks,
    *,
    mode: str | None = None,
) -> tuple[list[ForecastSet], list[Failure]]:
    """The sets of all questions, from stored candles that closed by each origin.

    Every version is asked once for all of them. `mode` is by default `live`, or `late` by the
    clock; a `replay` is issued at its origin, everything else now.
    """
    made: list[ForecastSet] = []
    failures: list[Failure] = []
    asked: list[tuple[Question, Candles, Bars, IntArray]] = []
    for question, candles in _candles(reader, ladder, questions):
        interval, series = question.market.interval_seconds, question.series
        origins = np.array(question.origins, dtype=np.int64)
        context = ladder.context_bars * interval
        there = np.searchsorted(candles.open_time, origins)
        there -= np.searchsorted(candles.open_time, origins - context)
        for origin, count in zip(question.origins, there, strict=True):
            if count < MIN_CANDLES:
                error = _too_few(reader, series, origin, int(count))
                failures.append(Failure(question.market, origin, error))
        origins = origins[there >= MIN_CANDLES]
        if len(origins):
            start = int(origins[0]) - context
            bars = dataset.lay_out(candles, series, start, int(origins[-1]))
            asked.append((question, candles, bars, (origins - start) // interval))
    answered = ladder.answers([(question.market, bars, at) for question, _, bars, at in asked])
    tracks.load(reader, _served_by(asked, answered), ladder.context_bars)
    for (question, candles, bars, at), answers in zip(asked, answered, strict=True):
        for place, answer in zip(at, answers, strict=True):
            made.append(_set(ws, question, candles, bars, int(place), answer, tracks, mode))
    return made, failures


def _served_by(
    asked: Sequence[tuple[Question, Candles, Bars, IntArray]], answered: Sequence[list[Answer]]
) -> Mapping[tuple[Market, str], int]:
    """The first origin that each version answers for each market."""
    first: dict[tuple[Market, str], int] = {}
    for (question, _, bars, at), answers in zip(asked, answered, strict=True):
        for place, (model, _) in zip(at, answers, strict=True):
            origin = bars.first + int(place) * bars.market.interval_seconds
            first.setdefault((question.market, model.version), origin)
    return first


def _candles(
    reader: Reader, ladder: Ladder, questions: Sequence[Question]
) -> list[tuple[Question, Candles]]:
    """What is stored for each question; one query for those that ask about the same range."""
    ranges: dict[tuple[int, int], list[Question]] = {}
    for question in questions:
        context = ladder.context_bars * question.market.interval_seconds
        range_ = (question.origins[0] - context, question.origins[-1])
        ranges.setdefault(range_, []).append(question)
    found: dict[Question, Candles] = {}
    for (start, end), alike in ranges.items():
        series = list(dict.fromkeys(question.series for question in alike))
        stored = reader.candles(series, start, end)
        found |= {question: stored[question.series] for question in alike}
    return [(question, found[question]) for question in questions]


def _set(
    ws: Workspace,
    question: Question,
    candles: Candles,
    bars: Bars,
    place: int,
    answer: Answer,
    tracks: Tracks,
    mode: str | None,
) -> ForecastSet:
    """One set, calibrated, in prices."""
    model, log_quantiles = answer
    market = question.market
    origin = bars.first + place * market.interval_seconds
    row = int(np.searchsorted(candles.open_time, origin)) - 1
    last_close = float(candles.close[row])
    if question.series != market:
        reasons = [f"source:{question.series.source}", model.fallback]
        model = replace(model, fallback=", ".join(reason for reason in reasons if reason))
    issued_at = float(origin) if mode == "replay" else ws.clock.now()
    if mode is None:
        mode = "late" if issued_at - origin > ws.settings.loop.late_seconds else "live"
    stale_bars = int(bars.age[place - 1])
    scale, log_quantiles = tracks.calibrate(
        market,
        model.version,
        origin,
        origin - stale_bars * market.interval_seconds,
        log_quantiles,
        candles if question.series == market else Candles.empty(),
    )
    made = ForecastSet(
        market=market,
        origin=origin,
        issued_at=issued_at,
        last_close=last_close,
        stale_bars=stale_bars,
        mode=mode,
        model=model,
        levels=ws.settings.model.levels,
        quantiles=dataset.to_prices(log_quantiles, last_close),
        scale=scale,
    )
    tracks.remember(made)
    return made


def _too_few(reader: Reader, series: Market, origin: int, count: int) -> StateError:
    span = reader.spans([series], origin).get(series)
    hint = "cryptocast fetch"
    if span is not None:
        hint += f", or for recorded candles --as-of {iso(span.last + series.interval_seconds)}"
    return StateError(
        f"{series.id} has {count} candles before {iso(origin)}, at least {MIN_CANDLES} are needed",
        code="state.not_enough_candles",
        hint=hint,
    )
