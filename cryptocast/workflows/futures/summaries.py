"""What a tick keeps of simulated paths, if it is asked to: never the paths themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cryptocast import paths
from cryptocast.config import Settings
from cryptocast.errors import CryptocastError
from cryptocast.paths import MarketPaths, Simulation
from cryptocast.store import Store
from cryptocast.values import FloatArray, ForecastSet, iso
from cryptocast.workflows.futures.asking import shown_steps
from cryptocast.workflows.futures.simulating import (
    SUMMARY_EVENT,
    path_models,
    places,
    require_interval,
    simulated,
)

_PATHS = 1000


def kept_summaries(
    database: Store,
    forecasts: Sequence[ForecastSet],
    settings: Settings,
    at: float,
    curve_of: Callable[[str], str | None],
) -> list[str]:
    """Keep an event for each market: quantiles of its paths at some steps, and of their extremes.

    Of forecasts with several origins only the newest continue. Return a warning if no paths
    could be made or kept.
    """
    origin = max(forecast.origin for forecast in forecasts)
    joint = [forecast for forecast in forecasts if forecast.origin == origin]
    markets = settings.markets()
    shape = _PATHS, paths.day_bars(markets[0].interval_seconds)
    try:
        require_interval(markets)
        versions = (forecast.model.version for forecast in joint)
        models = path_models(settings.model.base, markets[0].interval, versions, curve_of)
        made = simulated(database, joint, places(markets), shape, 0, models)
        details = [(one.market.id, _summary(made, one)) for one in made.markets]
        with database.write() as writer:
            for market, detail in details:
                writer.put_event(at, SUMMARY_EVENT, market, detail)
    except CryptocastError as error:
        return [f"no summary of simulated paths is kept: {error.message} ({error.hint})"]
    return []


def _summary(simulation: Simulation, one: MarketPaths) -> dict[str, Any]:
    """Return what the paths of a market rest on, and about 150 prices, to 7 digits."""
    return {
        "origin": iso(simulation.origin),
        "model": one.model.version,
        "library": simulation.library.name,
        "curve": one.curve,
        "paths": simulation.paths,
        "seed": simulation.seed,
        "last_close": one.last_close,
        "levels": one.levels,
        "steps": [
            {"step": step, "quantiles": _short(one.quantiles(step))}
            for step in shown_steps(simulation)
        ],
        "highest": _short(np.quantile(one.prices.max(axis=1), one.levels)),
        "lowest": _short(np.quantile(one.prices.min(axis=1), one.levels)),
    }


def _short(prices: FloatArray) -> list[float]:
    return [float(f"{price:.7g}") for price in prices]
