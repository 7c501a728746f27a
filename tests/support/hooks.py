"""A receiver of POSTs on 127.0.0.1: it keeps what came, and can be told to fail."""

from __future__ import annotations

import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

SECRET = "s3cret-T0ken.41~x"
"""The last part of the URL's path, as most webhooks have one; nothing of it is ever escaped."""


class Hook:
    """The server, as a context manager.

    `status` is what it answers; `how` may be `hang` (no answer until the end), `reset` (the
    connection is cut) or `drip` (a byte of the head now and then).
    """

    def __init__(self) -> None:
        self.status = 204
        self.how = ""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.asked = 0  # how often, whatever came of it
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hook = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.004,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/{SECRET}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.bodies]

    def __enter__(self) -> Hook:
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


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    hook: Hook

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        hook = self.server.hook
        hook.asked += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if hook.how == "reset":
            linger = struct.pack("ii", 1, 0)  # close with RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return
        if hook.how == "hang":
            hook.stopping.wait(3600)
            return
        if hook.how == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if hook.stopping.wait(0.02):
                    return
        if hook.status < 300:
            hook.bodies.append(json.loads(body))
            hook.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response_only(hook.status)
        if 300 <= hook.status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
