"""What does the whole pipeline find where there is nothing to find?

It learns and judges on simulated random walks whose distribution is known. Nothing can
forecast their direction, and nothing can beat the truth: who does has seen the future.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from scipy import stats

from cryptocast import dataset, evaluation, models
from cryptocast.bundles import Card, Forecaster
from cryptocast.evaluation.comparison import diebold_mariano
from cryptocast.evaluation.metrics import inside
from cryptocast.seams import ModelKind, Progress
from cryptocast.values import FAILED, OK, WARNING, Candles, Check, FloatArray, IntArray
from cryptocast.workflows.auditing.unseen import Edge, Judged, edges, effective, joined, span
from cryptocast.workflows.learning.material import Material

SIGMA = 1e-3
"""Volatility of a bar of the simulated walks: 10 bp."""

_IMPOSSIBLE = 1e-4  # p-value of a skill that cannot be there
_ERRORS = 3.0  # standard errors that a coverage may be off by
_LEAST_ORIGINS = 24
_INSIDE = 12  # moves within a bar, that high and low come from
_HINT = "a bug: the pipeline knows what it forecasts; do not trust what this version scored"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Repetition:
    """One walk: how the fitted model answered, how the truth and the baseline would have."""

    judged: Judged
    loss: FloatArray  # [N, H] CRPS in bp
    truth: FloatArray  # [N, H]
    walk: FloatArray  # [N, H]
    learned: int  # origins


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

    Three checks: of the point forecast, of the distribution against the true one, and of the
    coverage of the 80 and 90 % ranges, of which a base network's are no matter; and their figures.
    """
    done = []
    for number in range(repetitions):
        progress.advance(number, repetitions, f"random walk {number + 1} of {repetitions}")
        walk = _placed(material, random_walk(material, seed + number))
        done.append(_repeat(walk, kind, card, number))
    walks = "1 random walk" if repetitions == 1 else f"{repetitions} random walks"
    progress.advance(repetitions, repetitions, walks)
    judged = joined([one.judged for one in done])
    origins = int(np.isfinite(judged.targets).any(axis=1).sum())
    told = f"{walks}, {origins:,} origins"
    if origins < _LEAST_ORIGINS:
        few = f"skipped: {told}, {_LEAST_ORIGINS} are needed"
        return [Check("placebo", WARNING, few, "cryptocast fetch, or a greater --placebos")], {}
    point, found = _point(judged, told)
    distribution, skills = _distribution(done, told)
    coverage, shares = _coverage(judged, sum(one.learned for one in done), told)
    if card.evidence is not None:
        detail = "not judged: its ranges come from a base network that learned on no such walks"
        hint = "cryptocast train --from scratch makes a version whose ranges can be"
        coverage = Check(coverage.name, WARNING, detail, hint)
    figures = {
        "repetitions": repetitions,
        "origins": origins,
        "point": [dataclasses.asdict(edge) for edge in found],
    }
    return [point, distribution, coverage], {**figures, **skills, "coverage": shares}


def random_walk(material: Material, seed: int) -> Candles:
    """Candles with independent normal returns of one volatility, a bar each, without a gap."""
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


def _placed(material: Material, candles: Candles) -> Material:
    """The material with a walk instead of its markets: the same range, split and windows."""
    market = material.markets[0]
    bars = dataset.lay_out(candles, market, material.start, material.end)
    return dataclasses.replace(material, markets=(market,), candles=(candles,), bars=(bars,))


def _repeat(walk: Material, kind: ModelKind, card: Card, number: int) -> _Repetition:
    levels = card.levels
    train, validation = walk.windows(walk.split.train), walk.windows(walk.split.validation)
    fitted = kind.fit(train, validation, levels=levels, params=card.params, seed=card.seed)
    held_out = walk.windows(walk.split.judged)
    quantiles = Forecaster(fitted.onnx).log_returns(held_out)
    baseline = models.get("random_walk").fit(train, validation, levels=levels, params={}, seed=0)
    walked = Forecaster(baseline.onnx).log_returns(held_out)
    steps = np.sqrt(np.arange(1, walk.horizon + 1))
    true = np.broadcast_to(SIGMA * np.outer(steps, stats.norm.ppf(levels)), quantiles.shape)
    # Repetitions are no two markets of one time: each origin of each is an observation.
    moment: IntArray = number * 10**9 + np.arange(len(held_out), dtype=np.int64)
    return _Repetition(
        Judged(quantiles, held_out.targets, moment, levels),
        loss=evaluation.crps_bp(quantiles, held_out.targets, levels),
        truth=evaluation.crps_bp(true, held_out.targets, levels),
        walk=evaluation.crps_bp(walked, held_out.targets, levels),
        learned=len(train) + len(validation),
    )


def _point(judged: Judged, told: str) -> tuple[Check, list[Edge]]:
    """Whether the direction or the size of the next moves was known."""
    found = edges(judged)
    if not found:
        detail = f"{told}: its median is the last price, there is no point forecast"
        return Check("placebo point", OK, detail), []
    impossible = [edge for edge in found if edge.p_value < _IMPOSSIBLE]
    detail = f"{told}: " + "; ".join(map(str, impossible or found))
    if impossible:
        return Check("placebo point", FAILED, f"{detail}: nothing can know that", _HINT), found
    return Check("placebo point", OK, f"{detail}: no skill, as it should be"), found


def _distribution(done: list[_Repetition], told: str) -> tuple[Check, dict[str, Any]]:
    """Whether it beat the true distribution, which only luck or the future can.

    Not the random walk's: on a constant volatility EWMA is honestly beaten, by the truth too.
    """
    loss, truth, walk = (
        np.concatenate([getattr(one, name) for one in done]) for name in ("loss", "truth", "walk")
    )
    known = np.isfinite(truth).any(axis=0)
    relative = (truth - loss)[:, known] / np.nanmean(truth[:, known], axis=0)
    scored = np.isfinite(relative).any(axis=1)
    difference = np.nanmean(relative[scored], axis=1)
    chance = diebold_mariano(difference, loss.shape[1])
    skill = 1 - evaluation.relative_crps(loss, truth)
    against_walk = 1 - evaluation.relative_crps(loss, walk)
    figures = {"skill_vs_truth": skill, "p_value": chance, "skill_vs_random_walk": against_walk}
    detail = (
        f"{told}: CRPS skill {skill:+.2%} against the true distribution, "
        f"{against_walk:+.2%} against the random walk"
    )
    if chance is not None and chance < _IMPOSSIBLE:
        impossible = f"{detail}: nothing can beat the truth"
        return Check("placebo distribution", FAILED, impossible, _HINT), figures
    return Check("placebo distribution", OK, detail), figures


def _coverage(judged: Judged, learned: int, told: str) -> tuple[Check, list[dict[str, Any]]]:
    """Whether the 80 and 90 % ranges hold as much as they say.

    Within three standard errors of a binomial share, at the effective numbers of origins that
    were judged and of those that the ranges were learned from.
    """
    rows: list[dict[str, Any]] = []
    horizon = judged.targets.shape[1]
    for share in (0.8, 0.9):
        hit = inside(judged.quantiles, judged.targets, judged.levels, share)
        for steps in dict.fromkeys((1, horizon)):
            column = hit[:, :steps]
            origins = int(np.isfinite(column).any(axis=1).sum())
            if not origins:  # the levels hold no such range
                continue
            weight = 1 / effective(origins, steps) + 1 / effective(max(learned, 1), steps)
            rows.append(
                {
                    "share": share,
                    "steps": steps,
                    "coverage": float(np.nanmean(column)),
                    "tolerance": _ERRORS * math.sqrt(share * (1 - share) * weight),
                }
            )
    off = [row for row in rows if abs(row["coverage"] - row["share"]) > row["tolerance"]]
    shown = "; ".join(
        f"{row['coverage']:.1%} in the {row['share']:.0%} range at {span(row['steps'])} "
        f"(+-{row['tolerance']:.1%})"
        for row in off or rows
    )
    if off:
        hint = "its ranges say more or less than they know: train it anew, or another kind"
        return Check("placebo coverage", FAILED, f"{told}: {shown}", hint), rows
    return Check("placebo coverage", OK, f"{told}: {shown or 'the levels hold neither'}"), rows
