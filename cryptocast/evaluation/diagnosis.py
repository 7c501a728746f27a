"""The figures that the pictures of an evaluation show, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.evaluation import metrics
from cryptocast.evaluation.scores import Candidate
from cryptocast.values import FloatArray, IntArray, Market, Windows

_HOUR = 3600
_BEFORE = 2  # horizons of the past that a fan shows


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """One forecast beside the prices before and after it; quote currency, Unix seconds."""

    times: IntArray  # [M] moments at which the closes were known
    closes: FloatArray  # [M]
    target_times: IntArray  # [H]
    quantiles: FloatArray  # [H, Q]


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """The calibration of a version, and its skill against the random walk by step and hour."""

    model: str
    version: str | None
    market: str
    levels: tuple[float, ...]  # [Q]
    observed: FloatArray  # [Q] share of targets at or below each quantile, all steps
    skill_by_step: FloatArray  # [H] against the random walk; NaN if unscored
    skill_by_hour: FloatArray  # [24] by the hour (UTC) of the origin
    origins_by_hour: IntArray  # [24]
    fan: Fan | None  # of the newest origin whose targets are all known, if there is one


def diagnose(
    candidate: Candidate,
    walk: FloatArray,
    windows: Windows,
    levels: Sequence[float],
    market: Market,
) -> Diagnosis:
    """Compare a candidate's forecasts of windows with the random walk's, `walk` [N, H, Q]."""
    mine = metrics.crps_bp(candidate.quantiles, windows.targets, levels)
    theirs = metrics.crps_bp(walk, windows.targets, levels)
    known = np.isfinite(theirs)
    mine, theirs = np.where(known, mine, 0.0), np.where(known, theirs, 0.0)
    below = metrics.below(candidate.quantiles, windows.targets).sum(axis=0)
    scored = known.any(axis=1)
    hour = windows.origin // _HOUR % 24

    def by_hour(values: FloatArray) -> FloatArray:
        return np.bincount(hour, weights=values.sum(axis=1), minlength=24).astype(np.float64)

    return Diagnosis(
        model=candidate.model,
        version=candidate.version,
        market=market.id,
        levels=tuple(levels),
        observed=_ratio(below.astype(np.float64), np.full(len(levels), float(known.sum()))),
        skill_by_step=1 - _ratio(mine.sum(axis=0), theirs.sum(axis=0)),
        skill_by_hour=1 - _ratio(by_hour(mine), by_hour(theirs)),
        origins_by_hour=np.bincount(hour[scored], minlength=24),
        fan=_fan(candidate.quantiles, windows, market),
    )


def _fan(quantiles: FloatArray, windows: Windows, market: Market) -> Fan | None:
    whole = np.flatnonzero(np.isfinite(windows.targets).all(axis=1))
    if not len(whole):
        return None
    at = int(whole[-1])
    horizon = quantiles.shape[1]
    shown = slice(max(at - _BEFORE * horizon, 0), at + 1)
    steps = np.arange(1, horizon + 1, dtype=np.int64)
    to_come = windows.origin[at] + steps * market.interval_seconds
    known = (windows.log_close[shown], windows.log_close[at] + windows.targets[at])
    return Fan(
        times=np.concatenate([windows.origin[shown], to_come]),
        closes=np.exp(np.concatenate(known)),
        target_times=to_come,
        quantiles=np.exp(windows.log_close[at] + quantiles[at]),
    )


def _ratio(values: FloatArray, over: FloatArray) -> FloatArray:
    blank = np.full(len(values), np.nan)
    return np.asarray(np.divide(values, over, out=blank, where=over > 0))
