"""The session that every HTTP source uses: what it asks again, what it never says."""

from __future__ import annotations

import gzip
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from requests import Response

from cryptocast import __version__
from cryptocast.clock import SystemClock, VirtualClock
from cryptocast.errors import CryptocastError, SourceError, UsageError
from cryptocast.sources._exchange import check_askable
from cryptocast.sources._http import Http
from cryptocast.sources._pace import Limits, Patience
from cryptocast.values import Market
from support.loopback import Loopback, Reply, as_json, cut_off, drip, hang, html, redirect, reset
from support.patience import (
    BRIEF,
    PATIENT,
    forbid_sleep,
    leap_at_a_drip,
    wait_briefly_for_what_hangs,
)

SECRET = "s3cret-0123456789"
BTC = Market.of("BTC/EUR", "bitvavo", "5m")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback({}) as loopback:
        wait_briefly_for_what_hangs(monkeypatch, loopback)
        yield loopback


def client(
    server: Loopback,
    *,
    key: str | None = SECRET,
    patience: Patience = PATIENT,
    host: str = "127.0.0.1",
) -> Http:
    base_url = server.base_url("echo", host)
    return Http("echo", base_url, explain=lambda _: None, key=key, limits=Limits(patience))


def ask(server: Loopback, *faults: Reply, patience: Patience = PATIENT) -> CryptocastError:
    """The error of one request that meets these faults; it holds neither key nor query."""
    server.faults.extend(faults)
    http = client(server, patience=patience)
    with pytest.raises(CryptocastError) as caught:
        http.get("/path", {"secret_query": "hush"})
    http.close()
    shown = f"{caught.value.message} {caught.value.hint}"
    assert SECRET not in shown
    assert "hush" not in shown
    return caught.value


def test_an_answer_is_decoded_and_the_request_says_who_asks(server: Loopback) -> None:
    server.faults.append(as_json([1, 2]))
    http = client(server)
    assert http.get("/path", {"a": 1}) == [1, 2]
    http.close()
    (request,) = server.requests
    assert request.headers["user-agent"] == f"cryptocast/{__version__}"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert (request.path, request.query) == ("/path", {"a": "1"})


@pytest.mark.parametrize(
    "fault",
    [
        Reply(500, b"oops"),
        Reply(503, b""),
        as_json({"error": "too many requests per minute"}, 429),
        reset(),
        cut_off(),
        hang(),
    ],
    ids=["500", "503", "429", "reset", "cut off", "time-out"],
)
def test_a_passing_fault_is_asked_again(server: Loopback, fault: Reply) -> None:
    server.faults.extend([fault, as_json("fine")])
    http = client(server)
    assert http.get("/path", {}) == "fine"
    http.close()
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "code", "retry"),
    [
        (Reply(400, b"bad"), "source.http", False),
        (Reply(401, b""), "source.bad_key", False),
        (Reply(403, b""), "source.forbidden", False),
        (Reply(451, b""), "source.forbidden", False),
        (html(), "source.bad_answer", False),
        (Reply(200, b'{"a": '), "source.bad_answer", False),
        (Reply(200, b""), "source.bad_answer", False),
    ],
)
def test_a_lasting_fault_is_asked_once(
    server: Loopback, fault: Reply, code: str, retry: bool
) -> None:
    error = ask(server, fault)
    assert (error.code, error.retry, error.exit_code) == (code, retry, 4)
    assert error.hint
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Reply(502, b""), "source.http"),
        (Reply(429, b""), "source.rate_limited"),
        (reset(), "source.unreachable"),
        (hang(), "source.timeout"),
    ],
)
def test_four_tries_are_the_most(server: Loopback, fault: Reply, code: str) -> None:
    error = ask(server, *[fault] * 9)
    assert (error.code, error.retry) == (code, True)
    assert len(server.requests) == 4


def test_messages_say_what_happened_and_what_to_do(server: Loopback) -> None:
    error = ask(server, *[as_json({"message": "down\nfor \x1b[31m maintenance"}, 503)] * 4)
    assert error.message == ("echo has a fault of its own (HTTP 503: down for [31m maintenance)")
    assert error.hint == (
        "run the same command again in some minutes, or take another source: "
        '[source] name = "bitvavo", init --source bitvavo'
    )
    assert ask(server, html()).message == (
        "echo answered with an HTML page instead of JSON (GET /path)"
    )
    assert ask(server, Reply(200, b"[1, 2")).message == (
        "echo answered with broken JSON (GET /path)"
    )
    silence = ask(server, *[hang()] * 4, patience=BRIEF)
    assert silence.message == "echo did not answer within 0.15 s (GET /path)"


def test_a_key_that_the_server_repeats_is_blotted_out(server: Loopback) -> None:
    error = ask(server, as_json({"error": f"key {SECRET} is unknown"}, 401))
    assert error.message == "echo does not accept the key (HTTP 401: key *** is unknown)"


def test_retry_after_is_honoured_where_it_fits(server: Loopback) -> None:
    server.faults.extend([as_json({}, 429, Retry_After="0.3"), as_json("fine")])
    http = client(server)
    before = time.monotonic()
    assert http.get("/path", {}) == "fine"
    http.close()
    assert time.monotonic() - before >= 0.3


def test_a_wait_beyond_the_deadline_is_not_begun(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_sleep(monkeypatch)
    error = ask(server, as_json({"error": "slow down"}, 429, Retry_After="7200"))
    assert len(server.requests) == 1
    assert error.message == (
        "echo limits how often it is asked and asks to wait 7200 s (HTTP 429: slow down)"
    )


def test_an_unreadable_retry_after_is_overlooked(server: Loopback) -> None:
    server.faults.extend([as_json({}, 503, Retry_After="soon"), as_json("fine")])
    http = client(server)
    assert http.get("/path", {}) == "fine"
    http.close()


def test_a_dripping_server_does_not_outlive_the_patience(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    leap_at_a_drip(monkeypatch, server)
    error = ask(server, drip(0.002))
    assert error.code == "source.timeout"
    assert error.message == "echo did not finish its answer in time (GET /path)"
    assert len(server.requests) == 1


def test_a_closed_port_is_unreachable_by_name() -> None:
    with Loopback({}) as gone:
        http = client(gone)
        host = gone.base_url("echo").split("/")[2]
    with pytest.raises(SourceError) as caught:
        http.get("/path", {"secret_query": "hush"})
    http.close()
    assert caught.value.message == f"echo cannot be reached at {host}: connection refused"
    assert caught.value.code == "source.unreachable"
    assert caught.value.hint.startswith("check the network and [source] base_url")


def test_the_key_does_not_follow_a_redirect_to_another_host(server: Loopback) -> None:
    with Loopback({}) as other:
        other.faults.append(as_json("elsewhere"))
        server.faults.append(redirect(other.base_url("echo", "localhost")))
        http = client(server)
        assert http.get("/path", {}) == "elsewhere"
        http.close()
        assert "authorization" in server.requests[0].headers
        assert "authorization" not in other.requests[0].headers


def test_the_key_does_not_follow_a_redirect_to_another_port(server: Loopback) -> None:
    with Loopback({}) as other:
        other.faults.append(as_json("elsewhere"))
        server.faults.append(redirect(other.base_url("echo")))
        http = client(server)
        assert http.get("/path", {}) == "elsewhere"
        http.close()
        assert "authorization" in server.requests[0].headers
        assert "authorization" not in other.requests[0].headers


def test_the_key_follows_a_redirect_within_its_own_host(server: Loopback) -> None:
    server.faults.extend([redirect("/echo/new"), as_json("moved")])
    http = client(server)
    assert http.get("/path", {}) == "moved"
    http.close()
    assert server.requests[1].path == "/new"
    assert server.requests[1].headers["authorization"] == f"Bearer {SECRET}"


def test_redirects_without_end_are_a_bad_answer(server: Loopback) -> None:
    error = ask(server, *[redirect("/echo/again")] * 9)
    assert error.code == "source.bad_answer"
    assert error.message == "echo answered with one redirect after another (GET /path)"


def test_a_netrc_does_not_replace_the_key(
    server: Loopback, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = Path(str(tmp_path)) / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.faults.append(as_json(1))
    http = client(server)
    http.get("/path", {})
    http.close()
    assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"


def test_a_proxy_from_the_environment_does_not_serve_loopback(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.faults.append(as_json(1))
    http = client(server)
    assert http.get("/path", {}) == 1
    http.close()


def test_the_servers_date_is_compared_with_this_machine(server: Loopback) -> None:
    server.skew_seconds = 900
    server.faults.append(as_json(1))
    http = client(server)
    assert http.skew_seconds is None
    http.get("/path", {})
    http.close()
    assert http.skew_seconds == pytest.approx(900, abs=60)


def test_the_skew_is_that_of_the_last_answer_of_each_thread(server: Loopback) -> None:
    http = client(server)
    server.faults.extend([as_json(1), as_json(1, Age="600")])
    server.skew_seconds = 900
    http.get("/path", {})
    server.skew_seconds = -900
    with ThreadPoolExecutor(1) as other:
        other.submit(http.get, "/path", {}).result()
        cached = other.submit(lambda: http.skew_seconds).result()
    assert http.skew_seconds == pytest.approx(900, abs=60)
    assert cached == pytest.approx(-300, abs=60)  # a cache had held it for ten minutes
    http.close()


def test_the_skew_is_taken_before_the_body(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, system = Http._body, time.time

    def long(self: Http, path: str, response: Response, deadline: float) -> bytes:
        monkeypatch.setattr(time, "time", lambda: system() + 900)
        return body(self, path, response, deadline)

    monkeypatch.setattr(Http, "_body", long)
    server.faults.append(as_json(1))
    http = client(server)
    http.get("/path", {})
    http.close()
    assert http.skew_seconds == pytest.approx(0, abs=60)


def test_what_is_not_known_beforehand_is_logged(
    server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "cryptocast")
    headers = {"X-Credits-Left": "17", "X-RateLimit-Key": SECRET}
    server.faults.extend([Reply(503, b"x"), Reply(200, b"[1]", headers)])
    http = client(server)
    http.get("/path", {"secret_query": "hush"})
    http.close()
    first, again, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("echo answered HTTP 503 with 1 bytes (GET /path)")
    assert again == "echo has a fault of its own (HTTP 503: x); asking again in 0.0 s"
    assert last == (
        "echo answered HTTP 200 with 3 bytes (GET /path) x-credits-left: 17; x-ratelimit-key: ***"
    )


def zipped(body: bytes) -> Reply:
    return Reply(200, body, {"Content-Encoding": "gzip"})


def test_a_zipped_answer_is_unpacked(server: Loopback) -> None:
    server.faults.append(zipped(gzip.compress(b"[1, 2]")))
    http = client(server)
    assert http.get("/path", {}) == [1, 2]
    http.close()


def test_a_gzip_bomb_is_a_bad_answer(server: Loopback) -> None:
    error = ask(server, zipped(gzip.compress(bytes(80 * 1024 * 1024), 1)))
    assert error.code == "source.bad_answer"
    assert error.message == "echo answered with more than 32 MiB (GET /path)"
    assert len(server.requests) == 1


def test_a_body_that_cannot_be_unpacked_is_a_bad_answer(server: Loopback) -> None:
    error = ask(server, zipped(b"[1, 2]"))
    assert error.code == "source.bad_answer"
    assert error.message == "echo answered with a body that cannot be unpacked (GET /path)"
    assert len(server.requests) == 1


def test_an_error_inside_a_200_is_what_the_api_makes_of_it(server: Loopback) -> None:
    busy = SourceError("echo is busy", code="source.http", retry=True)
    http = Http(
        "echo",
        server.base_url("echo"),
        explain=lambda _: None,
        judge=lambda answer: busy if answer == "busy" else None,
        limits=Limits(PATIENT),
    )
    server.faults.extend([as_json("busy"), as_json("fine")])
    assert http.get("/path", {}) == "fine"
    server.faults.extend([as_json("busy")] * 4)
    with pytest.raises(SourceError, match="echo is busy"):
        http.get("/path", {})
    http.close()
    assert len(server.requests) == 6


class KeepAlive(BaseHTTPRequestHandler):
    """A server that keeps connections, as the real ones do, and counts them."""

    protocol_version = "HTTP/1.1"
    ports: set[int]
    barrier: threading.Barrier

    def do_GET(self) -> None:
        self.ports.add(self.client_address[1])
        self.barrier.wait(600)
        self.send_response_only(200)
        if self.path.endswith("zipped"):
            self.send_header("Content-Encoding", "gzip")
        chunked = self.path.endswith("chunked")
        body = gzip.compress(b"[1]") if self.path.endswith("zipped") else b"[1]"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def keeping(clients: int) -> Iterator[tuple[Http, set[int]]]:
    """A client of a server that keeps connections and answers so many requests at once."""
    ports: set[int] = set()
    members = {"ports": ports, "barrier": threading.Barrier(clients)}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (KeepAlive,), members))
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    root = f"http://127.0.0.1:{server.server_address[1]}"
    http = Http("echo", root, explain=lambda _: None, limits=Limits(PATIENT))
    yield http, ports
    http.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_connection_serves_calls_in_a_row() -> None:
    with keeping(1) as (http, ports):
        for path in ("/plain", "/zipped", "/chunked", "/plain"):
            assert http.get(path, {}) == [1]
        assert len(ports) == 1
        assert http.skew_seconds is None  # this server tells no time


def test_eight_threads_share_a_session_and_its_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    with keeping(8) as (http, ports), ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: http.get("/plain", {}), range(80)))
        assert answers == [[1]] * 80
        assert len(ports) == 8
    assert caplog.messages == []


def test_a_closed_session_may_be_used_again() -> None:
    with keeping(1) as (http, ports):
        for _ in range(2):
            assert http.get("/plain", {}) == [1]
            http.close()
        assert len(ports) == 2


def test_nothing_is_logged_that_holds_the_key(
    server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ask(server, Reply(401, b""))
    assert SECRET not in caplog.text


def test_an_as_of_in_the_future_is_refused() -> None:
    check_askable("bitvavo", BTC, ["5m"], SystemClock())
    check_askable("bitvavo", BTC, ["5m"], VirtualClock(1_600_000_000))
    with pytest.raises(UsageError) as caught:
        check_askable("bitvavo", BTC, ["5m"], VirtualClock(4_102_444_800))
    assert caught.value.message == (
        "--as-of 2100-01-01T00:00:00Z is in the future, which bitvavo does not know"
    )
