"""Routes of how things stand: status, health, metrics and the report."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cryptocast.answers.states import StatusDocument, status_document
from cryptocast.api.children import page
from cryptocast.api.desk import ASKED, AtDesk, Desk, Recipe, encoded
from cryptocast.api.documents import HealthDocument
from cryptocast.api.guard import PAGE_POLICY
from cryptocast.api.parameters import Symbols
from cryptocast.values import iso
from cryptocast.workflows.serving.housekeeping import loop_health
from cryptocast.workflows.status import status as state
from cryptocast.workflows.watching.metrics import exposition, gather
from cryptocast.workspace import Workspace

LATE_SECONDS = 300.0
"""How late a tick may be: it waits for late candles, slow sources and a busy store."""

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_OFTEN_SECONDS = 1.0  # what depends on the time is as old as this
_REPORT_SECONDS = 60.0

router = APIRouter(tags=["state"])

_Days = Annotated[int, Query(ge=1, le=90, description="How far back it reaches, in days.")]


@router.get("/status", response_model=StatusDocument)
async def status(
    request: Request,
    desk: AtDesk,
    symbols: Symbols = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Return the state of the workspace, as `cryptocast status --json` does."""
    chosen = tuple(symbols)
    make = partial(_status, desk.ws, chosen)
    return await desk.respond(
        request, Recipe(("status", chosen), make, lasting_seconds=_OFTEN_SECONDS)
    )


def _status(ws: Workspace, symbols: tuple[str, ...]) -> StatusDocument:
    return status_document(state(ws, symbols=symbols))


@router.get(
    "/healthz",
    response_model=HealthDocument,
    responses={503: {"model": HealthDocument, "description": "Late, or nothing ticks."}},
)
async def healthz(desk: AtDesk) -> Response:
    """Say whether forecasts are made in time: 503 if a tick is 5 minutes late. Needs no token."""
    document = await _health(desk)
    return Response(
        encoded(document),
        media_type="application/json",
        status_code=200 if document["status"] == "ok" else 503,
        headers={"Cache-Control": "no-store"},
    )


async def _health(desk: Desk) -> HealthDocument:
    """Judge by the loop's own file; where no loop runs, by the newest forecast."""
    ws = desk.ws
    now, judged_by, awaited = ws.clock.now(), "serve-loop", _loop_awaits(ws)
    if awaited is None:
        kept = await desk.answer(Recipe("awaited", partial(_forecasts_await, ws)))
        judged_by, awaited = "forecasts", float(kept.content) or None
    late = 0.0 if awaited is None else max(0.0, now - awaited)
    return {
        "status": "ok" if awaited is not None and late <= LATE_SECONDS else "late",
        "judged_by": judged_by,
        "awaited": None if awaited is None else iso(round(awaited)),
        "late_seconds": round(late, 3),
    }


def _loop_awaits(ws: Workspace) -> float | None:
    """Return when the loop's next tick is due, or None if no loop runs."""
    health = loop_health(ws.folder / "logs")
    if health is None or health.get("state") == "stopped":
        return None
    if bool(health.get("virtual")) is not ws.clock.virtual:
        return None
    try:
        awaited = health.get("next_tick_at") or health["updated_at"]
        return datetime.fromisoformat(str(awaited)).timestamp()
    except (KeyError, ValueError):
        return None


def _forecasts_await(ws: Workspace) -> bytes:
    """Return when the forecast after the newest one is due, in Unix seconds; 0 without one."""
    markets = ws.markets()
    with ws.store.read() as reader:
        origins = reader.ledger.newest_origins(markets, ws.clock.now())
    due = markets[0].interval_seconds + ws.settings.loop.delay_seconds
    return str(max(origins.values()) + due if origins else 0).encode()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Text format 0.0.4."}},
)
async def metrics(request: Request, desk: AtDesk) -> Response:
    """Return what `[metrics] file` holds, for Prometheus to scrape."""
    make = partial(_metrics, desk.ws)
    recipe = Recipe("metrics", make, media=PROMETHEUS, lasting_seconds=_OFTEN_SECONDS)
    return await desk.respond(request, recipe)


def _metrics(ws: Workspace) -> bytes:
    with ws.store.read() as reader:
        families = list(gather(reader, ws.markets(), ws.settings, ws.clock.now()))
    return exposition(families).encode()


@router.get(
    "/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}, "description": "A page that loads nothing."}},
)
async def report(request: Request, desk: AtDesk, days: _Days = 30) -> Response:
    """Return the page that `cryptocast report` makes: forecast against actual.

    It is made in a process of its own, which takes some seconds, and is up to a minute old.
    """
    make = partial(page, desk.ws, days)
    recipe = Recipe(
        ("report", days),
        make,
        media="text/html; charset=utf-8",
        fresh_seconds=_REPORT_SECONDS,
        lane=ASKED,
    )
    response = await desk.respond(request, recipe)
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response
