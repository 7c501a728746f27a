"""Routes of what is stored: markets, forecasts, candles, scores and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from cryptocast.answers.candles import candles_document
from cryptocast.answers.forecasts import forecast_document
from cryptocast.answers.models import ModelsDocument
from cryptocast.api.children import told
from cryptocast.api.desk import ASKED, STORE, AtDesk, Recipe
from cryptocast.api.documents import (
    CandlesDocument,
    ForecastsDocument,
    MarketDocument,
    MarketsDocument,
    ScoresDocument,
)
from cryptocast.api.parameters import Symbol, Symbols, Time, one_market
from cryptocast.errors import StateError, UsageError
from cryptocast.store import Span
from cryptocast.store.exporter import evaluation as stored_scores
from cryptocast.values import Market, iso
from cryptocast.workspace import Workspace

MOST_CANDLES = 10_000
MOST_SCORES = 10_000
_MODELS_SECONDS = 300.0  # an MLflow server changes without a file of ours
_MODELS_FRESH_SECONDS = 30.0  # to ask takes seconds

router = APIRouter(tags=["data"])

_Rows = Annotated[int, Query(ge=1, le=MOST_CANDLES, description="At most so many bars.")]
_Step = Annotated[int | None, Query(ge=1, le=10_000, description="Only this number of bars ahead.")]
_Number = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="An evaluation. Default: the newest.")
]


@router.get("/markets", response_model=MarketsDocument)
async def markets(request: Request, desk: AtDesk) -> Response:
    """List the markets: what is stored of each, and what serves it."""
    return await desk.respond(request, Recipe("markets", lambda: _markets(desk.ws)))


def _markets(ws: Workspace) -> MarketsDocument:
    chosen, now = ws.markets(), ws.clock.now()
    with ws.store.read() as reader:
        spans = reader.spans(chosen, chosen[0].floor(now))
        origins = reader.ledger.newest_origins(chosen, now)
        serving = reader.productions().of_markets(chosen)
    versions = {market: row.model_version for market, row in serving.items()}
    return {
        "markets": [
            _market(market, spans.get(market), origins.get(market), versions.get(market))
            for market in chosen
        ]
    }


def _market(
    market: Market, span: Span | None, origin: int | None, version: str | None
) -> MarketDocument:
    return {
        "market": market.id,
        "symbol": market.symbol,
        "source": market.source,
        "base": market.base,
        "quote": market.quote,
        "interval_seconds": market.interval_seconds,
        "rows": 0 if span is None else span.rows,
        "first": None if span is None else iso(span.first),
        "last": None if span is None else iso(span.last),
        "origin": None if origin is None else iso(origin),
        "version": version,
    }


@router.get("/forecast", response_model=ForecastsDocument)
async def forecast(
    request: Request,
    desk: AtDesk,
    symbols: Symbols = [],  # noqa: B006 - FastAPI copies it
    origin: Annotated[Time | None, Query(description="A past one. Default: the newest.")] = None,
) -> Response:
    """Return the newest served forecast of each market, or those of an origin.

    A forecast never changes, so the ETag stays the same until there is a newer one.
    """
    return await desk.respond(request, newest(desk.ws, symbols, origin))


def newest(ws: Workspace, symbols: Sequence[str], origin: int | None = None) -> Recipe:
    """Return the recipe of the newest forecasts, or of those of an origin."""
    key = ("forecast", tuple(symbols), origin)
    return Recipe(key, lambda: _forecasts(ws, tuple(symbols), origin))


def _forecasts(ws: Workspace, symbols: tuple[str, ...], origin: int | None) -> ForecastsDocument:
    chosen, now = ws.markets(symbols), ws.clock.now()
    with ws.store.read() as reader:
        if origin is None:
            sets = reader.ledger.newest(chosen, now)
        else:
            sets = reader.ledger.served(chosen, origin) if origin <= now else {}
    if not sets:
        what = "nothing has been forecast yet" if origin is None else f"none is of {iso(origin)}"
        raise StateError(
            what, code="state.no_forecast", hint="/markets names the newest origin of each"
        )
    return {"forecasts": [forecast_document(sets[m]) for m in chosen if m in sets]}


@router.get("/candles", response_model=CandlesDocument)
async def candles(
    request: Request,
    desk: AtDesk,
    symbol: Symbol = None,
    start: Annotated[Time | None, Query(description="The first open time.")] = None,
    end: Annotated[Time | None, Query(description="Before this open time. Default: now.")] = None,
    limit: _Rows = 288,
) -> Response:
    """Return a page of one market's closed candles: the first from `start` on, else the newest."""
    make = partial(_candles, desk.ws, one_market(desk.ws, symbol), start, end, limit)
    return await desk.respond(request, Recipe(("candles", symbol, start, end, limit), make))


def _candles(
    ws: Workspace, market: Market, start: int | None, end: int | None, limit: int
) -> CandlesDocument:
    if start is not None and end is not None and start > end:
        raise UsageError("start is later than end", code="usage.range", hint="swap them")
    now, size = market.floor(ws.clock.now()), market.interval_seconds
    stop = now if end is None else min(_up(end, size), now)
    with ws.store.read() as reader:
        span = reader.spans([market]).get(market, Span(0, stop, stop - size))
        stop = min(stop, span.last + size)
        first = stop - limit * size if start is None else _up(start, size)
        first = min(max(first, span.first), stop)
        page = min(stop, first + limit * size)
        found = reader.candles([market], first, page)[market]
    return {
        "market": market.id,
        "interval_seconds": size,
        "start": iso(first),
        "end": iso(page),
        "candles": candles_document(found),
        "next": iso(page) if page < stop else None,
    }


def _up(moment: int, size: int) -> int:
    """Return the first open time at or after a moment."""
    return -(-moment // size) * size


@router.get("/scores", response_model=ScoresDocument)
async def scores(
    request: Request,
    desk: AtDesk,
    symbols: Symbols = [],  # noqa: B006 - FastAPI copies it
    step: _Step = None,
    evaluation: _Number = None,
) -> Response:
    """Return what `evaluate` measured last: every model and baseline on the same origins."""
    make = partial(_scores, desk.ws, tuple(symbols), step, evaluation)
    key = ("scores", tuple(symbols), step, evaluation)
    return await desk.respond(request, Recipe(key, make))


def _scores(
    ws: Workspace, symbols: tuple[str, ...], step: int | None, evaluation: int | None
) -> ScoresDocument:
    chosen = [market.id for market in ws.markets(symbols)] if symbols else None
    with ws.store.read() as reader:
        rows = stored_scores(reader, evaluation, markets=chosen, step=step, most=MOST_SCORES + 1)
    if not rows:
        what, hint = "there are no such scores", "cryptocast evaluate makes some"
        raise StateError(what, code="state.no_scores", hint=hint)
    return {
        "evaluation": rows[0]["evaluation"],
        "at": iso(rows[0]["at"]),
        "start": iso(rows[0]["start_time"]),
        "end": iso(rows[0]["end_time"]),
        "scores": [_score(row) for row in rows[:MOST_SCORES]],
        "more": len(rows) > MOST_SCORES,
    }


def _score(row: Mapping[str, Any]) -> Any:
    """Return a row as `evaluate --json` prints it."""
    hidden = ("evaluation", "at", "start_time", "end_time")
    shown = {name: value for name, value in row.items() if name not in hidden}
    return shown | {"step": "all" if row["step"] is None else row["step"]}


@router.get("/models", response_model=ModelsDocument)
async def models(request: Request, desk: AtDesk) -> Response:
    """List the registered versions with their scores, as `cryptocast models --json` does.

    MLflow is asked in a process of its own, which takes some seconds; the answer is kept.
    """
    recipe = Recipe(
        "models",
        lambda: told(desk.ws, "models"),
        files=(*STORE, "mlflow.db"),
        lasting_seconds=_MODELS_SECONDS,
        fresh_seconds=_MODELS_FRESH_SECONDS,
        lane=ASKED,
    )
    return await desk.respond(request, recipe)
