"""Routes of simulated paths, and of the probabilities that they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from cryptocast.answers.futures import PathsDocument, answer_document, paths_document
from cryptocast.api.desk import COMPUTED, AtDesk, Recipe
from cryptocast.api.documents import ProbabilityDocument
from cryptocast.api.parameters import Symbols, Time
from cryptocast.errors import UsageError
from cryptocast.paths import LevelQuestion, PriceQuestion, Simulation
from cryptocast.workflows.futures.asking import answered, as_questions, read_weights
from cryptocast.workflows.simulate import simulate as simulated
from cryptocast.workspace import Workspace

MOST_PATHS = 5_000
MOST_MARKETS = 10
"""More would take more memory and time than a request may."""

router = APIRouter(tags=["futures"])

_Price = Annotated[float | None, Query(gt=0, le=1e15, allow_inf_nan=False)]
_Level = Annotated[float | None, Query(gt=0, lt=1, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Draft:
    """The paths that a request asks for."""

    symbols: tuple[str, ...]
    paths: int
    horizon: str
    seed: int


def _draft(
    symbols: Symbols = [],  # noqa: B006 - FastAPI copies it
    paths: Annotated[int, Query(ge=1, le=MOST_PATHS, description="Paths of each market.")] = 1000,
    horizon: Annotated[
        str,
        Query(
            pattern=r"^([0-9]{1,4}m|[0-9]{1,2}h|1d)$",
            description="How far they reach: 5m to 24h, in whole steps.",
            examples=["6h"],
        ),
    ] = "24h",
    seed: Annotated[
        int, Query(ge=0, le=2**32 - 1, description="The same seed gives the same paths.")
    ] = 0,
) -> Draft:
    return Draft(tuple(symbols), paths, horizon, seed)


Drafted = Annotated[Draft, Depends(_draft)]


@router.get("/simulate", response_model=PathsDocument)
async def simulate(request: Request, desk: AtDesk, draft: Drafted) -> Response:
    """Return the distribution of whole paths that continue the newest forecasts.

    Path n of one market happens together with path n of the others. `cryptocast simulate --out`
    writes the paths themselves. At most 10 markets at once.
    """
    recipe = Recipe(("simulate", draft), partial(_simulate, desk.ws, draft), lane=COMPUTED)
    return await desk.respond(request, recipe)


def _simulate(ws: Workspace, draft: Draft) -> PathsDocument:
    return paths_document(_drawn(ws, draft), ())


def _drawn(ws: Workspace, draft: Draft) -> Simulation:
    """Return the paths. Raises UsageError for too many markets."""
    if len(ws.markets(draft.symbols)) > MOST_MARKETS:
        raise UsageError(
            f"paths of more than {MOST_MARKETS} markets are not made at once",
            code="usage.symbol",
            hint=f"name them: symbol={ws.markets()[0].symbol}",
        )
    return simulated(
        ws, count=draft.paths, horizon=draft.horizon, symbols=draft.symbols, seed=draft.seed
    )


def _questions(
    above: Annotated[_Price, Query(description="How likely is it above this price then?")] = None,
    below: Annotated[_Price, Query(description="How likely is it below this price then?")] = None,
    touch: Annotated[_Price, Query(description="How likely does it get there until then?")] = None,
    inside: Annotated[
        list[float],
        Query(
            max_length=2,
            description="How likely is it between these prices then? `inside=LOW&inside=HIGH`.",
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
    quantile: Annotated[_Level, Query(description="Which price is it, at this quantile?")] = None,
    shortfall: Annotated[
        _Level, Query(description="What is it on average, in this share of worst cases?")
    ] = None,
) -> Sequence[PriceQuestion | LevelQuestion]:
    asked = {"above": above, "below": below, "touch": touch}
    asked |= {"quantile": quantile, "shortfall": shortfall}
    if len(inside) == 1:
        raise UsageError(
            "inside needs two prices", code="usage.question", hint="inside=40000&inside=90000"
        )
    between = {"inside": tuple(inside) or None}
    return as_questions({**asked, **between})


@router.get("/probability", response_model=ProbabilityDocument)
async def probability(
    request: Request,
    desk: AtDesk,
    draft: Drafted,
    questions: Annotated[Sequence[PriceQuestion | LevelQuestion], Depends(_questions)],
    by: Annotated[
        Time | None, Query(description="The moment asked about. Default: the end.")
    ] = None,
    weights: Annotated[
        str | None,
        Query(
            max_length=500,
            description="Ask about a basket, worth the sum of the weights at the start.",
            examples=["BTC/EUR=0.6,ETH/EUR=0.4"],
        ),
    ] = None,
) -> Response:
    """Answer questions about the future of one market, or of a basket.

    Nothing of what the model does not know is in the error: it is that of drawing so many paths.
    """
    if not questions:
        raise UsageError("no question is asked", code="usage.question", hint="above=60000")
    held = read_weights(weights)
    draft = Draft(draft.symbols or tuple(held), draft.paths, draft.horizon, draft.seed)
    make = partial(_probability, desk.ws, draft, questions, by, held)
    key = ("probability", draft, tuple(questions), by, weights)
    return await desk.respond(request, Recipe(key, make, lane=COMPUTED))


def _probability(
    ws: Workspace,
    draft: Draft,
    questions: Sequence[PriceQuestion | LevelQuestion],
    by: int | None,
    weights: Mapping[str, float],
) -> ProbabilityDocument:
    simulation = _drawn(ws, draft)
    answers = answered(simulation, questions, by, weights)
    document = paths_document(simulation, ())
    return {
        "origin": document["origin"],
        "paths": document["paths"],
        "seed": document["seed"],
        "library": document["library"],
        "answers": [answer_document(answer) for answer in answers],
    }
