"""Simulated paths, and the probabilities that they answer, as documents."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import TypedDict

from cryptocast.answers.forecasts import ServedModelDocument, StepDocument
from cryptocast.documents import Moment, documented
from cryptocast.paths import Estimate, Likelihood, MarketPaths, Simulation
from cryptocast.values import iso
from cryptocast.workflows.futures.asking import shown_steps


@documented
class LibraryDocument(TypedDict):
    """The library that paths are drawn from."""

    name: str
    """Its name."""
    sha256: str
    """The hash of its file."""


@documented
class LikelihoodDocument(TypedDict):
    """The answer to a question about prices."""

    market: str
    """`source:BASE/QUOTE:interval`, or the weights of a basket."""
    kind: str
    """`above`, `below` or `inside` (at `by`), or `touch` (until then)."""
    prices: list[float]
    """One price, or the lower and the upper, in quote currency."""
    by: Moment
    """The close that is asked about."""
    probability: float
    """From 0 to 1."""
    error: float
    """The standard error of drawing so many paths; the model's own error is not in it."""


@documented
class EstimateDocument(TypedDict):
    """The answer to a question about a level."""

    market: str
    """`source:BASE/QUOTE:interval`, or the weights of a basket."""
    kind: str
    """`quantile`, or `shortfall`: the mean of all below it."""
    level: float
    """From 0 to 1."""
    by: Moment
    """The close that is asked about."""
    value: float
    """A price in quote currency, or what the basket is worth."""
    change: float
    """Relative to the origin: -0.02 is a loss of 2 %."""
    error: float
    """The standard error of the value, of drawing so many paths."""


@documented
class MarketPathsDocument(TypedDict):
    """The distribution of one market's paths."""

    market: str
    """`source:BASE/QUOTE:interval`."""
    last_close: float
    """Where the paths begin, in quote currency."""
    stale_bars: int
    """How many bars too old that close was."""
    model: ServedModelDocument
    """The model of the forecast that the paths continue."""
    curve: str
    """The curve that says how large moves are: `version N`, its own, or the library's name."""
    levels: list[float]
    """The quantile levels, from 0 to 1."""
    steps: list[StepDocument]
    """The quantiles of the paths at some steps."""


@documented
class PathsDocument(TypedDict):
    """Simulated paths: where they come from, and their distribution."""

    origin: Moment
    """Where they begin."""
    paths: int
    """How many of each market."""
    steps: int
    """How many steps each has."""
    step_seconds: int
    """The length of a step."""
    seed: int
    """The same seed, forecasts and candles give the same paths."""
    library: LibraryDocument
    """The library that they are drawn from."""
    answers: list[LikelihoodDocument | EstimateDocument]
    """The answers to what was asked."""
    markets: list[MarketPathsDocument]
    """One entry a market."""


def paths_document(
    simulation: Simulation, answers: Sequence[Likelihood | Estimate]
) -> PathsDocument:
    """Return what paths rest on, and their quantiles at some steps."""
    library = simulation.library
    return {
        "origin": iso(simulation.origin),
        "paths": simulation.paths,
        "steps": simulation.steps,
        "step_seconds": simulation.step_seconds,
        "seed": simulation.seed,
        "library": {"name": library.name, "sha256": library.sha256},
        "answers": [answer_document(answer) for answer in answers],
        "markets": [_market(simulation, one) for one in simulation.markets],
    }


def answer_document(answer: Likelihood | Estimate) -> LikelihoodDocument | EstimateDocument:
    """Return the answer to one question."""
    if isinstance(answer, Estimate):
        return {
            "market": answer.market,
            "kind": answer.kind,
            "level": answer.level,
            "by": iso(answer.by),
            "value": answer.value,
            "change": answer.change,
            "error": answer.error,
        }
    return {
        "market": answer.market,
        "kind": answer.kind,
        "prices": list(answer.prices),
        "by": iso(answer.by),
        "probability": answer.probability,
        "error": answer.error,
    }


def _market(simulation: Simulation, one: MarketPaths) -> MarketPathsDocument:
    model = one.model
    return {
        "market": one.market.id,
        "last_close": one.last_close,
        "stale_bars": one.stale_bars,
        "model": {"version": model.version, "kind": model.kind, "fallback": model.fallback},
        "curve": one.curve,
        "levels": list(one.levels),
        "steps": [
            {
                "step": step,
                "target_time": iso(simulation.target_time(step)),
                "quantiles": one.quantiles(step).tolist(),
            }
            for step in shown_steps(simulation)
        ],
    }
