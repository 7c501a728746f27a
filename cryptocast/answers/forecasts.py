"""Served forecasts as documents. Every tick loads this."""

from __future__ import annotations

from typing_extensions import TypedDict

from cryptocast.documents import Moment, documented
from cryptocast.values import ForecastSet, iso


@documented
class ServedModelDocument(TypedDict):
    """The model behind a forecast."""

    version: str
    """Its registered version, or `builtin:random_walk`."""
    kind: str
    """For example `lstm` or `random_walk`."""
    fallback: str | None
    """Why it stood in for the production model; null if it is that."""


@documented
class StepDocument(TypedDict):
    """The distribution of the price at one moment."""

    step: int
    """The number of bars ahead, from 1."""
    target_time: Moment
    """The moment whose price is forecast: origin + step * interval."""
    quantiles: list[float]
    """Prices in quote currency, one for each level, strictly rising."""


@documented
class ForecastDocument(TypedDict):
    """The forecast of one market at one origin."""

    market: str
    """`source:BASE/QUOTE:interval`."""
    origin: Moment
    """The close at which it was made."""
    issued_at: Moment
    """When it was made."""
    last_close: float
    """The close of the newest candle that it knew, in quote currency."""
    stale_bars: int
    """How many bars older than the newest possible one that candle was."""
    late: bool
    """Whether it was issued later after its origin than `[loop] late_seconds`."""
    mode: str
    """`live`, `late`, `backfill` or `replay`."""
    model: ServedModelDocument
    """The model that made it."""
    levels: list[float]
    """The quantile levels, from 0 to 1."""
    steps: list[StepDocument]
    """One entry a bar, up to the horizon."""


def forecast_document(forecast: ForecastSet) -> ForecastDocument:
    """Return a set as a document."""
    return {
        "market": forecast.market.id,
        "origin": iso(forecast.origin),
        "issued_at": iso(forecast.issued_at),
        "last_close": forecast.last_close,
        "stale_bars": forecast.stale_bars,
        "late": forecast.late,
        "mode": forecast.mode,
        "model": {
            "version": forecast.model.version,
            "kind": forecast.model.kind,
            "fallback": forecast.model.fallback,
        },
        "levels": list(forecast.levels),
        "steps": [
            {
                "step": step,
                "target_time": iso(forecast.target_time(step)),
                "quantiles": quantiles.tolist(),
            }
            for step, quantiles in enumerate(forecast.quantiles, start=1)
        ],
    }
