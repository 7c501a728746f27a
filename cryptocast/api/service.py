"""The service: a server in a thread of its own, beside whatever the process does."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from cryptocast.api.app import application
from cryptocast.api.desk import Desk
from cryptocast.api.guard import is_loopback
from cryptocast.errors import UsageError
from cryptocast.workspace import Workspace

WAIT_SECONDS = 2.0
"""How long a request waits for a busy database."""

LEAST_TOKEN = 16
"""A shorter token could be guessed."""

_MOST_CONNECTIONS = 512
_WAITING_CONNECTIONS = 128
_IDLE_SECONDS = 15
_END_SECONDS = 0.4  # a loop that is told to stop has 0.6 s


@dataclass(frozen=True, slots=True)
class ApiService:
    """A service that answers: where, and whether it asks for a token."""

    url: str
    token: bool
    thread: threading.Thread

    def wait(self) -> None:
        """Wait for ever. Raises RuntimeError if the server ends by itself, which is a bug."""
        self.thread.join()
        raise RuntimeError("the server has ended by itself; what it said before is the reason")


@contextmanager
def serving(
    ws: Workspace,
    host: str,
    port: int,
    token: str | None,
    tell: Callable[[str], None],
) -> Iterator[ApiService]:
    """Answer requests about `ws` in a thread for as long as the block lasts.

    Raises UsageError for an address that cannot be had, and for one that others can reach
    without a token.
    """
    _require_token(host, token)
    listener = _listener(host, port)
    server: uvicorn.Server | None = None
    desk = Desk(ws.guest(WAIT_SECONDS), lambda: server is None or server.should_exit)
    config = uvicorn.Config(
        application(desk, token, tell),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="api", daemon=True)
    thread.start()
    try:
        shown = f"[{host}]" if ":" in host else host
        yield ApiService(f"http://{shown}:{listener.getsockname()[1]}", token is not None, thread)
    finally:
        server.should_exit = True
        thread.join(_END_SECONDS)
        desk.ws.close()


def _require_token(host: str, token: str | None) -> None:
    if token is None and not is_loopback(host):
        raise UsageError(
            f"others can reach {host}: that needs a token",
            code="usage.token",
            hint="export CRYPTOCAST_API_TOKEN=..., or put it into .env",
        )
    if token is not None and len(token) < LEAST_TOKEN:
        raise UsageError(
            f"the token has {len(token)} characters, {LEAST_TOKEN} at least are needed",
            code="usage.token",
            hint="openssl rand -hex 32 makes one",
        )


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises UsageError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends what is written at once: answers of a head and a
    # body would otherwise wait 40 ms for the client's receipt of the first.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_WAITING_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"nothing can listen at {host}:{port}: {os.strerror(error.errno or 0)}",
            code="usage.address",
            hint="take another --port, or an address of this machine as --host",
        ) from None
    return listener
