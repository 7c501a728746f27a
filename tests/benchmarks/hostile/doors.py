"""Hostile requests over HTTP, on a sound database and on one that was damaged."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import socket
from pathlib import Path
from urllib.parse import quote

from cases import AS_OF, Case

PATHS = (
    "/", "/markets", "/forecast", "/candles", "/scores", "/status", "/healthz", "/metrics",
    "/stream", "/openapi.json", "/simulate", "/probability", "/docs", "/..", "//", "/%2e%2e/.env",
    "/.env", "/cryptocast.duckdb", "/forecast/", "/forecast%00", "*", "http://evil.example/forecast",
)  # fmt: skip
NAMES = (
    "symbol", "origin", "start", "end", "limit", "step", "evaluation", "paths", "horizon", "seed",
    "above", "below", "touch", "inside", "quantile", "shortfall", "by", "weights", "days", "token",
)  # fmt: skip
VALUES = (
    "BTC/EUR", "sim:BTC/EUR:5m", "", "0", "1", "-1", "1e308", "nan", "inf", "9" * 400, "1" * 20_000,
    "2024-06-03T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0001-01-01", "2024-02-30", "24h",
    "5m", "0h", "BTC/EUR=1,BTC/EUR=2", "=,=", "BTC/EUR=1e300", "' OR 1=1 --", "${jndi:x}", "\x00",
    "\x1b[2J", "\ud800", "😀", "../../etc/passwd", "<script>", "%", "{}", "[]", "null", "true",
)  # fmt: skip
HEADERS = (
    "Host: evil.example", "Host:", "If-None-Match: *", 'If-None-Match: W/"' + "a" * 9000 + '"',
    "Last-Event-ID: 2024-06-03T00:00:00Z", "Last-Event-ID: \x00", "Authorization: Basic eDp5",
    "Authorization: Bearer \xff\xfe", "Content-Length: 10", "Content-Length: -1", "Expect: 100",
    "Transfer-Encoding: chunked", "Connection: Upgrade", "Range: bytes=0-9", "Accept-Encoding: *",
    "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: evil", "Cookie: " + "c" * 5000, ": ",
    "nonsense",
)  # fmt: skip
METHODS = (
    "GET",
    "GET",
    "GET",
    "GET",
    "HEAD",
    "POST",
    "OPTIONS",
    "DELETE",
    "TRACE",
    "get",
    "A" * 99,
)
STATUSES = {200, 304, 400, 401, 404, 405, 421, 422, 501, 503}


def doors(case: Case) -> None:
    """Ask a service whatever comes to mind: it answers, tells no secret, and changes nothing."""
    from cryptocast.api.service import serving  # late: not before the fork
    from cryptocast.workspace import Workspace

    draw = case.draw
    token = "".join(draw.choices("abcdefghijkmnpqrstuvwxyz23456789", k=32))
    workspace = made(case, case.folder / "w", token)
    case.notes.append(damage(draw, workspace / "cryptocast.duckdb"))
    case.secrets = (token, str(workspace), "PID ")
    before, told, out = contents(workspace), list[str](), io.StringIO()
    with contextlib.redirect_stderr(out), Workspace.open(workspace) as ws:
        asked = token if case.chance(0.5) else None
        with serving(ws, "127.0.0.1", 0, asked, told.append) as service:
            port = int(service.url.rpartition(":")[2])
            for _ in range(60):
                look(case, port, request(draw, asked))
            health = f"GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()
            said = answer(port, health, 60)
            if not said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")):
                case.found("hangs", f"the service does not answer any more: {said!r}")
    if "Traceback" in out.getvalue() or token in "".join([*told, out.getvalue()]):
        case.found("tracebacks", out.getvalue())
    if contents(workspace) != before:
        case.found("strays", "the workspace has changed")


def made(case: Case, workspace: Path, token: str) -> Path:
    """A workspace with candles and a forecast of a stand-in."""
    from cryptocast.store import Store
    from cryptocast.values import Deployment

    workspace.mkdir()
    (workspace / "cryptocast.toml").write_text("[source]\nname = 'sim'\n", encoding="utf-8")
    (workspace / ".env").write_text(f"CRYPTOCAST_API_TOKEN={token}\n", encoding="utf-8")
    where = ("-w", workspace, "--as-of", AS_OF, "--quiet")
    case.run("fetch", *where, "--days", "0.5")
    with Store(workspace / "cryptocast.duckdb", 60).write() as writer:
        writer.put_deployment(Deployment(0, 1, "*", "1", None, "promote", "a test", "{}"))
    case.run("forecast", "--once", "--no-fetch", *where)
    return workspace


def damage(draw: random.Random, file: Path) -> str:
    """Damage the database, or not, and say how."""
    how = draw.choice(
        ("sound", "sound", "sound", "short", "bits", "gone", "text", "folder", "link")
    )
    data = file.read_bytes()
    if how == "short":
        file.write_bytes(data[: draw.randrange(len(data))])
    elif how == "bits":
        for _ in range(draw.choice((1, 100))):
            at = draw.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        file.write_bytes(data)
    elif how == "text":
        file.write_text("SELECT 1\n" * 1000)
    elif how != "sound":
        file.unlink()
        if how == "folder":
            file.mkdir()
        elif how == "link":
            file.symlink_to(file)
    return how


def request(draw: random.Random, token: str | None) -> bytes:
    """Return the bytes of one request."""
    pairs = [
        f"{draw.choice(NAMES)}={quote(draw.choice(VALUES), errors='surrogatepass')}"
        for _ in range(draw.choice((0, 0, 1, 1, 2, 5, 40)))
    ]
    target = draw.choice(PATHS) + ("?" + "&".join(pairs) if pairs else "")
    lines = [f"{draw.choice(METHODS)} {target} HTTP/1.{draw.choice('1110')}"]
    lines += ["Host: localhost"] * (draw.random() < 0.9)
    lines += [f"Authorization: Bearer {token}"] * (token is not None and draw.random() < 0.8)
    lines += draw.choices(HEADERS, k=draw.choice((0, 0, 0, 1, 3)))
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace")
    if draw.random() < 0.15:
        at = draw.randrange(len(raw))
        raw = raw[:at] + draw.randbytes(draw.choice((1, 10, 100_000))) + raw[at:]
    return raw


def answer(port: int, raw: bytes, patience: float = 0.5) -> bytes:
    """Return what comes back: an answer, or what there is of it when patience ends."""
    got = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=patience) as connection,
    ):
        connection.sendall(raw)
        while more := connection.recv(1 << 16):
            got += more
            head, end, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"\ncontent-length: (\d+)", head.lower())
            if end and (length is None or len(body) >= int(length[1])):
                break
    return got


def look(case: Case, port: int, raw: bytes) -> None:
    """Ask, and look at the answer."""
    got = answer(port, raw).decode("latin-1")
    case.look_for_secrets(got)
    head, _, body = got.partition("\r\n\r\n")
    status = re.match(r"HTTP/1\.1 (\d{3}) ", head)
    if got and (status is None or int(status[1]) not in STATUSES):
        case.found("tracebacks", f"{raw[:300]!r}: {got[:300]!r}")
    if status is not None and int(status[1]) >= 400 and "application/json" in head and body:
        with contextlib.suppress(ValueError):  # several answers, or none to HEAD
            document = json.loads(body)
            if "error" not in document and "late_seconds" not in document:
                case.found("tracebacks", f"{raw[:300]!r}: {body[:300]!r}")


def contents(workspace: Path) -> dict[str, bytes | None]:
    """Return every file below, with what it holds."""
    return {
        str(p.relative_to(workspace)): p.read_bytes() if p.is_file() else None
        for p in workspace.rglob("*")
    }
