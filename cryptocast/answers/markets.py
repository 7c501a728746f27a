"""The state of one market as a document."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import TypedDict

from cryptocast.answers.candles import GapDocument, gaps_document
from cryptocast.documents import Moment, documented
from cryptocast.store import ServedCoverage, StandIn, Tick
from cryptocast.values import ForecastSet, iso
from cryptocast.workflows.status import MarketStatus
from cryptocast.workflows.watching.facts import shown_steps


@documented
class ShortStepDocument(TypedDict):
    """The range of one step."""

    step: int
    """The number of bars ahead, from 1."""
    target_time: Moment
    """The moment whose price is forecast."""
    low: float
    """The price at the lowest level."""
    median: float
    """The price at level 0.5."""
    high: float
    """The price at the highest level."""


@documented
class ShortForecastDocument(TypedDict):
    """The newest forecast in short."""

    version: str
    """The version that made it."""
    last_close: float
    """In quote currency."""
    lag_seconds: float
    """From its origin until it was issued."""
    stale_bars: int
    """How many bars too old its newest candle was."""
    steps: list[ShortStepDocument]
    """The first step, and those of one and two hours."""


@documented
class StandInDocument(TypedDict):
    """A stand-in for the production model."""

    reason: str
    """The reason of the newest forecast."""
    since: Moment
    """The origin of the first."""
    forecasts: int
    """How many so far."""


@documented
class CoverageDocument(TypedDict):
    """The share of the last day's prices that came to lie in the served ranges."""

    mode: str
    """`live`, or `replay` where nothing was live."""
    n: int
    """The number of (origin, step) pairs."""
    coverage80: float | None
    """Should be 0.8; null if the levels hold no such range."""
    coverage90: float | None
    """Should be 0.9."""


@documented
class LastTickDocument(TypedDict):
    """The end of the last tick."""

    origin: Moment
    """The close that it forecast from."""
    status: str
    """`ok`, `late` or `failed`."""
    error_code: str | None
    """The error's code, if it failed."""
    detail: str | None
    """The error in words."""


@documented
class MarketStatusDocument(TypedDict):
    """The state of one market."""

    market: str
    """`source:BASE/QUOTE:interval`."""
    version: str | None
    """The version that is production."""
    issues: list[str]
    """What a person should look at, worst first."""
    rows: int
    """The number of stored candles."""
    first: Moment | None
    """The open time of the first."""
    last: Moment | None
    """The open time of the last."""
    behind_bars: int | None
    """Closed bars that are not stored yet."""
    gaps: list[GapDocument]
    """What lacks of the last `[data] days`."""
    confirmed: int
    """How many of those bars the source is confirmed to lack."""
    provenances: dict[str, int]
    """How many candles of these days came in which way."""
    forecast_origin: Moment | None
    """The origin of the newest forecast."""
    fallback: str | None
    """Why a stand-in made it; null if production did."""
    forecast: ShortForecastDocument | None
    """The newest forecast in short."""
    overdue_bars: int
    """Origins after it without a forecast; the present one may be due."""
    widening: float | None
    """Calibration's mean factor on the range; 1 changes nothing."""
    stand_in: StandInDocument | None
    """What serves instead of production."""
    coverage: CoverageDocument | None
    """Of the last day."""
    skill_vs_random_walk: float | None
    """CRPS skill over the monitor's day: 0.01 is 1 % better."""
    ticks: dict[str, int]
    """The ticks of the last day, by how they ended."""
    last_tick: LastTickDocument | None
    """The newest of them."""


def market_status(m: MarketStatus) -> MarketStatusDocument:
    """Return the state of a market as a document."""
    stored, forecast = m.stored, m.forecast
    provenances: Mapping[str, int] = stored.provenances if stored else {}
    return {
        "market": m.market.id,
        "version": None if m.production is None else m.production.model_version,
        "issues": list(m.issues),
        "rows": stored.rows if stored else 0,
        "first": iso(stored.first) if stored else None,
        "last": iso(stored.last) if stored else None,
        "behind_bars": m.behind_bars,
        "gaps": gaps_document(stored.gaps) if stored else [],
        "confirmed": stored.confirmed if stored else 0,
        "provenances": dict(provenances),
        "forecast_origin": None if forecast is None else iso(forecast.origin),
        "fallback": None if forecast is None else forecast.model.fallback,
        "forecast": None if forecast is None else _forecast(forecast),
        "overdue_bars": m.overdue_bars,
        "widening": m.widening,
        "stand_in": None if m.stand_in is None else _stand_in(m.stand_in),
        "coverage": None if m.coverage is None else _coverage(m.coverage),
        "skill_vs_random_walk": m.skill,
        "ticks": dict(m.ticks),
        "last_tick": None if m.tick is None else _tick(m.tick),
    }


def _tick(tick: Tick) -> LastTickDocument:
    return {
        "origin": iso(tick.origin),
        "status": tick.status,
        "error_code": tick.error_code,
        "detail": tick.detail,
    }


def _stand_in(stand_in: StandIn) -> StandInDocument:
    return {
        "reason": stand_in.reason,
        "since": iso(stand_in.since),
        "forecasts": stand_in.sets,
    }


def _coverage(coverage: ServedCoverage) -> CoverageDocument:
    return {
        "mode": "live" if coverage.live else "replay",
        "n": coverage.n,
        "coverage80": coverage.in80,
        "coverage90": coverage.in90,
    }


def _forecast(forecast: ForecastSet) -> ShortForecastDocument:
    """Return the newest forecast in short: price, lag, and the range of the shown steps."""
    middle = len(forecast.levels) // 2
    return {
        "version": forecast.model.version,
        "last_close": forecast.last_close,
        "lag_seconds": forecast.issued_at - forecast.origin,
        "stale_bars": forecast.stale_bars,
        "steps": [
            {
                "step": step,
                "target_time": iso(forecast.target_time(step)),
                "low": float(forecast.quantiles[step - 1, 0]),
                "median": float(forecast.quantiles[step - 1, middle]),
                "high": float(forecast.quantiles[step - 1, -1]),
            }
            for step in shown_steps(forecast.market, len(forecast.quantiles))
        ],
    }
