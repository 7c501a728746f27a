"""What the page's pictures are drawn from, thinned to what a page can carry."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cryptocast.reports._html import span
from cryptocast.reports.facts import (
    CoverageCurve,
    MarketFacts,
    MarketOutcomes,
    ReportFacts,
    pictured_steps,
)
from cryptocast.values import Candles, Deployment, FloatArray, ForecastSet, IntArray

_BP = 1e4
_FINE_SECONDS = 3 * 86_400
"""So much of the newest past is never thinned."""

_MOST_ROWS = 9_000  # of candles and of forecasts, on a page
_FEWEST_ROWS = 1_500  # of those of one market
_SHARES = (0.9, 0.8, 0.5)  # of the ranges that are drawn, where the levels hold them
_GROUPS = 10  # of forecasts by their width
_LEAST_IN_GROUP = 5


def market_data(facts: ReportFacts, found: MarketFacts, sections: int) -> dict[str, Any]:
    """One market's columns. Times are Unix seconds, returns basis points."""
    most = max(_FEWEST_ROWS, _MOST_ROWS // max(sections, 1))
    outcomes = found.outcomes
    return {
        "symbol": found.market.symbol,
        "quote": found.market.quote,
        "interval": found.market.interval_seconds,
        "start": facts.start,
        "now": facts.now,
        "candles": _candles(found.candles, found.market.interval_seconds, most),
        "fan": None if found.newest is None else _fan(found.newest),
        "served": None if outcomes is None else _served(outcomes, facts, most),
        "skill": None if outcomes is None else _skill(outcomes),
        "coverage": None if outcomes is None else _both(outcomes),
        "calibration": [] if outcomes is None else _calibration(outcomes, facts),
        "deployments": _deployments(facts.deployed(found.market), facts),
        "incidents": [[i.kind, i.start, i.end, i.count, i.detail] for i in found.incidents],
    }


def pairs(levels: Sequence[float]) -> list[tuple[float, int, int]]:
    """The central ranges to draw, widest first: their share, and the index of either end."""
    there = [
        (round(levels[-1 - i] - levels[i], 9), i, len(levels) - 1 - i)
        for i in range(len(levels) // 2)
    ]
    nearest = {min(there, key=lambda pair: abs(pair[0] - share)) for share in _SHARES}
    return sorted(nearest, reverse=True)


def _candles(candles: Candles, interval: int, most: int) -> dict[str, Any]:
    merged = merge(candles, interval, most)
    columns = {"t": merged.open_time.tolist()}
    for name in ("open", "high", "low", "close"):
        columns[name[0]] = _significant(getattr(merged, name))
    return columns


def merge(candles: Candles, interval: int, most: int) -> Candles:
    """At most about `most` candles: older ones stand for several bars, the newest for one each."""
    if len(candles) <= most:
        return candles
    fine = int(candles.open_time[-1]) - _FINE_SECONDS
    old = int(np.searchsorted(candles.open_time, fine))
    room = max(most - (len(candles) - old), 1)
    width = interval * math.ceil(old / room)
    group = candles.open_time[:old] // width
    first = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    last = np.append(first[1:], old) - 1
    coarse = Candles.of(
        candles.open_time[first],
        candles.open[first],
        np.maximum.reduceat(candles.high[:old], first),
        np.minimum.reduceat(candles.low[:old], first),
        candles.close[last],
    )
    return Candles.concatenate([coarse, candles.take(slice(old, None))])


def _fan(newest: ForecastSet) -> dict[str, Any]:
    steps = range(1, len(newest.quantiles) + 1)
    middle = len(newest.levels) // 2
    return {
        "origin": newest.origin,
        "last": newest.last_close,
        "t": [newest.target_time(step) for step in steps],
        "median": _significant(newest.quantiles[:, middle]),
        "pairs": [
            {
                "share": share,
                "low": _significant(newest.quantiles[:, low]),
                "high": _significant(newest.quantiles[:, high]),
            }
            for share, low, high in pairs(newest.levels)
        ],
    }


def _served(found: MarketOutcomes, facts: ReportFacts, most: int) -> dict[str, Any]:
    """The shown steps of a sample of the sets: the older, the sparser."""
    rows = sample(found.origins, most)
    return {
        "mode": found.mode,
        "origin": found.origins[rows].tolist(),
        "last": _significant(found.last_close[rows]),
        "steps": [
            {
                "step": step,
                "ahead": step * facts.interval_seconds,
                "label": span(step * facts.interval_seconds),
                "median": _bp(found.quantiles[rows, step - 1, len(found.levels) // 2]),
                "actual": _bp(found.targets[rows, step - 1]),
                "pairs": [
                    {
                        "share": share,
                        "low": _bp(found.quantiles[rows, step - 1, low]),
                        "high": _bp(found.quantiles[rows, step - 1, high]),
                    }
                    for share, low, high in pairs(found.levels)[:2]
                ],
                "width": width(found, step),
            }
            for step in pictured_steps(facts.horizon)
        ],
    }


def sample(origins: IntArray, most: int) -> IntArray:
    """[N'] rows: each of the newest, and of the older ones so many that `most` is kept."""
    if len(origins) <= most:
        return np.arange(len(origins))
    old = int(np.searchsorted(origins, origins[-1] - _FINE_SECONDS))
    every = math.ceil(old / max(most - (len(origins) - old), 1))
    return np.concatenate([np.arange(0, old, every), np.arange(old, len(origins))])


def width(found: MarketOutcomes, step: int) -> dict[str, Any] | None:
    """Do wide forecasts come before wild moves? Groups of alike width, narrowest first.

    `forecast` is half the width of a central range of about 50 %, `actual` how far from the
    median that share of the prices in the group stayed. None where there are too few.
    """
    share, low, high = min(pairs(found.levels), key=lambda pair: abs(pair[0] - 0.5))
    known = np.isfinite(found.targets[:, step - 1])
    quantiles, targets = found.quantiles[known, step - 1], found.targets[known, step - 1]
    if len(targets) < _GROUPS * _LEAST_IN_GROUP:
        return None
    half = _BP * (quantiles[:, high] - quantiles[:, low]) / 2
    moved = _BP * np.abs(targets - quantiles[:, len(found.levels) // 2])
    groups = np.array_split(np.argsort(half, kind="stable"), _GROUPS)
    return {
        "share": share,
        "forecast": _rounded([float(half[rows].mean()) for rows in groups]),
        "actual": _rounded([float(np.quantile(moved[rows], share)) for rows in groups]),
        "n": [len(rows) for rows in groups],
    }


def _skill(found: MarketOutcomes) -> dict[str, Any]:
    rolling = found.rolling
    steps = found.steps
    return {
        "total": _plain(found.total.skill),
        "rolling": None
        if rolling is None
        else {
            "bars": rolling.window_bars,
            "t": rolling.times.tolist(),
            "skill": _rounded(rolling.skill, 5),
            "low": _rounded(rolling.low, 5),
            "high": _rounded(rolling.high, 5),
        },
        "steps": {
            "skill": [_plain(s.skill) for s in steps],
            "low": [_plain(s.low) for s in steps],
            "high": [_plain(s.high) for s in steps],
        },
    }


def _both(found: MarketOutcomes) -> dict[str, Any]:
    return {"step": _coverage(found.by_step), "hour": _coverage(found.by_hour)}


def _coverage(found: CoverageCurve) -> dict[str, Any]:
    columns: dict[str, Any] = {"at": found.at.tolist(), "n": found.n.tolist()}
    for name in ("share80", "low80", "high80", "share90", "low90", "high90"):
        columns[name] = _rounded(getattr(found, name), 4)
    return columns


def _calibration(found: MarketOutcomes, facts: ReportFacts) -> list[dict[str, Any]]:
    return [
        {
            "step": each.step,
            "label": span(each.step * facts.interval_seconds),
            "n": each.n,
            "levels": list(found.levels),
            "below": _rounded(each.below, 4),
            "between": _rounded(each.between, 4),
            "expected": _rounded(np.diff(found.levels, prepend=0.0, append=1.0), 6),
            "chance": _rounded(chance(found.levels, each.alone), 4),
        }
        for each in found.calibrations
        if each.n
    ]


def chance(levels: Sequence[float], alone: float) -> FloatArray:
    """[Q + 1] how far from its share a bar of the PIT's histogram may be by luck, 9 times of 10."""
    share = np.diff(levels, prepend=0.0, append=1.0)
    return np.asarray(1.645 * np.sqrt(share * (1 - share) / max(alone, 1.0)))


def _deployments(deployments: Sequence[Deployment], facts: ReportFacts) -> list[dict[str, Any]]:
    """What served in the range, from when to when, and what it had promised."""
    ends = [*(d.at for d in deployments), facts.now][1:]
    return [
        {"t": d.at, "end": end, "version": d.model_version, "promise": promise(d)}
        for d, end in zip(deployments, ends, strict=True)
        if end >= facts.start
    ]


def promise(deployment: Deployment) -> float | None:
    """The skill against the random walk that the gate measured; None where there was none."""
    try:
        gate = json.loads(deployment.scores or "{}").get("gate") or []
        found = [c["skill"] for c in gate if "random walk" in str(c.get("opponent"))]
    except (ValueError, AttributeError, KeyError, TypeError):
        return None  # written by another version of this program
    return _plain(found[0]) if found else None


def _bp(returns: FloatArray) -> list[float | None]:
    return _rounded(_BP * returns, 2)


def _rounded(values: ArrayLike, decimals: int = 3) -> list[float | None]:
    return [_plain(v) for v in np.round(np.asarray(values, dtype=float), decimals).tolist()]


def _significant(values: FloatArray) -> list[float | None]:
    return [_plain(float(f"{v:.7g}")) for v in values.tolist()]


def _plain(value: float | None) -> float | None:
    """JSON knows no NaN."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else value
