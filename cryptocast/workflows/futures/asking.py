"""Questions about simulated paths as they are typed, and their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import UsageError
from cryptocast.paths import (
    Estimate,
    LevelQuestion,
    Likelihood,
    PriceQuestion,
    Simulation,
    estimate,
    likelihood,
)

_SHOWN_SECONDS = (300, 3600, 7200, 6 * 3600, 12 * 3600, 24 * 3600)


@dataclass(frozen=True, slots=True)
class PathsFile:
    """A file of paths that was written."""

    file: Path  # absolute
    format: str
    bytes: int


def as_questions(
    options: Mapping[str, float | tuple[float, ...] | None],
) -> list[PriceQuestion | LevelQuestion]:
    """Return the questions that options of these names ask; None was not asked."""
    return [
        LevelQuestion(kind, float(asked))
        if isinstance(asked, int | float) and kind in ("quantile", "shortfall")
        else PriceQuestion(kind, asked if isinstance(asked, tuple) else (asked,))
        for kind, asked in options.items()
        if asked is not None
    ]


def read_weights(text: str | None) -> dict[str, float]:
    """Return the weights written as BTC/EUR=0.6,ETH/EUR=0.4, or none.

    Raises UsageError for anything else, a symbol that comes twice and a weight that is 0.
    """
    weights: dict[str, float] = {}
    for part in text.split(",") if text is not None else ():
        symbol, _, number = part.strip().rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not symbol or symbol in weights or not math.isfinite(weight) or weight == 0:
            raise UsageError(
                f"'{part}' is not a weight of a basket",
                code="usage.weights",
                hint="name each market once: --weights BTC/EUR=0.6,ETH/EUR=0.4",
            )
        weights[symbol] = weight
    return weights


def answered(
    simulation: Simulation,
    questions: Sequence[PriceQuestion | LevelQuestion],
    by: int | None,
    weights: Mapping[str, float],
) -> list[Likelihood | Estimate]:
    """Return the answer to each question, about the basket that the weights make if there are any.

    Raises UsageError for what cannot be answered, and for a moment or weights without a question.
    """
    if not questions and (weights or by is not None):
        raise UsageError(
            f"--{'weights' if weights else 'by'} goes with a question",
            code="usage.question",
            hint="for example --shortfall 0.05",
        )
    return [
        estimate(simulation, question, by, weights)
        if isinstance(question, LevelQuestion)
        else likelihood(simulation, question, by, weights)
        for question in questions
    ]


def shown_steps(simulation: Simulation) -> list[int]:
    """Return the steps that are shown: some, and the last."""
    wanted = {seconds // simulation.step_seconds for seconds in _SHOWN_SECONDS}
    return sorted({step for step in wanted if step < simulation.steps} | {simulation.steps})
