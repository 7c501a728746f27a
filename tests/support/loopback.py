"""A real HTTP server on 127.0.0.1 that speaks the exchanges' APIs, from candles that a test gives.

A new exchange is one function in `dialects`: from what was asked to a `Reply`. Faults are a
queue: the next request gets the first of them instead of its answer. `rewrite` is one too:
the next answer that holds candles is spoilt by the first of its steps, made in `spoil`.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptocast.values import Candles
from support.dialects import APIS, KEY, SLUGS
from support.replies import (
    Reply,
    Request,
    as_json,
    continues,
    cut_off,
    drip,
    drip_head,
    hang,
    html,
    redirect,
    reset,
    truncated_json,
)
from support.spoil import Rewrite, rows_in

__all__ = [
    "APIS",
    "KEY",
    "SLUGS",
    "Loopback",
    "Reply",
    "Request",
    "Rewrite",
    "as_json",
    "continues",
    "cut_off",
    "drip",
    "drip_head",
    "hang",
    "html",
    "redirect",
    "reset",
    "truncated_json",
]


class Loopback:
    """The server, as a context manager. `candles` maps symbols (`BTC/EUR`) to what is there.

    `now` hides candles that open later; `skew_seconds` puts the `Date` header ahead;
    `end_inclusive` is how the APIs treat the end of a range, `since_inclusive` how Kraken
    treats its start; `delay_seconds` is waited before each answer.
    """

    def __init__(self, candles: Mapping[str, Candles], *, end_inclusive: bool = True) -> None:
        self.candles = dict(candles)
        self.end_inclusive = end_inclusive
        self.since_inclusive = False
        self.now: float | None = None
        self.skew_seconds = 0.0
        self.delay_seconds = 0.0
        self.dripping = False  # from the first byte of a dripping answer on
        self.requests: list[Request] = []
        self.faults: deque[Reply] = deque()
        self.rewrite: deque[Rewrite] = deque()
        self.stopping = threading.Event()
        self._scripts = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.loopback = self
        # So often it looks whether to stop: hundreds of tests wait for that.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.004,))

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def base_url(self, api: str, host: str = "127.0.0.1") -> str:
        """The root of an API (a name in `dialects.APIS`), for `[source] base_url`."""
        return f"http://{host}:{self._server.server_address[1]}/{api}"

    def rows(self, symbol: str, start_ms: int, end_ms: int) -> list[list[float]]:
        """[ms, open, high, low, close, volume] of a range, oldest first."""
        c = self.candles[symbol]
        last = end_ms if self.end_inclusive else end_ms - 1
        if self.now is not None:
            last = min(last, int(self.now * 1000))
        c = c.take((c.open_time * 1000 >= start_ms) & (c.open_time * 1000 <= last))
        columns = (c.open_time * 1000, c.open, c.high, c.low, c.close, c.volume)
        return [list(row) for row in zip(*(part.tolist() for part in columns), strict=True)]

    def answer(self, request: Request) -> Reply:
        """Record a request; its fault if one is due, else what its API says, spoilt if need be."""
        with self._scripts:
            self.requests.append(request)
            fault = self.faults.popleft() if self.faults else None
        if self.delay_seconds:
            self.stopping.wait(self.delay_seconds)
        if fault is not None:
            return fault
        api = APIS.get(request.api)
        reply = as_json({"error": "no such API"}, 404) if api is None else api(self, request)
        with self._scripts:
            due = bool(self.rewrite) and rows_in(reply) is not None
            step = self.rewrite.popleft() if due else None
        return reply if step is None else step(reply)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # many threads of a client connect at once
    daemon_threads = False  # joined when the server closes, so that no socket is left open
    loopback: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        _, api, path = unquote(url.path).split("/", 2) if url.path.count("/") > 1 else ("", "", "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        loopback = self.server.loopback
        reply = loopback.answer(Request(api, f"/{path}", dict(parse_qsl(url.query)), headers))
        if reply.reset:
            linger = struct.pack("ii", 1, 0)  # close with RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return
        if reply.hang_seconds:
            loopback.stopping.wait(reply.hang_seconds)
            return
        if reply.head:
            self._never_end(reply)
            return
        self._send(reply)

    def _never_end(self, reply: Reply) -> None:
        """Send the head again and again, until the client leaves or the server stops."""
        pieces = [bytes([byte]) for byte in reply.head] if reply.drip_seconds else [reply.head]
        while True:
            for piece in pieces:
                self.wfile.write(piece)
                if self.server.loopback.stopping.wait(reply.drip_seconds):
                    return

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        self.send_header(
            "Date", formatdate(time.time() + self.server.loopback.skew_seconds, usegmt=True)
        )
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = len(reply.body) if reply.declared_length is None else reply.declared_length
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if not reply.drip_seconds:
            self.wfile.write(reply.body)
            return
        for byte in reply.body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            self.server.loopback.dripping = True
            if self.server.loopback.stopping.wait(reply.drip_seconds):
                return

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
