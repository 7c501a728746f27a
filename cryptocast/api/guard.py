"""The guard before all routes: who may ask, and what browsers may do with the answers."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = ("/", "/healthz", "/openapi.json")
"""What needs no token: it holds nothing of the workspace but whether its forecasts are late."""

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""For pages: they load nothing, and send nothing anywhere."""

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def is_loopback(host: str) -> bool:
    """Return whether an address, or the name localhost, is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Middleware: asks for the token, if there is one, and otherwise for the name of this machine.

    Without a token, a page of another site could send a browser's requests here under a name of
    its own that it lets point to 127.0.0.1; those are refused by their `Host`.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        """Stand before `app`; `token` is what `Authorization: Bearer` must bring."""
        self._app = app
        self._digest = None if token is None else _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        head = dict(scope["headers"])

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        refusal = self._refusal(scope["path"], head)
        if refusal is not None:
            return await _refuse(guarded, *refusal)
        # A server sends no body in answer to HEAD, whatever the application gives it.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        return await self._app({**scope, "method": method}, receive, guarded)

    def _refusal(self, path: str, head: dict[bytes, bytes]) -> tuple[int, dict[str, str]] | None:
        """Return the status and the error of a request that may not pass, or None."""
        if self._digest is None:
            host = head.get(b"host", b"").decode("latin-1")
            name = host if host.endswith("]") else host.rpartition(":")[0] or host
            if is_loopback(name):
                return None
            hint = "ask for 127.0.0.1 or localhost, or let the service demand a token"
            return 421, _fault("api.host", "this service answers to the name of its machine", hint)
        if path in OPEN:
            return None
        scheme, _, given = head.get(b"authorization", b"").partition(b" ")
        right = hmac.compare_digest(_digest(given.strip()), self._digest)
        if right and scheme.lower() == b"bearer":
            return None
        return 401, _fault(
            "api.token", "the token is missing or wrong", "Authorization: Bearer ..."
        )


def _digest(text: bytes) -> bytes:
    """Return a hash: comparing those takes as long whatever the length of the text."""
    return hashlib.sha256(text).digest()


def _fault(code: str, message: str, hint: str) -> dict[str, str]:
    return {"code": code, "message": message, "hint": hint}


async def _refuse(send: Send, status: int, error: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})
