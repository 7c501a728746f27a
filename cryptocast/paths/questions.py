"""Questions that paths answer: how likely a price gets somewhere, and what is lost at worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.errors import UsageError
from cryptocast.paths.holdings import Holding, holding
from cryptocast.paths.simulation import Simulation
from cryptocast.values import FloatArray, iso

_AROUND = 2  # bars on either side that the volatility inside a bar is taken from
_INSIDE = 1.15  # times that volatility, squared: highs and lows of ETH/USDT in 2024 reach so far


@dataclass(frozen=True, slots=True)
class PriceQuestion:
    """One of `above`, `below`, `inside` (at a time) and `touch` (until then), and its prices."""

    kind: str
    prices: tuple[float, ...]  # one; for `inside` the lower and the upper


@dataclass(frozen=True, slots=True)
class LevelQuestion:
    """The `quantile` at a level between 0 and 1, or the `shortfall`: the mean of all below it."""

    kind: str
    level: float


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The answer to a question about prices: a probability with its sampling error."""

    market: str  # its id; a basket's weights
    kind: str
    prices: tuple[float, ...]
    by: int  # Unix seconds
    probability: float
    error: float  # standard error of drawing so many paths; the model's own error is not in it


@dataclass(frozen=True, slots=True)
class Estimate:
    """The answer to a question about a level: a price, or what a basket is worth."""

    market: str  # its id; a basket's weights
    kind: str
    level: float
    by: int  # Unix seconds
    value: float
    change: float  # relative to the origin: -0.02 is a loss of 2 %
    error: float  # of the value: standard error of drawing so many paths


def likelihood(
    simulation: Simulation,
    question: PriceQuestion,
    by: int | None,
    weights: Mapping[str, float] | None = None,
) -> Likelihood:
    """Return how likely it is, by the end of the step at or before `by`, else of the paths.

    A basket has a price too: what its weights are worth (see `holding`). Raises UsageError for
    several markets without weights, prices that cannot be, and a moment that is not within the
    paths, and StateError for weights of a market without paths.
    """
    held, steps = holding(simulation, weights), _steps(simulation, by)
    _require_prices(question)
    shares = _shares(held, question, steps)
    count, mean = len(shares), float(shares.mean())
    # Two paths more of each kind: no path of a thousand does not mean that it is impossible.
    spread = float(shares.var()) * count + 4 * (0.5 - mean) ** 2 + 1
    error = math.sqrt(spread / (count + 4) / (count + 4))
    moment = simulation.target_time(steps)
    return Likelihood(held.name, question.kind, question.prices, moment, mean, error)


def estimate(
    simulation: Simulation,
    question: LevelQuestion,
    by: int | None,
    weights: Mapping[str, float] | None = None,
) -> Estimate:
    """Return the value at a level, or the mean of all below, at the end of the step at `by`.

    Raises what `likelihood` raises, and UsageError for a level that so few paths cannot tell.
    """
    held, steps = holding(simulation, weights), _steps(simulation, by)
    _require_level(question, simulation.paths)
    values = np.sort(held.values[:, steps - 1])
    tell = _shortfall if question.kind == "shortfall" else _quantile
    value, error = tell(values, question.level)
    moment, change = simulation.target_time(steps), value / held.start - 1
    return Estimate(held.name, question.kind, question.level, moment, value, change, error)


def _quantile(values: FloatArray, level: float) -> tuple[float, float]:
    """Return the quantile of rising values [N], and half the way between ranks an error apart."""
    spread = math.sqrt(level * (1 - level) / len(values))
    places = np.clip([level - spread, level, level + spread], 0.0, 1.0)
    low, value, high = np.quantile(values, places).tolist()
    return value, (high - low) / 2


def _shortfall(values: FloatArray, level: float) -> tuple[float, float]:
    """Return the mean of the lowest share `level` of rising values [N], and its standard error.

    The error is that of Manistre and Hancock (2005): the tail's own spread, and where it begins.
    """
    count = level * len(values)
    weight = np.clip(count - np.arange(math.ceil(count)), 0.0, 1.0)
    tail = values[: len(weight)]
    mean = float(weight @ tail / count)
    variance = float(weight @ (tail - mean) ** 2 / count)
    return mean, math.sqrt((variance + (1 - level) * (mean - float(tail[-1])) ** 2) / count)


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


def _require_level(question: LevelQuestion, paths: int) -> None:
    """Raise UsageError for a level that is none, or beyond the outermost of the paths."""
    rarer = min(question.level, 1 - question.level)
    if not rarer * paths >= 1:  # NaN too
        least = f"--paths {math.ceil(1 / rarer)}" if rarer > 0 else "levels are between 0 and 1"
        raise UsageError(
            f"--{question.kind} {question.level:g} cannot be told by {paths} paths",
            code="usage.question",
            hint=f"{least}: --{question.kind} 0.05",
        )


def _shares(held: Holding, question: PriceQuestion, steps: int) -> FloatArray:
    """Return for each path [N] how likely it is to be so: 0 or 1, if touching in between."""
    last = held.values[:, steps - 1]
    first = question.prices[0]
    if question.kind == "above":
        return np.asarray(last > first, dtype=np.float64)
    if question.kind == "below":
        return np.asarray(last < first, dtype=np.float64)
    if question.kind == "inside":
        return np.asarray((first <= last) & (last <= question.prices[1]), dtype=np.float64)
    (reached,) = touches(held.values[:, :steps] / held.start - 1, [first / held.start - 1])
    return np.asarray(reached)


def touches(walks: FloatArray, levels: Sequence[float] | FloatArray) -> FloatArray:
    """Return for each path the probability [K, N] that it reached each level by its last close.

    `walks` [N, S] and the K `levels` are returns from the origin. Between two closes on the same
    side a Brownian bridge reaches it with probability exp(-2 a b / s^2), a and b the distances;
    s^2 is in proportion to the mean square of the moves around the bar.
    """
    closes = np.hstack([np.zeros((len(walks), 1)), walks])
    squares = np.diff(closes, axis=1) ** 2
    sums = np.cumsum(np.pad(squares, ((0, 0), (1, 0))), axis=1)
    bars = np.arange(squares.shape[1])
    low, high = np.maximum(bars - _AROUND, 0), np.minimum(bars + _AROUND + 1, len(bars))
    variance = _INSIDE * (sums[:, high] - sums[:, low]) / (high - low)
    pace = -2 / np.maximum(variance, 1e-18)
    answers = np.empty((len(levels), len(walks)))
    for answer, level in zip(answers, levels, strict=True):
        distance = closes - level
        between = distance[:, :-1] * distance[:, 1:]
        missed = np.where(between > 0, -np.expm1(between * pace), 0.0)
        answer[:] = 1.0 - missed.prod(axis=1)
    return answers
