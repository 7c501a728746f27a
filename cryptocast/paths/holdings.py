"""What a question is about: one market, or a basket of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cryptocast.errors import StateError, UsageError
from cryptocast.paths.simulation import Simulation
from cryptocast.values import FloatArray, iso


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """Paths of what is held: the price of one market, or what a basket is worth."""

    name: str  # the market's id, or the weights
    start: float  # at the origin
    values: FloatArray  # [N, S] after each step


def holding(simulation: Simulation, weights: Mapping[str, float] | None = None) -> Holding:
    """Return the simulation's one market, or the basket that the weights make of its markets.

    Weights, by symbol or id, are what is held of each at the origin: shares, or amounts of
    money. One below 0 is owed. They add up to what the basket is worth then, which is above 0.

    Raises UsageError for several markets without weights and weights that make no basket, and
    StateError for a market without paths.
    """
    if weights:
        return _basket(simulation, weights)
    if len(simulation.markets) > 1:
        raise UsageError(
            f"a price belongs to one market, here are {len(simulation.markets)}",
            code="usage.question",
            hint=f"choose one: --symbol {simulation.markets[0].market.symbol}, or several: "
            f"--weights {','.join(f'{one.market.symbol}=1' for one in simulation.markets)}",
        )
    one = simulation.markets[0]
    return Holding(one.market.id, one.last_close, one.prices)


def _basket(simulation: Simulation, weights: Mapping[str, float]) -> Holding:
    """Return what the weighted markets are worth together on each path."""
    name = ",".join(f"{symbol}={weight:g}" for symbol, weight in weights.items())
    total = sum(weights.values())
    if not (np.isfinite(total) and total > 0):
        raise UsageError(
            f"--weights {name} add up to {total:g}",
            code="usage.weights",
            hint="a basket is worth more than 0: --weights BTC/EUR=0.6,ETH/EUR=0.4",
        )
    there = {name: one for one in simulation.markets for name in (one.market.symbol, one.market.id)}
    for symbol in weights:
        if symbol not in there:
            raise StateError(
                f"{symbol} has no paths from {iso(simulation.origin)}",
                code="state.no_paths",
                hint="cryptocast forecast --once, or leave it out of --weights",
            )
    parts = [weight / there[s].last_close * there[s].prices for s, weight in weights.items()]
    return Holding(name, total, np.sum(parts, axis=0))
