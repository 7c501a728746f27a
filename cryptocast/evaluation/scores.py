"""The table of scores: every candidate and baseline on the same origins and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cryptocast import schemas
from cryptocast.evaluation import metrics
from cryptocast.evaluation.comparison import diebold_mariano
from cryptocast.values import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model's forecasts [N, H, Q] as log-returns; a baseline has no version."""

    model: str
    version: str | None
    quantiles: FloatArray


def score(
    candidates: Sequence[Candidate],
    targets: FloatArray,
    levels: Sequence[float],
    market: str,
) -> pl.DataFrame:
    """Scores of one market (`schemas.SCORES`): each candidate, each step, and all steps.

    Among the candidates must be the baselines `random_walk` and `constant` (version None).
    `targets` [N, H] are log-returns in the order of time.
    """
    losses = [metrics.crps_bp(c.quantiles, targets, levels) for c in candidates]
    baseline = {c.model: loss for c, loss in zip(candidates, losses, strict=True) if not c.version}
    walk, constant = baseline["random_walk"], baseline["constant"]
    rows = [
        row
        for candidate, loss in zip(candidates, losses, strict=True)
        for row in _rows(candidate, loss, walk, constant, targets, levels, market)
    ]
    return schemas.check(pl.DataFrame(rows, schema=schemas.SCORES), schemas.SCORES)


def relative_crps(loss: FloatArray, baseline: FloatArray) -> float:
    """Mean over steps of CRPS relative to the baseline's: below 1 is better.

    Both [N, H] on the same origins. Each step counts alike, however wide it is. NaN where
    nothing is scored.
    """
    ratios = _mean(loss) / _mean(baseline)
    return float(np.mean(ratios)) if len(ratios) else float("nan")


def _rows(
    candidate: Candidate,
    loss: FloatArray,
    walk: FloatArray,
    constant: FloatArray,
    targets: FloatArray,
    levels: Sequence[float],
    market: str,
) -> Iterator[dict[str, Any]]:
    middle = metrics.median(candidate.quantiles, levels)
    error = np.abs(targets - middle) * metrics.BP
    naive = np.abs(targets) * metrics.BP
    hit = np.where(
        (middle != 0) & (targets != 0) & np.isfinite(targets),
        np.sign(middle) == np.sign(targets),
        np.nan,
    )
    inside80 = metrics.inside(candidate.quantiles, targets, levels, 0.8)
    inside90 = metrics.inside(candidate.quantiles, targets, levels, 0.9)
    horizon = targets.shape[1]
    for step in (None, *range(1, horizon + 1)):
        at = slice(None) if step is None else slice(step - 1, step)
        better = walk[:, at] - loss[:, at]
        yield {
            "model": candidate.model,
            "version": candidate.version,
            "market": market,
            "step": step,
            "n": int(np.isfinite(targets[:, at]).sum()),
            "crps_bp": _figure(loss[:, at]),
            "mae_bp": _figure(error[:, at]),
            "relative_mae": _ratio(error[:, at], naive[:, at]),
            "direction_accuracy": _figure(hit[:, at]),
            "coverage80": _figure(inside80[:, at]),
            "coverage90": _figure(inside90[:, at]),
            "skill_vs_random_walk": _skill(loss[:, at], walk[:, at]),
            "skill_vs_constant": _skill(loss[:, at], constant[:, at]),
            "p_value": None
            if candidate.version is None and candidate.model == "random_walk"
            else diebold_mariano(_by_origin(better), step or horizon),
        }


def _mean(values: FloatArray) -> FloatArray:
    """Means over origins [H], of the steps that have any."""
    scored = np.isfinite(values).any(axis=0)
    return np.asarray(np.nanmean(values[:, scored], axis=0))


def _by_origin(values: FloatArray) -> FloatArray:
    """[N] means over the steps that an origin has; NaN where it has none."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _figure(values: FloatArray) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _ratio(values: FloatArray, baseline: FloatArray) -> float | None:
    one, other = _figure(values), _figure(baseline)
    return one / other if one is not None and other else None


def _skill(loss: FloatArray, baseline: FloatArray) -> float | None:
    ratio = _ratio(loss, baseline)
    return None if ratio is None else 1 - ratio
