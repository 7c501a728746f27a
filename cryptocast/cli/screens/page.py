"""The report page on 127.0.0.1, for a browser on this machine."""

from __future__ import annotations

import signal
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from cryptocast.cli.root.output import warn
from cryptocast.errors import CryptocastError, UsageError

if TYPE_CHECKING:
    from cryptocast.workspace import Workspace

HOST = "127.0.0.1"
_PATHS = ("/", "/report.html")
_IDLE_SECONDS = 10  # a browser that opens a connection and sends nothing blocks nobody longer
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PageServer:
    """Serves one file, read from disk per request and made anew once a bar has passed.

    Only requests that name this machine itself are answered: a page elsewhere whose host name
    leads here (DNS rebinding) learns nothing. Raises UsageError if the port is taken.
    """

    def __init__(self, file: Path, port: int, make: Callable[[], object], ws: Workspace) -> None:
        """Take the port; requests are answered from `serve_until_stopped` on."""
        self._file, self._make, self._ws = file, make, ws
        self._made_for = self._bar()
        self._turn = threading.Lock()
        try:
            self._http = _Server((HOST, port), self.page)
        except OSError as error:
            raise UsageError(
                f"port {port} of {HOST} is not available: {error.strerror}",
                hint="choose another --port, or --port 0 for any that is free",
            ) from error

    @property
    def address(self) -> str:
        """The address to type into a browser."""
        return f"http://{HOST}:{self._http.server_address[1]}/"

    def page(self) -> bytes:
        """Return the file, made anew if a bar has passed; one that cannot be stays as it was."""
        with self._turn:
            if self._bar() != self._made_for:
                try:
                    self._make()
                    self._made_for = self._bar()
                except CryptocastError as error:
                    warn(f"the report stays as it was: {error.message} ({error.hint})")
        return self._file.read_bytes()

    def _bar(self) -> int:
        return self._ws.markets()[0].floor(self._ws.clock.now())

    def serve_until_stopped(self) -> None:
        """Answer until SIGINT, SIGTERM or SIGHUP."""
        stop = threading.Event()
        before = {s: signal.signal(s, lambda *_: stop.set()) for s in _SIGNALS}
        worker = threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True)
        worker.start()
        try:
            while not stop.wait(0.5):
                pass
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
            self._http.shutdown()

    def __enter__(self) -> PageServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._http.server_close()


class _Server(socketserver.ThreadingTCPServer):
    """A server with a thread per connection: a browser opens some that it never uses."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], page: Callable[[], bytes]) -> None:
        """Take the address; `page` returns what is served."""
        super().__init__(address, _Handler)
        self.page = page

    def handle_error(self, request: object, client_address: object) -> None:
        """Do nothing: a browser that left is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_SECONDS
    server_version = "cryptocast"
    sys_version = ""
    server: _Server

    def do_GET(self) -> None:
        """Answer with the page, or a refusal."""
        host = (self.headers.get("Host") or "").partition(":")[0]
        if host not in (HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        if self.path.partition("?")[0] not in _PATHS:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            page = self.server.page()
        except OSError as error:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=str(error.strerror))
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: nobody needs to know who looks at the page."""
