"""The figures that the report shows: computed by others, frozen here.

Moments are Unix seconds; skills and coverages are shares (0.01 is 1 %), NaN or None if unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cryptocast.values import (
    DAY_SECONDS,
    Calibration,
    Candles,
    Deployment,
    Event,
    FloatArray,
    ForecastSet,
    Gap,
    IntArray,
    Market,
    MonitorVerdict,
    Rolling,
    Score,
    Shares,
)

MOST_SECTIONS = 6
"""Number of markets with pictures, the worst ones; the table lists all markets."""

_DRAWN_SHARES = (0.9, 0.8, 0.5)  # of the ranges that are drawn, if the quantile levels include them


@dataclass(frozen=True, slots=True, eq=False)
class CoverageCurve:
    """Share of prices that fell into the 80 % and the 90 % range, per step or per hour."""

    at: IntArray  # [K] steps, or hours (UTC) of the origin
    in80: Shares  # [K]
    in90: Shares  # [K]


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """Forecasts that one version served within the range."""

    version: str
    sets: int
    fallbacks: int
    score: Score


@dataclass(frozen=True, slots=True, eq=False)
class MarketOutcomes:
    """N served forecast sets of a market, with their outcomes."""

    mode: str  # live, or replay if nothing was served live
    levels: tuple[float, ...]  # [Q]
    origins: IntArray  # [N]
    last_close: FloatArray  # [N]
    quantiles: FloatArray  # [N, H, Q] log-returns from the last close, as served
    targets: FloatArray  # [N, H] NaN if the candle is not there (yet)
    total: Score
    steps: tuple[Score, ...]  # [H]
    days: Mapping[int, Score]  # by the start of the (UTC) day
    rolling: Rolling | None
    by_step: CoverageCurve
    by_hour: CoverageCurve
    calibrations: tuple[Calibration, ...]  # of the pictured steps
    versions: tuple[ServedVersion, ...]

    @property
    def scored(self) -> bool:
        """True if at least one outcome is known."""
        return self.total.n > 0

    @property
    def sets(self) -> int:
        """Number of forecast sets, N; also of those that are in brief."""
        return sum(version.sets for version in self.versions)

    def in_brief(self) -> MarketOutcomes:
        """Return the same without what only pictures show, which is nearly all of its memory."""
        arrays = ("origins", "last_close", "quantiles", "targets")
        # Copies: an empty view would keep the whole array.
        empty: dict[str, Any] = {name: getattr(self, name)[:0].copy() for name in arrays}
        return replace(self, **empty, steps=(), days={}, rolling=None, calibrations=())


@dataclass(frozen=True, slots=True)
class Incident:
    """Trouble that lasted for `count` origins, bars or times, from `start` to `end`."""

    kind: str  # gap, missed, failed, late, fallback
    start: int
    end: int
    count: int
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class MarketFacts:
    """One market within the range of the report."""

    market: Market
    candles: Candles  # of a market in brief the newest alone
    stored: int  # number of candles in the range
    newest: ForecastSet | None  # the forecast that is valid now
    outcomes: MarketOutcomes | None  # None if nothing was served
    gaps: tuple[Gap, ...]
    incidents: tuple[Incident, ...]  # oldest first, gaps included
    ticks: Mapping[str, int]  # number of ticks per status
    cone: ForecastSet | None = None  # the newest forecast, and how simulated paths go on from it

    @property
    def missing_bars(self) -> int:
        """Number of candles that are missing."""
        return sum(gap.bars for gap in self.gaps)

    def in_brief(self) -> MarketFacts:
        """Return what the table of all markets shows: it has no pictures."""
        newest = np.arange(max(len(self.candles) - 1, 0), len(self.candles))
        outcomes = None if self.outcomes is None else self.outcomes.in_brief()
        return replace(self, candles=self.candles.take(newest), outcomes=outcomes)

    def troubles(self, since: float = 0) -> int:
        """Count the incidents that went on after `since`, without gaps.

        An incident that began earlier counts as a whole.
        """
        return sum(i.count for i in self.incidents if i.kind != "gap" and i.end > since)


@dataclass(frozen=True, slots=True, eq=False)
class ReportFacts:
    """Everything that the page shows of a workspace; the worst market comes first."""

    workspace: str
    now: float
    start: int
    end: int
    horizon: int
    interval_seconds: int
    markets: Sequence[MarketFacts]
    deployments: Sequence[Deployment]
    events: Sequence[Event]  # newest first
    verdict: MonitorVerdict | None
    promised: Mapping[int, float | None]  # skill, by the id of the deployment
    others: Sequence[str] = ()  # series that are stored but not configured
    paths: Event | None = None  # the newest judgement of simulated paths

    def deployed(self, market: Market) -> list[Deployment]:
        """Return the deployments that apply to a market, oldest first; the last one serves it."""
        return [row for row in self.deployments if row.market in ("*", market.id)]

    @property
    def productions(self) -> list[Deployment]:
        """The deployments that serve the markets now, newest first."""
        serving = {rows[-1].id: rows[-1] for m in self.markets if (rows := self.deployed(m.market))}
        return [serving[number] for number in sorted(serving, reverse=True)]

    @property
    def oldest_forecast(self) -> int | None:
        """The origin of the newest forecast, of the market that is furthest behind."""
        return min((m.newest.origin for m in self.markets if m.newest is not None), default=None)

    @property
    def troubles_today(self) -> int:
        """Number of incidents of all markets in the last 24 hours, without gaps."""
        return sum(market.troubles(self.now - DAY_SECONDS) for market in self.markets)


def pictured_steps(horizon: int) -> tuple[int, ...]:
    """Return the steps that have pictures of their own: the first, the middle and the last."""
    return tuple(sorted({1, max(horizon // 2, 1), horizon}))


def pairs(levels: Sequence[float]) -> list[tuple[float, int, int]]:
    """Return the central ranges to draw, widest first: the share, and the index of either end."""
    ranges = [
        (round(levels[-1 - i] - levels[i], 9), i, len(levels) - 1 - i)
        for i in range(len(levels) // 2)
    ]
    nearest = {min(ranges, key=lambda pair: abs(pair[0] - share)) for share in _DRAWN_SHARES}
    return sorted(nearest, reverse=True)
