"""The route that sends each new forecast as it is made."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from cryptocast.answers.forecasts import ForecastDocument, forecast_document
from cryptocast.api.data import newest
from cryptocast.api.desk import AtDesk, Desk, Recipe
from cryptocast.api.documents import ForecastsDocument
from cryptocast.api.parameters import Symbols, moment_of
from cryptocast.errors import CryptocastError, StoreError
from cryptocast.workspace import Workspace

MOST_STREAMS = 100
MOST_MISSED = 24
"""How many origins are sent again to a client that comes back."""

_LOOK_SECONDS = 0.5
_ALIVE_SECONDS = 15.0
_ALIVE = ": alive\n\n"

router = APIRouter(tags=["data"])


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "Events `forecast`, each with a forecast of `/forecast` as its data.",
        }
    },
)
async def stream(
    desk: AtDesk,
    symbols: Symbols = [],  # noqa: B006 - FastAPI copies it
    last: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="The id of the last event that arrived: what came since is sent first.",
        ),
    ] = None,
) -> StreamingResponse:
    """Send the newest forecast of each market, then each new one as it is made.

    Server-sent events: the id is the origin. After an interruption a client names the last one,
    as browsers do by themselves, and gets what it missed, of that origin too.
    """
    desk.ws.markets(tuple(symbols))  # an unknown symbol is told before the stream begins
    if desk.streams >= MOST_STREAMS:
        raise StoreError("there are too many streams", code="api.overloaded", retry=True)
    events = _events(desk, tuple(symbols), moment_of(last))
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _events(desk: Desk, symbols: tuple[str, ...], since: int | None) -> AsyncIterator[str]:
    """Yield the events of one client until it leaves or the service ends."""
    sent: dict[str, str] = {}  # the newest origin by market
    quiet, seen = time.monotonic(), ""
    desk.streams += 1
    try:
        yield _ALIVE
        while not desk.ending():
            with suppress(CryptocastError):  # nothing is forecast yet, or the database is busy
                if since is not None:
                    make = partial(_missed, desk.ws, symbols, since)
                    missed = await desk.answer(Recipe(("missed", symbols, since), make))
                    since = None
                    for market, origin, event in _as_events(missed.content):
                        sent[market] = origin
                        yield event
                kept = await desk.answer(newest(desk.ws, symbols))
                if kept.etag != seen:
                    seen = kept.etag
                    for market, origin, event in _as_events(kept.content):
                        if origin > sent.get(market, ""):
                            sent[market], quiet = origin, time.monotonic()
                            yield event
            if time.monotonic() - quiet > _ALIVE_SECONDS:
                quiet = time.monotonic()
                yield _ALIVE
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        desk.streams -= 1


@functools.lru_cache(maxsize=4)  # all listeners are sent the same
def _as_events(content: bytes) -> tuple[tuple[str, str, str], ...]:
    """Return market, origin and event of each forecast in a ForecastsDocument."""
    forecasts: list[ForecastDocument] = json.loads(content)["forecasts"]
    return tuple(
        (
            each["market"],
            each["origin"],
            f"event: forecast\nid: {each['origin']}\n"
            f"data: {json.dumps(each, separators=(',', ':'))}\n\n",
        )
        for each in forecasts
    )


def _missed(ws: Workspace, symbols: tuple[str, ...], since: int) -> ForecastsDocument:
    """Return the served forecasts from an origin on, oldest first, of the newest origins."""
    markets, now = ws.markets(symbols), int(ws.clock.now())
    start = max(since, now - MOST_MISSED * markets[0].interval_seconds)
    with ws.store.read() as reader:
        every = [reader.ledger.origins(market, start, now + 1) for market in markets]
    found: list[ForecastDocument] = []
    for origin in sorted(set[int]().union(*every)):
        with ws.store.read() as reader:  # one by one: whoever writes may come in between
            sets = reader.ledger.served(markets, origin)
        found += [forecast_document(sets[market]) for market in markets if market in sets]
    return {"forecasts": found}
