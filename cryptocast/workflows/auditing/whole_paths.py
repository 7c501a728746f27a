"""Check that no simulated path depends on what came after its origin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cryptocast import dataset, paths
from cryptocast.bundles import Bundle
from cryptocast.compute.material import Material
from cryptocast.values import FAILED, OK, Candles, Check, FloatArray, Market
from cryptocast.workflows.auditing.perturbation import changed_after, sample
from cryptocast.workflows.futures.simulating import (
    PathModels,
    forecast_of,
    market_paths,
    paths_start,
)

_ORIGINS, _PATHS = 8, 50
_HINT = "a bug: do not trust simulate; mend cryptocast/paths"


def whole_paths(
    material: Material, bundle: Bundle, models: PathModels, *, seed: int = 0
) -> Iterator[Check]:
    """Yield one check.

    Paths of a few origins are made twice, before and after every candle at and after the origin
    is replaced, and compared bit by bit.
    """
    places, _ = sample(material, seed)
    some = places[:: -(-len(places) // _ORIGINS)]
    differing = 0
    for number, place in enumerate(some):
        market, candles = material.markets[place.market], material.candles[place.market]
        random = np.random.default_rng((seed, number))
        other = changed_after(candles, place.origin, random)
        one, two = (_paths(bundle, models, market, c, place.origin) for c in (candles, other))
        differing += not np.array_equal(one, two)
    tested = f"{len(some)} origins with every later candle changed"
    if differing:
        yield Check("paths", FAILED, f"{tested}: paths know the future at {differing}", _HINT)
    else:
        yield Check("paths", OK, f"{tested}: the same simulated paths, bit by bit")


def _paths(
    bundle: Bundle, models: PathModels, market: Market, candles: Candles, origin: int
) -> FloatArray:
    """Return the paths [N, D] of a day that continue what a version forecasts at an origin."""
    bars = dataset.lay_out(candles, market, paths_start(origin, market), origin)
    draw = paths.drawn(_PATHS, models.shared, 0, origin)
    shape = _PATHS, paths.day_bars(market.interval_seconds)
    forecast = forecast_of(bundle, bars, bundle.card.horizon)
    return market_paths(models, draw, forecast, candles, 0, shape).prices
