"""Questions that paths answer: how likely a price is somewhere at a time, or gets there before."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cryptocast.errors import UsageError
from cryptocast.paths.simulation import MarketPaths, Simulation
from cryptocast.values import FloatArray, iso

_AROUND = 2  # bars on either side that the volatility inside a bar is taken from
_INSIDE = 1.15  # times that volatility, squared: highs and lows of ETH/USDT in 2024 reach so far


@dataclass(frozen=True, slots=True)
class PriceQuestion:
    """One of `above`, `below`, `inside` (at a time) and `touch` (until then), and its prices."""

    kind: str
    prices: tuple[float, ...]  # one; for `inside` the lower and the upper


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The answer to a question about one market: a probability with its sampling error."""

    market: str
    kind: str
    prices: tuple[float, ...]
    by: int  # Unix seconds
    probability: float
    error: float  # standard error of drawing so many paths; the model's own error is not in it


def likelihood(simulation: Simulation, question: PriceQuestion, by: int | None) -> Likelihood:
    """Return how likely it is, by the end of the step at or before `by`, else of the paths.

    Raises UsageError for several markets, prices that cannot be, and a moment that is not
    within the paths.
    """
    if len(simulation.markets) > 1:
        raise UsageError(
            f"a price belongs to one market, here are {len(simulation.markets)}",
            code="usage.question",
            hint=f"choose one: --symbol {simulation.markets[0].market.symbol}",
        )
    one, steps = simulation.markets[0], _steps(simulation, by)
    _require_prices(question)
    shares = _shares(one, question, steps)
    count, mean = len(shares), float(shares.mean())
    # Two paths more of each kind: no path of a thousand does not mean that it is impossible.
    spread = float(shares.var()) * count + 4 * (0.5 - mean) ** 2 + 1
    error = math.sqrt(spread / (count + 4) / (count + 4))
    moment = simulation.target_time(steps)
    return Likelihood(one.market.id, question.kind, question.prices, moment, mean, error)


def _steps(simulation: Simulation, by: int | None) -> int:
    """Return the number of steps up to a moment."""
    if by is None:
        return simulation.steps
    steps = (by - simulation.origin) // simulation.step_seconds
    if not 1 <= steps <= simulation.steps:
        first, last = simulation.target_time(1), simulation.target_time(simulation.steps)
        raise UsageError(
            f"{iso(by)} is not within the paths",
            code="usage.by",
            hint=f"--by {iso(first)} to {iso(last)}",
        )
    return steps


def _require_prices(question: PriceQuestion) -> None:
    """Raise UsageError for prices that cannot be."""
    shown = " ".join(f"{price:g}" for price in question.prices)
    rising = list(question.prices) == sorted(set(question.prices))
    if not rising or not all(math.isfinite(price) and price > 0 for price in question.prices):
        raise UsageError(
            f"--{question.kind} {shown} cannot be answered",
            code="usage.question",
            hint="prices are above 0, and the lower one comes first",
        )


def _shares(one: MarketPaths, question: PriceQuestion, steps: int) -> FloatArray:
    """Return for each path [N] how likely it is to be so: 0 or 1, if touching in between."""
    last = one.prices[:, steps - 1]
    first = question.prices[0]
    if question.kind == "above":
        return np.asarray(last > first, dtype=np.float64)
    if question.kind == "below":
        return np.asarray(last < first, dtype=np.float64)
    if question.kind == "inside":
        return np.asarray((first <= last) & (last <= question.prices[1]), dtype=np.float64)
    return touches(np.log(one.prices[:, :steps] / one.last_close), math.log(first / one.last_close))


def touches(walks: FloatArray, level: float) -> FloatArray:
    """Return for each path [N] the probability that it reached a level by its last close.

    `walks` [N, S] and `level` are log-returns from the origin. Between two closes on the same
    side a Brownian bridge reaches it with probability exp(-2 a b / s^2), a and b the distances;
    s^2 is in proportion to the mean square of the moves around the bar.
    """
    closes = np.hstack([np.zeros((len(walks), 1)), walks])
    squares = np.diff(closes, axis=1) ** 2
    sums = np.cumsum(np.pad(squares, ((0, 0), (1, 0))), axis=1)
    bars = np.arange(squares.shape[1])
    low, high = np.maximum(bars - _AROUND, 0), np.minimum(bars + _AROUND + 1, len(bars))
    variance = _INSIDE * (sums[:, high] - sums[:, low]) / (high - low)
    distance = closes - level
    between = distance[:, :-1] * distance[:, 1:]
    missed = np.where(between > 0, -np.expm1(-2 * between / np.maximum(variance, 1e-18)), 0.0)
    return np.asarray(1.0 - missed.prod(axis=1))
