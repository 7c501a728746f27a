"""What was served in a range against what came, as the report shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from cryptocast import evaluation
from cryptocast.errors import CryptocastError
from cryptocast.evaluation import Candidate
from cryptocast.evaluation.comparison import effective_n, long_run_variance, wilson
from cryptocast.evaluation.metrics import below, inside
from cryptocast.evaluation.scores import CONFIDENCE
from cryptocast.reports.facts import (
    Calibration,
    CoverageCurve,
    MarketOutcomes,
    Rolling,
    Score,
    ServedVersion,
    pictured_steps,
)
from cryptocast.store import Served
from cryptocast.values import DAY_SECONDS, FloatArray, IntArray, Market
from cryptocast.workflows.learning.scoring import WALK, baseline
from cryptocast.workflows.watching.served import Found

_HOUR = 3_600
_ROLLING_POINTS = 400
_FEWEST_WINDOWS = 4  # the rolling window is a day, or this part of a range of few days
_Z = 1.6449  # both sides of a normal's 90 %


@dataclass(frozen=True, slots=True, eq=False)
class _Figures:
    """N served sets with what is computed of each origin and step, [N, H]."""

    served: Served
    targets: FloatArray
    loss: FloatArray  # CRPS in bp
    walk: FloatArray  # of the random walk; NaN where there is none
    in80: FloatArray
    in90: FloatArray

    def score(self, rows: object = slice(None), steps: slice = slice(None)) -> Score:
        """The means over these origins and steps."""
        mine, walk = self.loss[rows, steps], self.walk[rows, steps]  # type: ignore[index]  # any index of numpy's
        crps, other = _mean(mine), _mean(np.where(np.isfinite(mine), walk, np.nan))
        skill = None if crps is None or not other else 1 - crps / other
        in80, in90 = self.in80[rows, steps], self.in90[rows, steps]  # type: ignore[index]  # the same
        n = int(np.isfinite(mine).sum())
        return Score(n, crps, other, skill, _mean(in80), _mean(in90))


def outcomes(market: Market, levels: tuple[float, ...], found: Found) -> MarketOutcomes:
    """What the served sets came to; without candles before the first there is no skill."""
    served, targets = found.served, found.targets
    quantiles = np.log(served.quantiles / served.last_close[:, None, None])
    yardsticks = _yardsticks(found, levels)
    walk = yardsticks[0].quantiles if yardsticks else np.full_like(quantiles, np.nan)
    figures = _Figures(
        served,
        targets,
        evaluation.crps_bp(quantiles, targets, levels),
        evaluation.crps_bp(walk, targets, levels),
        inside(quantiles, targets, levels, 0.8),
        inside(quantiles, targets, levels, 0.9),
    )
    bounds: Mapping[int | None, tuple[float | None, float | None]] = {}
    if yardsticks and np.isfinite(targets).any():
        candidates = [Candidate("served", None, quantiles), *yardsticks]
        bounds = _bounds(evaluation.score(candidates, targets, levels, market.id))
    return _told(market, found.mode, levels, quantiles, figures, bounds)


def _yardsticks(found: Found, levels: tuple[float, ...]) -> list[Candidate]:
    """The random walk, and the other baseline that `evaluation.score` needs."""
    if found.learned is None:
        return []
    before, windows = found.learned
    try:
        return [baseline(kind, before, windows, levels) for kind in (WALK, "constant")]
    except CryptocastError:
        return []  # too few candles before the first set


def _told(
    market: Market,
    mode: str,
    levels: tuple[float, ...],
    quantiles: FloatArray,
    figures: _Figures,
    bounds: Mapping[int | None, tuple[float | None, float | None]],
) -> MarketOutcomes:
    served, targets = figures.served, figures.targets
    horizon = targets.shape[1]

    def bounded(step: int | None) -> Score:
        found = figures.score(steps=slice(None) if step is None else slice(step - 1, step))
        low, high = bounds.get(step, (None, None))
        return Score(
            found.n, found.crps_bp, found.walk_bp, found.skill, found.coverage80,
            found.coverage90, low, high,
        )  # fmt: skip

    day = served.origins // DAY_SECONDS * DAY_SECONDS
    return MarketOutcomes(
        mode=mode,
        levels=levels,
        origins=served.origins,
        last_close=served.last_close,
        quantiles=quantiles,
        targets=targets,
        total=bounded(None),
        steps=tuple(bounded(step) for step in range(1, horizon + 1)),
        days={int(at): figures.score(day == at) for at in np.unique(day)},
        rolling=_rolling(figures, market),
        by_step=_by_step(figures),
        by_hour=_by_hour(figures),
        calibrations=_calibrations(quantiles, targets, horizon),
        versions=_versions(figures),
    )


def _bounds(scores: pl.DataFrame) -> dict[int | None, tuple[float | None, float | None]]:
    """The interval of the skill of each step, and under None of all."""
    mine = scores.filter(pl.col("model") == "served")
    return {
        step: (low, high)
        for step, low, high in mine.select("step", "skill_low", "skill_high").rows()
    }


def _rolling(figures: _Figures, market: Market) -> Rolling | None:
    """Skill over a window of a day, by a ratio of means.

    The interval is normal, from the long-run variance of the ratio's influence (its
    linearisation) over the window: what neighbouring origins share is not counted twice.
    None where there is no random walk, or too little for a window.
    """
    known = np.isfinite(figures.loss) & np.isfinite(figures.walk)
    scored = known.any(axis=1)
    mine = np.where(known, figures.loss, 0.0).sum(axis=1)[scored]
    walk = np.where(known, figures.walk, 0.0).sum(axis=1)[scored]
    horizon = figures.targets.shape[1]
    window = min(DAY_SECONDS // market.interval_seconds, len(mine) // _FEWEST_WINDOWS)
    if window <= 2 * horizon:
        return None
    every = max((len(mine) - window) // _ROLLING_POINTS, 1)
    last = np.arange(len(mine), window - 1, -every)[::-1]
    rows = [_window(mine[i - window : i], walk[i - window : i], horizon) for i in last]
    skill, half = np.array(rows).T
    return Rolling(
        window, figures.served.origins[scored][last - 1], skill, skill - half, skill + half
    )


def _window(mine: FloatArray, walk: FloatArray, horizon: int) -> tuple[float, float]:
    """Skill, and half the width of its 90 % interval (NaN where there is too little to tell)."""
    if walk.mean() <= 0:
        return math.nan, math.nan
    skill = 1 - mine.mean() / walk.mean()
    influence = ((1 - skill) * walk - mine) / walk.mean()
    variance = long_run_variance(influence, horizon)
    half = math.nan if variance is None else _Z * math.sqrt(variance / len(mine))
    return float(skill), half


def _by_step(figures: _Figures) -> CoverageCurve:
    """Intervals by Wilson, at the number of independent origins that tell as much."""
    steps = np.arange(1, figures.targets.shape[1] + 1)

    def column(hits: FloatArray, step: int) -> tuple[FloatArray, float]:
        values = hits[:, step - 1]
        known = int(np.isfinite(values).sum())
        return values, effective_n(values, step) or known / step

    return _coverage(steps, figures, column)


def _by_hour(figures: _Figures) -> CoverageCurve:
    """Intervals by Wilson, as if each day told once: targets of one hour overlap."""
    hour = figures.served.origins // _HOUR % 24
    day = figures.served.origins // DAY_SECONDS

    def column(hits: FloatArray, at: int) -> tuple[FloatArray, float]:
        rows = (hour == at) & np.isfinite(hits).any(axis=1)
        return hits[rows].ravel(), float(len(np.unique(day[rows])))

    return _coverage(np.arange(24), figures, column)


def _coverage(
    at: IntArray, figures: _Figures, column: Callable[[FloatArray, int], tuple[FloatArray, float]]
) -> CoverageCurve:
    def row(hits: FloatArray, place: int) -> tuple[int, float, float, float]:
        values, alone = column(hits, place)
        share, n = _mean(values), int(np.isfinite(values).sum())
        if share is None or alone <= 0:
            return n, math.nan, math.nan, math.nan
        return n, share, *wilson(share, alone, CONFIDENCE)

    n, *in80 = np.array([row(figures.in80, int(place)) for place in at]).T
    _, *in90 = np.array([row(figures.in90, int(place)) for place in at]).T
    return CoverageCurve(at, n.astype(np.int64), *in80, *in90)


def _calibrations(
    quantiles: FloatArray, targets: FloatArray, horizon: int
) -> tuple[Calibration, ...]:
    counts = below(quantiles, targets)
    found = []
    for step in pictured_steps(horizon):
        n = int(np.isfinite(targets[:, step - 1]).sum())
        share = counts[step - 1] / max(n, 1)
        between = np.diff(share, prepend=0.0, append=1.0)
        found.append(Calibration(step, n, n / step, share, between))
    return tuple(found)


def _versions(figures: _Figures) -> tuple[ServedVersion, ...]:
    """Each version that served, in the order of its first set."""
    named = np.array(figures.served.versions)
    stood_in = np.array([reason is not None for reason in figures.served.fallbacks])
    return tuple(
        ServedVersion(
            version,
            int((named == version).sum()),
            int(stood_in[named == version].sum()),
            figures.score(named == version),
        )
        for version in dict.fromkeys(figures.served.versions)
    )


def _mean(values: FloatArray) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None
