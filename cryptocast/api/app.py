"""The application: its routes, its errors, and its description."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from cryptocast import __version__
from cryptocast.api import data, examples, futures, state, stream
from cryptocast.api.desk import JSON, RETRY_SECONDS, Desk, encoded
from cryptocast.api.documents import ErrorDocument
from cryptocast.api.guard import OPEN, PAGE_POLICY, Guard
from cryptocast.api.page import described
from cryptocast.errors import CryptocastError, RegistryError, StateError, StoreError, UsageError

_ABOUT = """Forecasts of crypto prices, and how good they are: a workspace of cryptocast, read-only.

All times are ISO 8601 in UTC, all prices in the quote currency of their market. Errors are
`{"error": {"code", "message", "hint"}}`. Answers have an ETag: send it as If-None-Match, and
while nothing is new the answer is 304, without a body."""

_FAULTS: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorDocument, "description": "There is no such market, or nothing to show."},
    422: {"model": ErrorDocument, "description": "A parameter cannot be used."},
    503: {
        "model": ErrorDocument,
        "description": "The database is busy, or there is none. Try again after Retry-After.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
    },
}
_STATUSES = {"config.symbol": 404, "usage.not_installed": 501, "state.no_workspace": 503}
_TOLD_SECONDS = 60.0


def application(desk: Desk, token: str | None, tell: Callable[[str], None]) -> ASGIApp:
    """Return the service behind its guard; `tell` is told what keeps it from answering."""
    app = _routed(token is not None)
    app.state.desk = desk
    faults = _Faults(tell)
    app.add_exception_handler(CryptocastError, faults.known)
    app.add_exception_handler(RequestValidationError, faults.parameter)
    app.add_exception_handler(HTTPException, faults.route)
    app.add_exception_handler(Exception, faults.bug)
    return Guard(app, token)


def _routed(guarded: bool) -> FastAPI:
    """Return all routes, which every service has, and their description."""
    app = FastAPI(
        title="cryptocast",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,  # it is completed and served below, and so is its page
        redirect_slashes=False,
        responses=_FAULTS,
    )
    for part in (data, futures, state, stream):
        app.include_router(part.router)
    schema = _described(app.openapi(), guarded)
    page, description = described(schema).encode(), encoded(schema)
    app.add_api_route("/", lambda: _page(page), include_in_schema=False)
    app.add_api_route(
        "/openapi.json", lambda: Response(description, media_type=JSON), include_in_schema=False
    )
    return app


def _page(text: bytes) -> Response:
    return Response(
        text,
        media_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"},
    )


def _described(schema: dict[str, Any], guarded: bool) -> dict[str, Any]:
    """Add to the description what FastAPI does not know: examples, and the token."""
    for path, methods in schema["paths"].items():
        operation = methods["get"]
        content = operation["responses"]["200"]["content"]
        for media, shown in content.items():
            if media == JSON:
                shown["example"] = examples.of(path)
        if guarded and path not in OPEN:
            operation["security"] = [{"token": []}]
            operation["responses"]["401"] = {
                **operation["responses"]["404"],
                "description": "The token is missing or wrong.",
            }
    if guarded:
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
    return schema


class _Faults:
    """Turns errors into responses. What the outside need not know is told here instead."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: dict[str, float] = {}

    async def known(self, _: Request, error: Exception) -> Response:
        """Answer an error that a person can do something about."""
        assert isinstance(error, CryptocastError)  # noqa: S101 - for the type checker
        status = _status(error)
        if status not in (500, 503):
            return _fault(status, error.code, error.message, error.hint)
        self._tell_once(error)  # paths and process ids are nobody's business but ours
        if status == 500:
            hint = "the service's own output says why"
            return _fault(status, error.code, "this cannot be answered", hint)
        what, hint = "what this needs cannot be read now", f"try again in {RETRY_SECONDS} s"
        return _fault(status, error.code, what, hint, {"Retry-After": str(RETRY_SECONDS)})

    async def parameter(self, _: Request, error: Exception) -> Response:
        """Answer parameters that are out of their limits."""
        assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type checker
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return _fault(422, "usage.parameter", f"{place}: {first['msg']}", "see /openapi.json")

    async def route(self, _: Request, error: Exception) -> Response:
        """Answer a path or method that there is not."""
        assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
        code = "api.method" if error.status_code == 405 else "api.route"
        return _fault(error.status_code, code, error.detail, "/ lists the routes", error.headers)

    async def bug(self, _: Request, __: Exception) -> Response:
        """Answer a bug, whose traceback the server prints."""
        return _fault(500, "bug", "this is a bug of the service", "its log has the traceback")

    def _tell_once(self, error: CryptocastError) -> None:
        """Tell an error in full, and again after a minute if it lasts."""
        if time.monotonic() - self._told.get(error.code, -_TOLD_SECONDS) >= _TOLD_SECONDS:
            self._told[error.code] = time.monotonic()
            self._tell(f"{error.message} ({error.hint})")


def _status(error: CryptocastError) -> int:
    """Return the HTTP status of an error."""
    if error.code in _STATUSES:
        return _STATUSES[error.code]
    for kind, status in ((StateError, 404), (UsageError, 422)):
        if isinstance(error, kind):
            return status
    return 503 if isinstance(error, StoreError | RegistryError) else 500


def _fault(
    status: int, code: str, message: str, hint: str, headers: Mapping[str, str] | None = None
) -> Response:
    document: ErrorDocument = {"error": {"code": code, "message": message, "hint": hint}}
    content = encoded(document)
    return Response(content, status_code=status, media_type=JSON, headers=dict(headers or {}))
