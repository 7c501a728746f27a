"""The paths of a market that continue a forecast, made in one way for every verb."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cryptocast import dataset, paths
from cryptocast.bundles import Bundle
from cryptocast.dataset import Bars
from cryptocast.errors import StateError
from cryptocast.paths import Draw, MarketPaths, PathModel, ScaleCurve, Simulation
from cryptocast.store import Store
from cryptocast.values import (
    BUILTIN_RANDOM_WALK,
    MIN_CANDLES,
    Candles,
    ForecastSet,
    Market,
    ServedModel,
    iso,
)

PATHS_EVENT = "paths"
"""The kind of the event that keeps a judgement of paths."""

SUMMARY_EVENT = "simulation"
"""The kind of the event that keeps a summary of the paths from one origin."""


@dataclass(frozen=True, slots=True, eq=False)
class PathModels:
    """The path model that all versions share, and the curves of versions that have their own."""

    shared: PathModel
    own: Mapping[str, ScaleCurve]  # by version

    def of(self, version: str) -> PathModel:
        """Return what the paths of a version rest on: its own curve or the shared one."""
        return replace(self.shared, curve=self.own.get(version, self.shared.curve))


def path_models(
    base: str | None,
    interval: str,
    versions: Iterable[str],
    curve_of: Callable[[str], str | None],
) -> PathModels:
    """Return the path model beside a base network, else the shipped one, and versions' curves.

    `curve_of` returns the text of a version's own curve, or None. Raises ModelError if a file is
    damaged.
    """
    trained = dict.fromkeys(version for version in versions if version != BUILTIN_RANDOM_WALK)
    texts = {version: curve_of(version) for version in trained}
    own = {v: paths.own_curve(text, v) for v, text in texts.items() if text is not None}
    return PathModels(paths.beside(base, interval), own)


def simulated(
    database: Store,
    forecasts: Sequence[ForecastSet],
    place: Mapping[str, int],
    shape: tuple[int, int],
    seed: int,
    models: PathModels,
) -> Simulation:
    """Return paths, [N, S] for `shape`, that continue forecasts of several markets at one origin.

    Markets with too few candles are left out. Raises StateError if none is left.
    """
    origin, first = forecasts[0].origin, forecasts[0].market
    with database.read() as reader:
        start = paths_start(origin, first)
        candles = reader.candles([f.market for f in forecasts], start, origin)
    enough = [f for f in forecasts if len(candles[f.market]) >= MIN_CANDLES]
    if not enough:
        raise StateError(
            f"{first.id} has {len(candles[first])} candles before "
            f"{iso(origin)}, at least {MIN_CANDLES} are needed",
            code="state.not_enough_candles",
            hint="cryptocast fetch",
        )
    draw, shared = paths.drawn(shape[0], models.shared, seed, origin), models.shared
    made = (
        market_paths(models, draw, f, candles[f.market], place[f.market.base], shape)
        for f in enough
    )
    return Simulation(origin, first.interval_seconds, seed, shared.card, tuple(made))


def market_paths(
    models: PathModels,
    draw: Draw,
    forecast: ForecastSet,
    candles: Candles,
    place: int,
    shape: tuple[int, int],
) -> MarketPaths:
    """Return the paths of one market, [N, S] for `shape`; candles after the origin are not read."""
    market, origin = forecast.market, forecast.origin
    bars = dataset.lay_out(candles, market, paths_start(origin, market), origin)
    model = models.of(forecast.model.version)
    return MarketPaths(
        market=market,
        last_close=forecast.last_close,
        stale_bars=forecast.stale_bars,
        model=forecast.model,
        levels=forecast.levels,
        curve=model.curve.name,
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


def paths_start(origin: int, market: Market) -> int:
    """Return the open time of the first bar that a market's paths from an origin are made from.

    It is a bar more than they look at: the first of those has a return too.
    """
    interval = market.interval_seconds
    return origin - (paths.past_bars(interval) + 1) * interval


def places(markets: Sequence[Market]) -> Mapping[str, int]:
    """Return the place of each base currency: the same coin at two venues moves alike."""
    return {base: i for i, base in enumerate(dict.fromkeys(market.base for market in markets))}


def require_interval(markets: Sequence[Market]) -> None:
    """Raise StateError for candles of an interval that no library is shipped for."""
    known = paths.shipped_intervals()
    for market in markets:
        if market.interval not in known:
            raise StateError(
                f"paths are made of candles of {' and '.join(known)}, {market.id} has "
                f"{market.interval}",
                code="state.no_paths",
                hint=f'make a workspace with [market] interval = "{known[0]}"',
            )
