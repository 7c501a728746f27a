"""The server: where it listens, how it streams, and that a loop beside it goes on ticking."""

from __future__ import annotations

import http.client
import importlib.util
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from api.conftest import MARKETS, at, ticked
from cryptocast.api.service import ApiService, serving
from cryptocast.cli.api import TOKEN
from cryptocast.errors import UsageError
from cryptocast.values import iso
from support.commands import INTERVAL, NOW, Done, ended, query, run, start

SECRET = "correct horse battery staple"


@pytest.fixture
def service(folder: Path) -> Iterator[ApiService]:
    """A server on loopback, on a clock that shows every tick of the tests."""
    with at(folder, 9) as ws, serving(ws, "127.0.0.1", 0, None, print) as started:
        yield started


@contextmanager
def connected(url: str) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)) as connection:
        yield connection


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, str, str]]:
    """Market, origin and id of each event; comments are left out."""
    lines: dict[str, str] = {}
    while line := response.readline().decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if name:
            lines[name] = value
        elif "data" in lines:
            forecast = json.loads(lines["data"])
            assert lines["event"] == "forecast"
            yield forecast["market"], forecast["origin"], lines["id"]
            lines = {}


@contextmanager
def streamed(service: ApiService, **headers: str) -> Iterator[Iterator[tuple[str, str, str]]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with connected(service.url) as connection:
        connection.request("GET", "/stream", headers=named)
        with connection.getresponse() as response:
            assert response.getheader("content-type", "").startswith("text/event-stream")
            yield events(response)


def test_a_stream_begins_with_the_newest_and_goes_on_with_each_new_forecast(
    service: ApiService, folder: Path
) -> None:
    with streamed(service) as found:
        for bar in (2, 3, 4):
            if bar > 2:
                ticked(folder, bar)
            moment = iso(NOW + bar * INTERVAL)
            arrived = [next(found), next(found)]
            assert arrived == [(market.id, moment, moment) for market in MARKETS]


def test_a_client_that_comes_back_gets_what_it_missed(service: ApiService, folder: Path) -> None:
    ticked(folder, 3)
    last = iso(NOW + INTERVAL)
    with streamed(service, Last_Event_ID=last) as found:
        moments = [next(found)[1] for _ in range(6)]
        assert moments == [iso(NOW + bar * INTERVAL) for bar in (1, 1, 2, 2, 3, 3)]
        ticked(folder, 4)
        assert next(found)[1] == iso(NOW + 4 * INTERVAL)


def test_a_stream_outlives_a_database_that_is_away(service: ApiService, folder: Path) -> None:
    file = folder / "cryptocast.duckdb"
    file.rename(folder / "away")
    with streamed(service, Last_Event_ID=iso(NOW + 2 * INTERVAL)) as found:
        (folder / "away").rename(file)
        assert next(found)[1] == iso(NOW + 2 * INTERVAL)


def test_a_last_event_that_tells_nothing_is_left_aside(service: ApiService) -> None:
    with streamed(service, Last_Event_ID="\x80yesterday") as found:
        assert next(found)[1] == iso(NOW + 2 * INTERVAL)


def test_many_clients_get_one_answer_at_once(service: ApiService) -> None:
    answers: list[bytes] = []

    def ask() -> None:
        with connected(service.url) as connection:
            for _ in range(5):
                connection.request("GET", "/forecast")
                answers.append(connection.getresponse().read())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40
    assert len(set(answers)) == 1


def test_what_is_no_http_does_no_harm(service: ApiService) -> None:
    address = service.url.removeprefix("http://").split(":")
    for noise in (b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 70_000, b"\r\n" * 50):
        with socket.create_connection((address[0], int(address[1])), timeout=60) as raw:
            raw.sendall(noise)
            raw.shutdown(socket.SHUT_WR)
            raw.recv(100)
    with connected(service.url) as connection:
        connection.request("GET", "/forecast")
        assert connection.getresponse().status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", ""])
def test_an_address_that_others_reach_needs_a_token(folder: Path, host: str) -> None:
    with (
        at(folder, 2) as ws,
        pytest.raises(UsageError, match="needs a token"),
        serving(ws, host, 0, None, print),
    ):
        pass


def test_a_token_is_long_enough_not_to_be_guessed(folder: Path) -> None:
    with (
        at(folder, 2) as ws,
        pytest.raises(UsageError, match="16 at least") as caught,
        serving(ws, "127.0.0.1", 0, "guessme", print),
    ):
        pass
    assert "guessme" not in caught.value.message


def test_an_address_that_cannot_be_had_is_one_line(folder: Path, service: ApiService) -> None:
    port = service.url.rpartition(":")[2]
    done = run("api", "-w", folder, "--port", port)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: nothing can listen at 127.0.0.1:{port}: Address already")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--token", SECRET), "--token names a variable"),
        (("--token", "env:NOT_THERE"), "--token names env:NOT_THERE, which is not set"),
        (("--host", "0.0.0.0"), "others can reach 0.0.0.0: that needs a token"),
        (("--port", "70000"), "Invalid value for '--port'"),
    ],
)
def test_a_service_that_cannot_be_is_refused(
    folder: Path, options: tuple[str, ...], what: str
) -> None:
    done = run("api", "-w", folder, *options)
    assert (done.code, done.out) == (2, "")
    assert what in done.err
    assert SECRET not in done.err


@pytest.mark.parametrize("address", ["", "x", "80000", "127.0.0.1", "0.0.0.0:0"])
def test_a_loop_refuses_an_address_before_its_first_tick(folder: Path, address: str) -> None:
    before = query(folder, "SELECT count(*) FROM ticks")
    done = run("serve-loop", "-w", folder, "--api", address, "--max-ticks", "1")
    assert done.code == 2
    assert query(folder, "SELECT count(*) FROM ticks") == before


def test_the_command_serves_until_it_is_told_to_end(folder: Path) -> None:
    words = ("api", "-w", folder, "--port", "0", "--as-of", iso(NOW + 2 * INTERVAL), "--json")
    child = start(*words, environ={TOKEN.removeprefix("env:"): SECRET})
    assert child.stdout is not None
    told = json.loads(child.stdout.readline())["data"]
    assert told["token"] is True
    statuses = []
    with connected(told["url"]) as connection:
        for headers in ({}, {"Authorization": f"Bearer {SECRET}"}):
            connection.request("GET", "/forecast", headers=headers)
            with connection.getresponse() as response:
                response.read()
                statuses.append(response.status)
    child.send_signal(signal.SIGTERM)
    assert ended(child) == Done(0, "", "")
    assert statuses == [401, 200]


def test_without_the_extra_one_line_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run("api", "-w", folder)
    assert done.code == 2
    assert done.err == "error: fastapi is not installed (pip install 'cryptocast[api]')\n"


def test_a_loop_serves_beside_its_ticks(folder: Path) -> None:
    words = ("serve-loop", "-w", folder, "--as-of", iso(NOW + 3 * INTERVAL), "--max-ticks", "3")
    done = run(*words, "--api", "0", "--json")
    assert done.code == 0, done.err
    assert "served at http://127.0.0.1:" in done.err
    assert json.loads(done.out.splitlines()[-1])["data"]["summary"] == {"ticks": 3, "failed": 0}
