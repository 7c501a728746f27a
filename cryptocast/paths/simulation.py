"""Simulated prices of several markets that happen together, from one origin on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.paths.joining import joined
from cryptocast.paths.library import Draw, own_residuals
from cryptocast.paths.model import PathCard, PathModel
from cryptocast.paths.predictors import Grid, predictors
from cryptocast.values import FloatArray, ForecastSet, Market, ServedModel

_LEAST_DRAWN = 1000
"""Fewer paths have no quantiles to join at: as many are drawn, and the first ones returned."""

_DIGITS = 9


@dataclass(frozen=True, slots=True, eq=False)
class MarketPaths:
    """N paths of one market: the price at the end of each of S steps after the origin."""

    market: Market
    last_close: float
    stale_bars: int
    model: ServedModel
    levels: tuple[float, ...]  # of the served forecast, [Q]
    curve: str  # which says how large moves are: a version's own, or that of the library
    prices: FloatArray  # [N, S] quote currency

    def quantiles(self, step: int) -> FloatArray:
        """Return the quantiles [Q] of the paths at a step (1..S), at the forecast's levels."""
        return self.at(step, self.levels)

    def at(self, step: int, levels: Sequence[float]) -> FloatArray:
        """Return the quantiles of the paths at a step (1..S), at any levels."""
        return np.quantile(self.prices[:, step - 1], levels)


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """Paths of one or several markets from a common origin; path n of each happens together."""

    origin: int  # Unix seconds
    step_seconds: int
    seed: int
    library: PathCard
    markets: tuple[MarketPaths, ...]
    warnings: tuple[str, ...] = ()

    @property
    def paths(self) -> int:
        """The number of paths of each market."""
        return len(self.markets[0].prices)

    @property
    def steps(self) -> int:
        """The number of steps of each path."""
        return int(self.markets[0].prices.shape[1])

    def target_time(self, step: int) -> int:
        """Return the moment that the price of a step (1..S) belongs to."""
        return self.origin + step * self.step_seconds


def drawn(paths: int, model: PathModel, seed: int, origin: int) -> Draw:
    """Return the draw that all markets of a simulation share; the same numbers give the same."""
    return Draw.of(max(paths, _LEAST_DRAWN), model.library, seed, origin)


def prices(
    model: PathModel,
    draw: Draw,
    forecast: ForecastSet,
    bars: Grid,
    place: int,
    shape: tuple[int, int],
) -> FloatArray:
    """Return the first N of the drawn paths of a market, [N, S] for `shape` (N, S).

    `bars` end at the origin of the served `forecast`, whose quantiles the paths keep for as many
    steps as it has. `place` is the market's place among the coins of its workspace.
    """
    count, steps = shape
    size = model.curve.sizes(predictors(bars, np.array([len(bars.open_time)])))[0]
    own = own_residuals(model.curve, bars)
    moves = model.library.residuals(draw, place, own) * size
    if own is not None:
        own.widen(moves, size)
    logs = np.log(forecast.quantiles / forecast.last_close)
    return walked(moves[:, :steps], logs, forecast.levels, forecast.last_close)[:count]


def walked(
    moves: FloatArray, quantiles: FloatArray, levels: Sequence[float], last_close: float
) -> FloatArray:
    """Return the prices [N, S] that log-returns of single steps lead to; `moves` is overwritten.

    At the steps of `quantiles` [H, Q], log-returns from the last close, they have those.
    """
    walks = joined(np.cumsum(moves, axis=1, out=moves), quantiles, levels)
    # In place: a new array of this size costs more than its computation.
    np.exp(walks, out=walks)
    walks *= last_close
    return rounded(walks)


def rounded(values: FloatArray) -> FloatArray:
    """Round prices in place to 9 significant digits, as forecasts have them, and return them."""
    low, high = np.floor(np.log10([values.min(), values.max()])).astype(np.intp)
    power: FloatArray | float = 10.0 ** (_DIGITS - 1 - low)
    if low < high:  # a logarithm of each price would take longer
        power = np.full(values.shape, power)
        for exponent in range(low + 1, high + 1):
            power[values >= 10.0**exponent] = 10.0 ** (_DIGITS - 1 - exponent)
    values *= power
    np.rint(values, out=values)
    values /= power
    return values
