"""Forecast with versions and baselines at the same origins, and score them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cryptocast import dataset, evaluation, models
from cryptocast.bundles import Bundle, Forecaster
from cryptocast.dataset import Part
from cryptocast.errors import CryptocastError, StateError
from cryptocast.evaluation import Candidate, Diagnosis
from cryptocast.seams import TrainingRun
from cryptocast.values import DAY_SECONDS, Candles, Fitted, FloatArray, Market, Windows

WALK = "random_walk"
"""The baseline that everything is compared with, and the last resort."""

BASE = "base"
"""The kind of a version that is a base network unchanged."""

YARDSTICK_BARS = 2_016
"""The bars that baselines learn from, and serve until they learn anew: a week of five minutes."""

CONSTANT = "constant"
"""The baseline whose ranges are as wide today as on any other day."""

_NEEDED = (WALK, CONSTANT)  # skills are relative to them
_WINDOWS_AT_ONCE = 2_048  # scored: whole chunks of a graph, 10 MB of quantiles

_SUMMARY = (
    "crps_bp",
    "skill_vs_random_walk",
    "skill_low",
    "skill_high",
    "skill_vs_constant",
    "coverage80",
    "coverage90",
    "calibration",
    "qlike",
)


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of versions and baselines on a part, and the figures that pictures show."""

    scores: pl.DataFrame  # `schemas.SCORES`
    diagnoses: tuple[Diagnosis, ...]  # of each version on each market
    left_out: tuple[str, ...]  # baselines that could not be fitted, and why

    @classmethod
    def joined(cls, parts: Iterable[Scored]) -> Scored:
        """Put the scores of several markets together; what was left out is said once."""
        every = list(parts)
        return cls(
            pl.concat([part.scores for part in every]),
            tuple(diagnosis for part in every for diagnosis in part.diagnoses),
            tuple(dict.fromkeys(reason for part in every for reason in part.left_out)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class MarketSeries:
    """One market's candles, and the versions that are scored on it."""

    market: Market
    candles: Candles
    versions: tuple[Bundle, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ScoringPlan:
    """All that the scores of the markets have in common."""

    learned: Part  # what the baselines learn from
    part: Part  # the origins to score
    span: Part  # what candles are laid out in
    levels: tuple[float, ...]
    lookback: int
    horizon: int
    max_stale_bars: int
    baselines: tuple[str, ...]


def score_market(series: MarketSeries, plan: ScoringPlan) -> Scored:
    """Score versions and baselines on the origins of one market.

    The baselines learn from the part `learned`, and every week anew. One that cannot be fitted is
    left out, unless skills are relative to it.
    """
    market, levels = series.market, plan.levels
    bars = dataset.lay_out(series.candles, market, plan.span.start, plan.span.end)

    def windows_of(part: Part) -> Windows:
        return dataset.cut(
            bars,
            part,
            lookback=plan.lookback,
            horizon=plan.horizon,
            max_stale_bars=plan.max_stale_bars,
        )

    before, windows = windows_of(plan.learned), windows_of(plan.part)
    candidates = [
        Candidate(b.card.kind, b.card.version, quantiles(b, windows, levels))
        for b in series.versions
    ]
    baselines, left_out = [], []
    for kind in plan.baselines:
        try:
            baselines.append(baseline(kind, before, windows, levels, market.interval_seconds))
        except CryptocastError as error:
            if kind in _NEEDED:
                raise
            left_out.append(f"{kind} is left out: {error.message}")
    every = [*candidates, *baselines]
    scores = evaluation.score(every, windows.targets, levels, market.id)
    walk = next(c.quantiles for c in baselines if c.is_walk)
    diagnoses = [evaluation.diagnose(c, walk, windows, levels, market) for c in candidates]
    return Scored(scores, tuple(diagnoses), tuple(left_out))


def baseline(
    kind: str,
    before: Windows,
    windows: Windows,
    levels: Sequence[float],
    bar_seconds: int,
    every: int = 1,
) -> Candidate:
    """Return the forecasts of a baseline that learns anew every week from the week before.

    `before` are the windows of one market before those that are forecast. A week is
    `YARDSTICK_BARS`, or 7 days where those are more bars; no target counts that lay ahead when it
    was learned. It learns from all windows, also where only every n-th is forecast: fewer would
    make a weaker baseline than the one that serves.
    """
    week = max(YARDSTICK_BARS * bar_seconds, 7 * DAY_SECONDS)
    first = int(windows.origin[0]) if len(windows) else 0
    forecasts = []
    for moment in range(first, int(windows.origin[-1]) + 1 if len(windows) else 1, week):
        old, new = (_known(part, moment - week, moment, bar_seconds) for part in (before, windows))
        start, end = np.searchsorted(windows.origin, [moment, moment + week])
        graph = Forecaster(_fitted(kind, old, new, levels).onnx)
        forecasts.append(
            graph.log_returns(windows.take(slice(-(-start // every) * every, end, every)))
        )
    return Candidate(kind, None, np.concatenate(forecasts))


def _known(windows: Windows, start: int, end: int, bar_seconds: int) -> Windows:
    """Return the windows with origins in `[start, end)`, with the targets known at its end."""
    first, last = np.searchsorted(windows.origin, [start, end])
    taken = windows.take(slice(first, last))
    ahead = bar_seconds * np.arange(1, windows.targets.shape[1] + 1)
    known = taken.origin[:, None] + ahead <= end
    return dataclasses.replace(taken, targets=np.where(known, taken.targets, np.nan))


def crps(fitted: Fitted, windows: Windows, levels: Sequence[float]) -> FloatArray:
    """Return the CRPS [N, H] of a model in bp."""
    forecaster, losses = Forecaster(fitted.onnx), []
    for first in range(0, max(len(windows), 1), _WINDOWS_AT_ONCE):
        some = windows.take(slice(first, first + _WINDOWS_AT_ONCE))
        losses.append(evaluation.crps_bp(forecaster.log_returns(some), some.targets, levels))
    return np.concatenate(losses)


def walk_crps(
    train: Windows, validation: Windows, windows: Windows, levels: Sequence[float]
) -> FloatArray:
    """Return the CRPS [N, H] in bp of the random walk that learned from what a model learns from.

    So the two differ in nothing but their kind.
    """
    return crps(_fitted(WALK, train, validation, levels), windows, levels)


def _fitted(kind: str, train: Windows, validation: Windows, levels: Sequence[float]) -> Fitted:
    return models.get(kind).fit(train, validation, levels=levels, params={}, run=TrainingRun(0))


def quantiles(bundle: Bundle, windows: Windows, levels: Sequence[float]) -> FloatArray:
    """Return a version's log-return quantiles [N, H, Q].

    Raises StateError if the version forecasts another horizon or other levels.
    """
    card = bundle.card
    horizon = windows.targets.shape[1]
    if card.levels != tuple(levels) or card.horizon != horizon:
        raise StateError(
            f"version {card.version} forecasts {card.horizon} steps at {len(card.levels)} levels, "
            f"the settings ask for {horizon} at {len(levels)}",
            code="state.other_version",
            hint="cryptocast train makes one that fits",
        )
    narrow = dataclasses.replace(windows, inputs=windows.inputs[:, -card.lookback :])
    return bundle.forecaster.log_returns(narrow)


def score_rows(scores: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield score rows as plain values; the step of all steps together is "all".

    As such they take ten times the memory of the frame: those of 500 markets a quarter of a
    gigabyte.
    """
    for row in scores.iter_rows(named=True):
        yield {**row, "step": "all" if row["step"] is None else row["step"]}


def summary(scores: pl.DataFrame, version: str, prefix: str = "test") -> Mapping[str, float]:
    """Return a version's figures over all steps for MLflow, averaged over the markets."""
    overall = scores.filter((pl.col("version") == version) & pl.col("step").is_null())
    means = overall.select(pl.col(figure).mean() for figure in _SUMMARY).row(0, named=True)
    return {f"{prefix}_{name}": value for name, value in means.items() if value is not None}
