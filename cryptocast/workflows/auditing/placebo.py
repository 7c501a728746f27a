"""Check what the whole pipeline finds where there is nothing to find.

It learns and judges on simulated random walks whose distribution is known. Nothing can
forecast their direction, and nothing can beat the true distribution: a model that does has
seen the future.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from scipy import special

from cryptocast import evaluation, models
from cryptocast.bundles import Card, Forecaster
from cryptocast.compute.material import Material
from cryptocast.compute.scoring import WALK
from cryptocast.display import counted, percent
from cryptocast.evaluation.audits import (
    JudgedForecasts,
    edges,
    range_coverages,
    skill_against_truth,
)
from cryptocast.seams import ModelKind, Progress, TrainingRun
from cryptocast.values import FAILED, OK, WARNING, Candles, Check, FloatArray, IntArray

SIGMA = 1e-3
"""Volatility of a bar of the simulated walks: 10 bp."""

_SHARES = (0.8, 0.9)
_IMPOSSIBLE = 1e-4  # p-value of a skill that cannot exist
_LEAST_ORIGINS = 24
_INSIDE = 12  # moves within a bar, from which high and low come
_HINT = "a bug: the pipeline knows what it forecasts; do not trust what this version scored"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Repetition:
    """One walk, forecast by the fitted model, by the true distribution and by the baseline."""

    judged: JudgedForecasts
    loss: FloatArray  # [N, H] CRPS in bp
    truth: FloatArray  # [N, H]
    walk: FloatArray  # [N, H]
    learned_origins: int


def placebo(
    material: Material,
    kind: ModelKind,
    card: Card,
    *,
    repetitions: int,
    progress: Progress,
    seed: int = 0,
) -> tuple[list[Check], dict[str, Any]]:
    """Fit the kind with a version's parameters on walks in the material's place, and judge it.

    Return three checks and their figures: of the point forecast, of the distribution against
    the true one, and of the coverage of the 80 and 90 % ranges. A version that started at a base
    network is not judged by its coverage.
    """
    done = []
    for number in range(repetitions):
        progress.advance(number, repetitions, f"random walk {number + 1} of {repetitions}")
        walk = material.replaced(material.markets[:1], [random_walk(material, seed + number)])
        done.append(_repeat(walk, kind, card, number))
    walks = counted(repetitions, "random walk")
    progress.advance(repetitions, repetitions, walks)
    judged = JudgedForecasts.joined([repetition.judged for repetition in done])
    origins = int(np.isfinite(judged.targets).any(axis=1).sum())
    sample = f"{walks}, {origins:,} origins"
    if origins < _LEAST_ORIGINS:
        few = f"skipped: {sample}, {_LEAST_ORIGINS} are needed"
        return [Check("placebo", WARNING, few, "cryptocast fetch, or a greater --placebos")], {}
    point, point_figures = _point(judged, sample)
    distribution, skills = _distribution(done, sample)
    coverage, shares = _coverage(judged, sum(one.learned_origins for one in done), sample)
    if card.evidence is not None:
        detail = "not judged: its ranges come from a base network that learned on no such walks"
        hint = "cryptocast train --from scratch makes a version whose ranges can be judged"
        coverage = Check(coverage.name, WARNING, detail, hint)
    figures = {"repetitions": repetitions, "origins": origins, "point": point_figures}
    return [point, distribution, coverage], {**figures, **skills, "coverage": shares}


def random_walk(material: Material, seed: int) -> Candles:
    """Return candles without a gap, whose bars have independent normal returns of `SIGMA`."""
    step = material.interval_seconds
    bars = (material.end - material.start) // step
    random = np.random.default_rng(seed)
    moves = random.normal(0, SIGMA / math.sqrt(_INSIDE), size=(bars, _INSIDE))
    first = math.log(float(material.candles[0].close[0]))
    path = first + np.cumsum(moves).reshape(bars, _INSIDE)
    opening = np.concatenate(([first], path[:-1, -1]))
    return Candles.of(
        material.start + step * np.arange(bars, dtype=np.int64),
        np.exp(opening),
        np.exp(np.maximum(path.max(axis=1), opening)),
        np.exp(np.minimum(path.min(axis=1), opening)),
        np.exp(path[:, -1]),
        random.lognormal(1, 1, bars),
    )


def _repeat(walk: Material, kind: ModelKind, card: Card, number: int) -> _Repetition:
    levels = card.levels
    train, validation = walk.windows(walk.split.train), walk.windows(walk.split.validation)
    held_out = walk.windows(walk.split.judged)
    fitted = kind.fit(
        train, validation, levels=levels, params=card.params, run=TrainingRun(card.seed)
    )
    quantiles = Forecaster(fitted.onnx).log_returns(held_out)
    baseline = models.get(WALK).fit(train, validation, levels=levels, params={}, run=TrainingRun(0))
    walked = Forecaster(baseline.onnx).log_returns(held_out)
    steps = np.sqrt(np.arange(1, walk.horizon + 1))
    true = np.broadcast_to(SIGMA * np.outer(steps, special.ndtri(levels)), quantiles.shape)
    # Repetitions are not several markets at one time: each origin of each is an observation.
    moment: IntArray = number * 10**9 + np.arange(len(held_out), dtype=np.int64)
    return _Repetition(
        JudgedForecasts(quantiles, held_out.targets, moment, levels),
        loss=evaluation.crps_bp(quantiles, held_out.targets, levels),
        truth=evaluation.crps_bp(true, held_out.targets, levels),
        walk=evaluation.crps_bp(walked, held_out.targets, levels),
        learned_origins=len(train) + len(validation),
    )


def _point(judged: JudgedForecasts, sample: str) -> tuple[Check, list[dict[str, Any]]]:
    """Check whether the direction or the size of the next moves was known."""
    measured = edges(judged)
    figures = [dataclasses.asdict(edge) for edge in measured]
    if not measured:
        detail = f"{sample}: its median is the last price, there is no point forecast"
        return Check("placebo point", OK, detail), figures
    if impossible := [edge for edge in measured if edge.p_value < _IMPOSSIBLE]:
        detail = f"{sample}: {'; '.join(map(str, impossible))}: nothing can know that"
        return Check("placebo point", FAILED, detail, _HINT), figures
    detail = f"{sample}: {'; '.join(map(str, measured))}: no skill, as it should be"
    return Check("placebo point", OK, detail), figures


def _distribution(done: list[_Repetition], sample: str) -> tuple[Check, dict[str, Any]]:
    """Check whether the model beat the true distribution, which only luck or the future can.

    Beating the random walk is no sign: on a constant volatility its EWMA is honestly beaten,
    by the true distribution too.
    """
    found = skill_against_truth([one.loss for one in done], [one.truth for one in done])
    loss = np.concatenate([one.loss for one in done])
    walk = np.concatenate([one.walk for one in done])
    against_walk = 1 - evaluation.relative_crps(loss, walk)
    figures = {
        "skill_vs_truth": found.skill,
        "noise": found.noise,
        "p_value": found.p_value,
        "skill_vs_random_walk": against_walk,
    }
    noise = "" if found.noise is None else f" (chance moves it by +-{found.noise:.2%})"
    detail = (
        f"{sample}: CRPS skill {percent(found.skill, 2)} against the true distribution{noise}, "
        f"{percent(against_walk, 2)} against the random walk"
    )
    if found.p_value is not None and found.p_value < _IMPOSSIBLE:
        impossible = f"{detail}: nothing can beat the truth"
        return Check("placebo distribution", FAILED, impossible, _HINT), figures
    return Check("placebo distribution", OK, detail), figures


def _coverage(
    judged: JudgedForecasts, learned_origins: int, sample: str
) -> tuple[Check, list[dict[str, Any]]]:
    """Check whether the 80 and 90 % ranges hold as much as they claim."""
    coverages = range_coverages(judged, _SHARES, learned_origins)
    figures = [dataclasses.asdict(coverage) for coverage in coverages]
    if off := [coverage for coverage in coverages if coverage.off]:
        hint = "its ranges claim more or less than they hold: train it anew, or another kind"
        detail = f"{sample}: {'; '.join(map(str, off))}"
        return Check("placebo coverage", FAILED, detail, hint), figures
    shown = "; ".join(map(str, coverages)) or "the levels hold neither"
    return Check("placebo coverage", OK, f"{sample}: {shown}"), figures
