"""Facts for a report, made up: what a page must be able to show."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cryptocast.reports.facts import (
    CoverageCurve,
    Incident,
    MarketFacts,
    MarketOutcomes,
    ReportFacts,
    ServedVersion,
)
from cryptocast.values import (
    Calibration,
    Candles,
    Deployment,
    Event,
    ForecastSet,
    Gap,
    Market,
    MonitorVerdict,
    Rolling,
    Score,
    ServedModel,
    Shares,
)

BAR = 300
DAY = 86_400
START = 1_717_372_800  # 2024-06-03T00:00:00Z
LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))
HORIZON = 24
MARKET = Market("sim", "BTC", "EUR", "5m")


def candles(n: int, first: int = START) -> Candles:
    """A wavy price about 60,000."""
    close = 60_000 + 500 * np.sin(np.arange(n) / 40) + 50 * np.sin(np.arange(n) * 1.7)
    opening = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opening, close) + 20, np.minimum(opening, close) - 20
    return Candles.of(first + BAR * np.arange(n), opening, high, low, close)


def forecast(origin: int, market: Market = MARKET, *, fallback: str | None = None) -> ForecastSet:
    """Ranges that widen with the square root of the step."""
    z = np.linspace(-1.6, 1.6, len(LEVELS))
    wide = 60 * np.sqrt(np.arange(1, HORIZON + 1))
    model = ServedModel("2", "lstm", fallback)
    return ForecastSet(
        market, origin, origin + 10, 60_000.0, 0, "live", model, LEVELS,
        60_000 + wide[:, None] * z,
    )  # fmt: skip


def outcomes(n: int, *, mode: str = "live", skill: float | None = 0.01) -> MarketOutcomes:
    """N served sets whose targets have come, but for the newest HORIZON."""
    random = np.random.default_rng(1)
    z = np.linspace(-1.6, 1.6, len(LEVELS))
    unit = 1e-3 * np.sqrt(np.arange(1, HORIZON + 1))
    size = np.exp(0.5 * np.sin(np.arange(n) / 60))[:, None] * unit
    targets = random.normal(size=(n, HORIZON)) * size
    for step in range(1, HORIZON + 1):
        targets[max(n - step, 0) :, step - 1] = math.nan
    total = Score(n * HORIZON, 12.5, 12.6, skill, 0.79, 0.9, -0.01, 0.03)
    points = np.arange(START + DAY, START + n * BAR, 3600)
    wave = 0.02 * np.sin(np.arange(len(points)) / 9)
    return MarketOutcomes(
        mode=mode,
        levels=LEVELS,
        origins=START + BAR * np.arange(n),
        last_close=np.append(60_000.0, candles(n).close[:-1]),
        quantiles=size[:, :, None] * z,
        targets=targets,
        total=total,
        steps=tuple(dataclasses.replace(total, skill=0.01 - 0.001 * h) for h in range(HORIZON)),
        days={START + DAY * day: total for day in range(n * BAR // DAY + 1)},
        rolling=Rolling(288, points, wave, wave - 0.01, wave + 0.01) if len(points) else None,
        by_step=coverage(np.arange(1, HORIZON + 1)),
        by_hour=coverage(np.arange(24)),
        calibrations=tuple(calibration(step) for step in (1, 12, 24)),
        versions=(ServedVersion("2", n, 3, total),),
    )


def coverage(at: Any) -> CoverageCurve:
    """About right, with the fourth unknown."""
    share80, share90 = np.full(len(at), 0.79), np.full(len(at), 0.91)
    share80[3] = share90[3] = math.nan
    n = np.full(len(at), 500)
    in80 = Shares(n, share80, share80 - 0.03, share80 + 0.03)
    return CoverageCurve(at, in80, Shares(n, share90, share90 - 0.02, share90 + 0.02))


def calibration(step: int) -> Calibration:
    """Shares that bend a little."""
    below = np.asarray(LEVELS) + 0.02 * np.sin(np.asarray(LEVELS) * 6)
    return Calibration(step, 1000, 1000 / step, below, np.diff(below, prepend=0.0, append=1.0))


def incidents() -> tuple[Incident, ...]:
    """One of each kind."""
    kinds = ("gap", "missed", "failed", "late", "fallback")
    return tuple(
        Incident(kind, START + i * 7200, START + i * 7200 + 1800, 6, "source.unreachable")
        for i, kind in enumerate(kinds)
    )


def cone(origin: int, of: Market = MARKET) -> ForecastSet:
    """Quantiles of paths over a whole day."""
    newest = forecast(origin, of)
    spread = np.sqrt(np.arange(1, 289))[:, None] * np.log(newest.quantiles[0] / newest.last_close)
    return dataclasses.replace(newest, quantiles=newest.last_close * np.exp(spread), scale=None)


def judged_paths() -> Event:
    """A judgement of paths, as the store holds it."""
    scales = {"5m": 0.89, "30m": 0.9, "3h": 0.9, "24h": 0.87}
    asked = {"vs_gbm": -0.03, "reliability": [{"n": 70, "said": 0.31, "came": 0.29}]}
    row = {
        "origins": 70, "vs_gbm": -0.017, "energy_vs_gbm": None, "coverage90": scales,
        "basket_coverage90": scales, "above": asked, "touch": asked,
    }  # fmt: skip
    names = ("cryptocast", "gbm")
    detail = {"start": "2024-05-30T00:00:00Z", "end": "2024-06-03T00:00:00Z", "in_sample": ["2"]}
    entrants = [{"entrant": name, **row} for name in names]
    return Event(START + DAY, "paths", None, {**detail, "entrants": entrants})


def market(n: int = 864, of: Market = MARKET, **changes: Any) -> MarketFacts:
    """A market with everything."""
    given: dict[str, Any] = {
        "market": of,
        "candles": candles(n),
        "stored": n,
        "newest": forecast(START + n * BAR, of),
        "outcomes": outcomes(n),
        "gaps": (Gap(START, START + 1800, 6),),
        "incidents": incidents(),
        "ticks": {"ok": n, "missed": 6, "failed": 6, "late": 6},
        "cone": cone(START + n * BAR, of),
    }
    return MarketFacts(**(given | changes))


def facts(*markets: MarketFacts, n: int = 864, **changes: Any) -> ReportFacts:
    """A workspace with these markets; without any with one that has everything."""
    now = START + n * BAR
    deployed = {
        "market": "*", "previous_version": "1", "action": "promote", "reason": "better",
        "scores": "{}",
    }  # fmt: skip
    given: dict[str, Any] = {
        "workspace": "btc",
        "now": float(now),
        "start": START,
        "end": now,
        "horizon": HORIZON,
        "interval_seconds": BAR,
        "markets": markets or (market(n),),
        "deployments": [
            Deployment(1, START - DAY, model_version="1", **deployed),
            Deployment(2, START + 1.5 * DAY, model_version="2", **deployed),
        ],
        "promised": {1: 0.012, 2: 0.012},
        "events": [Event(START + 60, "candle.revised", MARKET.id, {"close": 1.5})],
        "paths": judged_paths(),
        "verdict": MonitorVerdict(now - 600, "healthy", "skill +1.0 % in the last week"),
    }
    return ReportFacts(**(given | changes))
