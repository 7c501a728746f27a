"""A real HTTP server on 127.0.0.1 that speaks the exchanges' APIs, from candles that a test gives.

A new exchange is one function in `APIS`: from what was asked to a `Reply`. Faults are a
queue: the next request gets the first of them instead of its answer.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptocast.values import Candles

KEY = "loopback-key-4f1d9c"
SLUGS = {"bitcoin": "BTC", "ethereum": "ETH", "solana": "SOL"}


@dataclass(frozen=True)
class Request:
    """What a client asked, with the prefix of the API cut off."""

    api: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case


@dataclass(frozen=True)
class Reply:
    """An answer, or a fault: a body may be cut, held back, dripped, or the line reset."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    declared_length: int | None = None
    hang_seconds: float = 0.0
    drip_seconds: float = 0.0
    reset: bool = False


def as_json(document: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON reply; `Retry_After="1"` is a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = {"Content-Type": "application/json"}
    return Reply(status, json.dumps(document).encode(), {**kind, **named})


def html(status: int = 200) -> Reply:
    """A page for people, as proxies and maintenance windows give it."""
    return Reply(status, b"<!doctype html><html><h1>Be right back</h1></html>")


def truncated_json() -> Reply:
    """Whole by its length, broken as JSON."""
    return Reply(200, b'{"candles": [{"open": 1.0, "high')


def cut_off() -> Reply:
    """A body that ends before its declared length: the connection broke."""
    return Reply(200, b'{"candles": [', declared_length=5000)


def hang(seconds: float = 30.0) -> Reply:
    """No answer for so long (the server's end cuts it short)."""
    return Reply(hang_seconds=seconds)


def drip(seconds: float = 0.05) -> Reply:
    """A byte now and a byte then: no single read times out."""
    return Reply(200, b" " * 2000, drip_seconds=seconds)


def reset() -> Reply:
    """The connection is torn down without a word."""
    return Reply(reset=True)


def redirect(to: str) -> Reply:
    """Elsewhere."""
    return Reply(302, b"", {"Location": to})


class Loopback:
    """The server, as a context manager. `candles` maps symbols (`BTC/EUR`) to what is there.

    `now` hides candles that open later; `skew_seconds` puts the `Date` header ahead;
    `end_inclusive` is how the APIs treat the end of a range.
    """

    def __init__(self, candles: Mapping[str, Candles], *, end_inclusive: bool = True) -> None:
        self.candles = dict(candles)
        self.end_inclusive = end_inclusive
        self.now: float | None = None
        self.skew_seconds = 0.0
        self.requests: list[Request] = []
        self.faults: deque[Reply] = deque()
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.loopback = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

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
        """The root of an API (`coincap`, `bitvavo`), for `[source] base_url`."""
        return f"http://{host}:{self._server.server_address[1]}/{api}"

    def rows(self, symbol: str, start_ms: int, end_ms: int) -> list[list[float]]:
        """[ms, open, high, low, close, volume] of a range, oldest first."""
        c = self.candles[symbol]
        columns = zip(c.open_time, c.open, c.high, c.low, c.close, c.volume, strict=True)
        rows = [[int(t) * 1000, *(float(p) for p in rest)] for t, *rest in columns]
        if self.now is not None:
            rows = [row for row in rows if row[0] <= self.now * 1000]
        last = end_ms if self.end_inclusive else end_ms - 1
        return [row for row in rows if start_ms <= row[0] <= last]

    def answer(self, request: Request) -> Reply:
        """Record a request; its fault if one is due, else what its API says."""
        self.requests.append(request)
        if self.faults:
            return self.faults.popleft()
        api = APIS.get(request.api)
        return as_json({"error": "no such API"}, 404) if api is None else api(self, request)


def coincap(server: Loopback, request: Request) -> Reply:
    """CoinCap v3: a key, slugs, JSON numbers, USD, no volume."""
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return as_json({"error": "Unauthorized: invalid API key"}, 401)
    if request.path == "/assets":
        wanted = request.query["search"].lower()
        bases = {symbol.split("/")[0] for symbol in server.candles}
        slugs = {base: slug for slug, base in SLUGS.items()}
        assets = [
            {"id": slugs.get(base, base.lower()), "symbol": base, "name": base.title(), "rank": "1"}
            for base in sorted(bases)
            if wanted in base.lower()
        ]
        return as_json({"data": assets[: int(request.query.get("limit", 100))], "timestamp": 1})
    parts = request.path.split("/")
    if len(parts) != 4 or parts[1] != "ta" or parts[3] != "candlesticks":
        return as_json({"error": "Not Found"}, 404)
    symbol = f"{SLUGS.get(parts[2], parts[2].upper())}/USD"
    if symbol not in server.candles:
        return as_json({"error": "Asset history not found"}, 404)
    start, end = int(request.query["start"]), int(request.query["end"])
    if start >= end:
        return Reply(400, b"start must be less than end")
    keys = ("time", "open", "high", "low", "close")
    rows = server.rows(symbol, start, end)
    candles = [dict(zip(keys, row[:5], strict=True)) for row in rows]
    return as_json({"candles": candles, "timestamp": int(time.time() * 1000)})


def bitvavo(server: Loopback, request: Request) -> Reply:
    """Bitvavo v2: no key, rows of strings, newest first, at most `limit`."""
    parts = request.path.split("/")
    symbol = parts[1].replace("-", "/")
    if len(parts) != 3 or parts[2] != "candles" or symbol not in server.candles:
        return as_json({"errorCode": 205, "error": "market parameter is invalid."}, 400)
    query = request.query
    rows = server.rows(symbol, int(query["start"]), int(query["end"]))[::-1]
    rows = rows[: min(int(query.get("limit", 1440)), 1440)]
    return as_json([[row[0], *(repr(value) for value in row[1:])] for row in rows])


APIS: dict[str, Callable[[Loopback, Request], Reply]] = {"coincap": coincap, "bitvavo": bitvavo}


class _Server(ThreadingHTTPServer):
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
        self._send(reply)

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
            if self.server.loopback.stopping.wait(reply.drip_seconds):
                return

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
