"""Check that no simulated path depends on what came after its origin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cryptocast import dataset, paths
from cryptocast.bundles import Bundle
from cryptocast.compute.material import Material
from cryptocast.paths import PathModel
from cryptocast.values import FAILED, OK, Candles, Check, FloatArray, Market
from cryptocast.workflows.auditing.perturbation import changed_after, sample
from cryptocast.workflows.futures.simulating import forecast_of, market_paths, paths_start

_ORIGINS, _PATHS = 8, 50
_HINT = "a bug: do not trust simulate; mend cryptocast/paths"


def whole_paths(
    material: Material, bundle: Bundle, model: PathModel, *, seed: int = 0
) -> Iterator[Check]:
    """Yield one check if paths can be made of candles of this interval, else none.

    Paths of a few origins are made twice, before and after every candle at and after the origin
    is replaced, and compared bit by bit.
    """
    if material.interval_seconds != paths.STEP_SECONDS:
        return
    places, _ = sample(material, seed)
    some = places[:: -(-len(places) // _ORIGINS)]
    differing = 0
    for number, place in enumerate(some):
        market, candles = material.markets[place.market], material.candles[place.market]
        random = np.random.default_rng((seed, number))
        other = changed_after(candles, place.origin, random)
        one, two = (_paths(bundle, model, market, c, place.origin) for c in (candles, other))
        differing += not np.array_equal(one, two)
    tested = f"{len(some)} origins with every later candle changed"
    if differing:
        yield Check("paths", FAILED, f"{tested}: paths know the future at {differing}", _HINT)
    else:
        yield Check("paths", OK, f"{tested}: the same simulated paths, bit by bit")


def _paths(
    bundle: Bundle, model: PathModel, market: Market, candles: Candles, origin: int
) -> FloatArray:
    """Return the paths [N, LEADS] that continue what a version forecasts at an origin."""
    bars = dataset.lay_out(candles, market, paths_start(origin), origin)
    draw = paths.drawn(_PATHS, model, 0, origin)
    shape = (_PATHS, paths.LEADS)
    forecast = forecast_of(bundle, bars, bundle.card.horizon)
    return market_paths(model, draw, forecast, candles, 0, shape).prices
