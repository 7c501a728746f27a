"""The numbers behind the pictures and tables of the page, thinned to what a page can carry."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cryptocast.display import span
from cryptocast.reports.facts import (
    CoverageCurve,
    MarketFacts,
    MarketOutcomes,
    ReportFacts,
    pairs,
    pictured_steps,
)
from cryptocast.values import DAY_SECONDS, Candles, Deployment, FloatArray, ForecastSet, IntArray

_BP = 1e4
_FINE_SECONDS = 3 * DAY_SECONDS
"""Length of the newest past that is never thinned."""

_MOST_ROWS = 9_000  # candles, and as many forecasts, on a page
_FEWEST_ROWS = 1_500  # candles or forecasts of one market, however many markets there are
_GROUPS = 10  # groups of forecasts by their width
_LEAST_IN_GROUP = 5


def market_data(facts: ReportFacts, market: MarketFacts, sections: int) -> dict[str, Any]:
    """Return the columns of one market, of which the page has `sections`.

    Times are Unix seconds, returns are basis points.
    """
    most = max(_FEWEST_ROWS, _MOST_ROWS // max(sections, 1))
    outcomes = market.outcomes
    columns = {
        "symbol": market.market.symbol,
        "quote": market.market.quote,
        "interval": market.market.interval_seconds,
        "start": facts.start,
        "now": facts.now,
        "candles": _candles(market.candles, market.market.interval_seconds, most),
        "fan": None if market.newest is None else _fan(market.newest),
        "cone": None if market.cone is None else _fan(market.cone),
        "deployments": _deployments(facts.deployed(market.market), facts),
        "incidents": [[i.kind, i.start, i.end, i.count, i.detail] for i in market.incidents],
    }
    if outcomes is None:
        return columns | {"served": None, "skill": None, "coverage": None, "calibration": []}
    coverage = {"step": _coverage(outcomes.by_step), "hour": _coverage(outcomes.by_hour)}
    return columns | {
        "served": _served(outcomes, facts, most),
        "skill": _skill(outcomes),
        "coverage": coverage,
        "calibration": _calibration(outcomes, facts),
    }


def _candles(candles: Candles, interval: int, most: int) -> dict[str, Any]:
    merged = merge(candles, interval, most)
    columns = {"t": merged.open_time.tolist()}
    for name in ("open", "high", "low", "close"):
        columns[name[0]] = _significant(getattr(merged, name))
    return columns


def merge(candles: Candles, interval: int, most: int) -> Candles:
    """Return at most about `most` candles: the older ones merged, the newest one per bar."""
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
            _range(share, newest.quantiles[:, [low, high]], _significant)
            for share, low, high in pairs(newest.levels)
        ],
    }


def _range(share: float, ends: FloatArray, write: Callable[[FloatArray], Any]) -> dict[str, Any]:
    """Return one central range from its two ends [N, 2]."""
    return {"share": share, "low": write(ends[:, 0]), "high": write(ends[:, 1])}


def _served(outcomes: MarketOutcomes, facts: ReportFacts, most: int) -> dict[str, Any]:
    """Return the pictured steps of a sample of the sets: the older, the sparser."""
    rows = sample(outcomes.origins, most)
    return {
        "mode": outcomes.mode,
        "origin": outcomes.origins[rows].tolist(),
        "last": _significant(outcomes.last_close[rows]),
        "steps": [
            {
                "step": step,
                "ahead": step * facts.interval_seconds,
                "label": span(step * facts.interval_seconds),
                "median": _bp(outcomes.quantiles[rows, step - 1, len(outcomes.levels) // 2]),
                "actual": _bp(outcomes.targets[rows, step - 1]),
                "pairs": [
                    _range(share, outcomes.quantiles[rows, step - 1][:, [low, high]], _bp)
                    for share, low, high in pairs(outcomes.levels)[:2]
                ],
                "width": width(outcomes, step),
            }
            for step in pictured_steps(facts.horizon)
        ],
    }


def sample(origins: IntArray, most: int) -> IntArray:
    """Return the rows to keep [N'], about `most`: all of the newest, every so many of the older."""
    if len(origins) <= most:
        return np.arange(len(origins))
    old = int(np.searchsorted(origins, origins[-1] - _FINE_SECONDS))
    every = math.ceil(old / max(most - (len(origins) - old), 1))
    return np.concatenate([np.arange(0, old, every), np.arange(old, len(origins))])


def width(outcomes: MarketOutcomes, step: int) -> dict[str, Any] | None:
    """Group the forecasts by width, narrowest first, to see whether wide ones precede wild moves.

    `forecast` is half the width of a central range of about 50 %; `actual` is how far from the
    median that share of the prices in the group stayed. Return None if there are too few.
    """
    share, low, high = min(pairs(outcomes.levels), key=lambda pair: abs(pair[0] - 0.5))
    scored = np.isfinite(outcomes.targets[:, step - 1])
    quantiles, targets = outcomes.quantiles[scored, step - 1], outcomes.targets[scored, step - 1]
    if len(targets) < _GROUPS * _LEAST_IN_GROUP:
        return None
    half = _BP * (quantiles[:, high] - quantiles[:, low]) / 2
    moved = _BP * np.abs(targets - quantiles[:, len(outcomes.levels) // 2])
    groups = np.array_split(np.argsort(half, kind="stable"), _GROUPS)
    return {
        "share": share,
        "forecast": _rounded([float(half[rows].mean()) for rows in groups]),
        "actual": _rounded([float(np.quantile(moved[rows], share)) for rows in groups]),
        "n": [len(rows) for rows in groups],
    }


def _skill(outcomes: MarketOutcomes) -> dict[str, Any]:
    rolling = outcomes.rolling
    ends = ("skill", "low", "high")
    return {
        "total": _plain(outcomes.total.skill),
        "rolling": None
        if rolling is None
        else {
            "bars": rolling.window_bars,
            "t": rolling.times.tolist(),
            **{name: _rounded(getattr(rolling, name), 5) for name in ends},
        },
        "steps": {name: [_plain(getattr(s, name)) for s in outcomes.steps] for name in ends},
    }


def _coverage(curve: CoverageCurve) -> dict[str, Any]:
    columns: dict[str, Any] = {"at": curve.at.tolist(), "n": curve.in80.n.tolist()}
    for percent, shares in (("80", curve.in80), ("90", curve.in90)):
        for name in ("share", "low", "high"):
            columns[name + percent] = _rounded(getattr(shares, name), 4)
    return columns


def _calibration(outcomes: MarketOutcomes, facts: ReportFacts) -> list[dict[str, Any]]:
    return [
        {
            "step": one.step,
            "label": span(one.step * facts.interval_seconds),
            "n": one.n,
            "levels": list(outcomes.levels),
            "below": _rounded(one.below, 4),
            "between": _rounded(one.between, 4),
            "expected": _rounded(np.diff(outcomes.levels, prepend=0.0, append=1.0), 6),
            "chance": _rounded(chance(outcomes.levels, one.alone), 4),
        }
        for one in outcomes.calibrations
        if one.n
    ]


def chance(levels: Sequence[float], alone: float) -> FloatArray:
    """Return how far from its share each bar of the PIT's histogram [Q + 1] is by luck, at 90 %.

    `alone` is the number of independent outcomes.
    """
    share = np.diff(levels, prepend=0.0, append=1.0)
    return np.asarray(1.645 * np.sqrt(share * (1 - share) / max(alone, 1.0)))


def _deployments(deployments: Sequence[Deployment], facts: ReportFacts) -> list[dict[str, Any]]:
    """Return what served within the range, from when to when, and its promised skill."""
    ends = [*(d.at for d in deployments), facts.now][1:]
    return [
        {"t": d.at, "end": end, "version": d.model_version, "promise": facts.promised.get(d.id)}
        for d, end in zip(deployments, ends, strict=True)
        if end >= facts.start
    ]


def _bp(returns: FloatArray) -> list[float | None]:
    return _rounded(_BP * returns, 2)


def _rounded(values: ArrayLike, decimals: int = 3) -> list[float | None]:
    return [_plain(v) for v in np.round(np.asarray(values, dtype=float), decimals).tolist()]


def _significant(values: FloatArray) -> list[float | None]:
    return [_plain(float(f"{v:.7g}")) for v in values.tolist()]


def _plain(value: float | None) -> float | None:
    """Return what JSON can hold: a whole number without a fraction, null for NaN."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else value
