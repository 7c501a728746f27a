"""What was served over a range and what came of it, in the figures that the report shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from cryptocast import evaluation
from cryptocast.compute.scoring import CONSTANT, WALK, baseline
from cryptocast.errors import CryptocastError
from cryptocast.evaluation import Candidate
from cryptocast.evaluation.outcomes import (
    ServedFigures,
    coverage_by_hour,
    coverage_by_step,
    rolling_skill,
    step_calibration,
)
from cryptocast.reports.facts import (
    CoverageCurve,
    MarketOutcomes,
    ServedVersion,
    pictured_steps,
)
from cryptocast.store import Served
from cryptocast.values import DAY_SECONDS, Market, Score
from cryptocast.workflows.watching.served import ServedSets


def outcomes(market: Market, sets: ServedSets) -> MarketOutcomes:
    """Compute what served sets came to; without candles before the first there is no skill."""
    served, targets, levels = sets.served, sets.targets, sets.levels
    quantiles = np.log(served.quantiles / served.last_close[:, None, None])
    baselines = _baselines(market, sets)
    walk = baselines[0].quantiles if baselines else np.full_like(quantiles, np.nan)
    figures = ServedFigures.of(quantiles, walk, targets, levels)
    bounds: dict[int | None, tuple[float | None, float | None]] = {}
    if baselines and np.isfinite(targets).any():
        candidates = [Candidate("served", None, quantiles), *baselines]
        bounds = _skill_bounds(evaluation.score(candidates, targets, levels, market.id))
    steps = range(1, targets.shape[1] + 1)
    day_bars = DAY_SECONDS // market.interval_seconds
    day = served.origins // DAY_SECONDS * DAY_SECONDS
    return MarketOutcomes(
        mode=sets.mode,
        levels=levels,
        origins=served.origins,
        last_close=served.last_close,
        quantiles=quantiles,
        targets=targets,
        total=_score(figures, *bounds.get(None, (None, None))),
        steps=tuple(
            _score(figures.at_step(step), *bounds.get(step, (None, None))) for step in steps
        ),
        days={int(at): _score(figures.at_origins(day == at)) for at in np.unique(day)},
        rolling=rolling_skill(figures.loss, figures.walk, served.origins, day_bars),
        by_step=CoverageCurve(
            np.array(steps), coverage_by_step(figures.in80), coverage_by_step(figures.in90)
        ),
        by_hour=CoverageCurve(
            np.arange(24),
            coverage_by_hour(figures.in80, served.origins),
            coverage_by_hour(figures.in90, served.origins),
        ),
        calibrations=tuple(
            step_calibration(quantiles, targets, step) for step in pictured_steps(len(steps))
        ),
        versions=_versions(figures, served),
    )


def _baselines(market: Market, sets: ServedSets) -> list[Candidate]:
    """Return the random walk and the other baseline that `evaluation.score` needs."""
    if sets.windows is None:
        return []
    try:
        seconds = market.interval_seconds
        return [baseline(kind, *sets.windows, sets.levels, seconds) for kind in (WALK, CONSTANT)]
    except CryptocastError:
        return []  # too few candles before the first set


def _skill_bounds(scores: pl.DataFrame) -> dict[int | None, tuple[float | None, float | None]]:
    """Return the 90 % interval of the served skill by step; None: over all steps."""
    served = scores.filter(pl.col("model") == "served").select("step", "skill_low", "skill_high")
    return {step: (low, high) for step, low, high in served.rows()}


def _score(figures: ServedFigures, low: float | None = None, high: float | None = None) -> Score:
    return dataclasses.replace(figures.means(), low=low, high=high)


def _versions(figures: ServedFigures, served: Served) -> tuple[ServedVersion, ...]:
    """Return each version that served, in the order of its first set."""
    versions = np.array(served.versions)
    stood_in = np.array([reason is not None for reason in served.fallbacks])
    return tuple(
        ServedVersion(
            version,
            int((versions == version).sum()),
            int(stood_in[versions == version].sum()),
            _score(figures.at_origins(versions == version)),
        )
        for version in dict.fromkeys(served.versions)
    )
