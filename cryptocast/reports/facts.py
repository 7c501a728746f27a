"""What the report is made from: figures that others computed, as frozen values.

Moments are Unix seconds, skills and coverages shares (0.01 is 1 %), NaN or None where unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptocast.values import Candles, Deployment, FloatArray, ForecastSet, Gap, IntArray, Market


@dataclass(frozen=True, slots=True)
class Score:
    """What was served against the random walk: over one step, all of them, a day or a version."""

    n: int  # scored (origin, step) pairs
    crps_bp: float | None
    walk_bp: float | None  # of the random walk on the same pairs
    skill: float | None
    coverage80: float | None
    coverage90: float | None
    low: float | None = None  # the 90 % interval of the skill
    high: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rolling:
    """Skill over a window that moves along, and its 90 % interval."""

    window_bars: int
    times: IntArray  # [T] the window's last origin
    skill: FloatArray  # [T]
    low: FloatArray  # [T]
    high: FloatArray  # [T]


@dataclass(frozen=True, slots=True, eq=False)
class CoverageCurve:
    """How often the price came into the 80 and the 90 % range, by steps or by hours."""

    at: IntArray  # [K] steps, or hours (UTC) of the origin
    n: IntArray  # [K]
    share80: FloatArray  # [K]
    low80: FloatArray  # [K] 90 % interval
    high80: FloatArray  # [K]
    share90: FloatArray  # [K]
    low90: FloatArray  # [K]
    high90: FloatArray  # [K]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Where in the forecast distributions of one step the prices fell."""

    step: int
    n: int
    alone: float  # so many independent ones tell as much
    below: FloatArray  # [Q] share of targets at or below each quantile
    between: FloatArray  # [Q + 1] share between neighbouring quantiles (the PIT's histogram)


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """What one version has served in the range."""

    version: str
    sets: int
    fallbacks: int
    score: Score


@dataclass(frozen=True, slots=True, eq=False)
class MarketOutcomes:
    """N served sets of a market, and what came."""

    mode: str  # live, or replay where nothing was served live
    levels: tuple[float, ...]  # [Q]
    origins: IntArray  # [N]
    last_close: FloatArray  # [N]
    quantiles: FloatArray  # [N, H, Q] log-returns from the last close, as served
    targets: FloatArray  # [N, H] NaN where the candle is not there (yet)
    total: Score
    steps: tuple[Score, ...]  # [H]
    days: Mapping[int, Score]  # by the start of the (UTC) day
    rolling: Rolling | None
    by_step: CoverageCurve
    by_hour: CoverageCurve
    calibrations: tuple[Calibration, ...]  # of the shown steps
    versions: tuple[ServedVersion, ...]

    @property
    def scored(self) -> bool:
        """Whether any target has come."""
        return self.total.n > 0


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that went on for `count` origins, bars or times, from `start` to `end`."""

    kind: str  # gap, missed, failed, late, fallback
    start: int
    end: int
    count: int
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class MarketFacts:
    """One market."""

    market: Market
    candles: Candles  # of the range
    newest: ForecastSet | None  # the forecast that holds now
    outcomes: MarketOutcomes | None  # None: nothing was served in the range
    gaps: tuple[Gap, ...]
    incidents: tuple[Incident, ...]  # oldest first, gaps too
    ticks: Mapping[str, int]  # how many ended how


@dataclass(frozen=True, slots=True)
class Happening:
    """One row of `events`."""

    at: float
    kind: str
    market: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MonitorVerdict:
    """What the monitor said last."""

    at: float
    verdict: str  # healthy, watch, declined, unknown
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class ReportFacts:
    """The workspace as the page shows it: markets worst first."""

    workspace: str
    now: float
    start: int
    end: int
    horizon: int
    interval_seconds: int
    markets: Sequence[MarketFacts]
    deployments: Sequence[Deployment]
    events: Sequence[Happening]  # newest first
    verdict: MonitorVerdict | None
    others: Sequence[str] = ()  # series in the store that are not configured

    def deployed(self, market: Market) -> list[Deployment]:
        """The deployments that ruled a market, oldest first: the last is its production."""
        return [row for row in self.deployments if row.market in ("*", market.id)]

    @property
    def productions(self) -> list[Deployment]:
        """What serves the markets, the newest first."""
        serving = {rows[-1].id: rows[-1] for m in self.markets if (rows := self.deployed(m.market))}
        return [serving[number] for number in sorted(serving, reverse=True)]


def pictured_steps(horizon: int) -> tuple[int, ...]:
    """The steps that have pictures of their own: the first, the middle and the last."""
    return tuple(sorted({1, max(horizon // 2, 1), horizon}))
