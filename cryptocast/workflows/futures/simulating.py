"""The paths of a market that continue a forecast, made in one way for every verb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cryptocast import dataset, paths
from cryptocast.bundles import Bundle
from cryptocast.config import ModelSettings
from cryptocast.dataset import Bars
from cryptocast.errors import StateError
from cryptocast.paths import Draw, MarketPaths, PathModel, Simulation
from cryptocast.store import Store
from cryptocast.values import MIN_CANDLES, Candles, ForecastSet, Market, ServedModel, iso

FOLDER = "paths"
"""The folder of a path model beside the network that `pretrain` writes."""

PATHS_EVENT = "paths"
"""The kind of the event that keeps a judgement of paths."""

SUMMARY_EVENT = "simulation"
"""The kind of the event that keeps a summary of the paths from one origin."""


def path_model_of(settings: ModelSettings) -> PathModel:
    """Return the path model beside the base network that the settings name, else the shipped one.

    Raises ModelError if its files are damaged.
    """
    if settings.base is not None and (own := Path(settings.base) / FOLDER).is_dir():
        return paths.load(own)
    return paths.shipped()


def simulated(
    database: Store,
    forecasts: Sequence[ForecastSet],
    place: Mapping[str, int],
    shape: tuple[int, int],
    seed: int,
    model: PathModel,
) -> Simulation:
    """Return paths, [N, S] for `shape`, that continue forecasts of several markets at one origin.

    Markets with too few candles are left out. Raises StateError if none is left.
    """
    count, steps = shape
    origin = forecasts[0].origin
    with database.read() as reader:
        candles = reader.candles([f.market for f in forecasts], paths_start(origin), origin)
    enough = [f for f in forecasts if len(candles[f.market]) >= MIN_CANDLES]
    if not enough:
        raise StateError(
            f"{forecasts[0].market.id} has {len(candles[forecasts[0].market])} candles before "
            f"{iso(origin)}, at least {MIN_CANDLES} are needed",
            code="state.not_enough_candles",
            hint="cryptocast fetch",
        )
    draw = paths.drawn(count, model, seed, origin)
    made = (
        market_paths(model, draw, f, candles[f.market], place[f.market.base], (count, steps))
        for f in enough
    )
    return Simulation(origin, paths.STEP_SECONDS, seed, model.card, tuple(made))


def market_paths(
    model: PathModel,
    draw: Draw,
    forecast: ForecastSet,
    candles: Candles,
    place: int,
    shape: tuple[int, int],
) -> MarketPaths:
    """Return the paths of one market, [N, S] for `shape`; candles after the origin are not read."""
    market, origin = forecast.market, forecast.origin
    bars = dataset.lay_out(candles, market, paths_start(origin), origin)
    return MarketPaths(
        market=market,
        last_close=forecast.last_close,
        stale_bars=forecast.stale_bars,
        model=forecast.model,
        levels=forecast.levels,
        prices=paths.prices(model, draw, forecast, bars, place, shape),
    )


def forecast_of(bundle: Bundle, bars: Bars, horizon: int) -> ForecastSet:
    """Return what a version forecasts at the end of bars, uncalibrated, in its first steps."""
    card, market = bundle.card, bars.market
    origin = bars.first + len(bars) * market.interval_seconds
    last_close = float(np.exp(bars.log_close[-1]))
    windows = dataset.at_origin(
        bars.part(max(0, len(bars) - card.context_bars), len(bars)), card.lookback
    )
    quantiles = bundle.forecaster.log_returns(windows)[0, :horizon]
    return ForecastSet(
        market=market,
        origin=origin,
        issued_at=float(origin),
        last_close=last_close,
        stale_bars=int(bars.age[-1]),
        mode="replay",
        model=ServedModel(card.version, card.kind, None),
        levels=card.levels,
        quantiles=dataset.to_prices(quantiles, last_close),
    )


def paths_start(origin: int) -> int:
    """Return the open time of the first bar that paths from an origin are made from.

    It is a bar more than they look at: the first of those has a return too.
    """
    return origin - (paths.PAST_BARS + 1) * paths.STEP_SECONDS


def places(markets: Sequence[Market]) -> Mapping[str, int]:
    """Return the place of each base currency: the same coin at two venues moves alike."""
    return {base: i for i, base in enumerate(dict.fromkeys(market.base for market in markets))}


def require_interval(markets: Sequence[Market]) -> None:
    """Raise StateError for candles of another interval than the library's."""
    for market in markets:
        if market.interval_seconds != paths.STEP_SECONDS:
            raise StateError(
                f"paths are made of candles of 5m, {market.id} has {market.interval}",
                code="state.no_paths",
                hint='make a workspace with [market] interval = "5m"',
            )
