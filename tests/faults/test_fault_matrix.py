"""Every fault at every HTTP source, through `fetch`: over real HTTP.

No wrong row is stored, no valid one lost, the requests are bounded, the error has its code.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from cryptocast.values import iso
from faults.cases import ALL, BEFORE, BUT_A_PAGE, BUT_ONE, FAULTS, FOR_EVER, heal
from faults.world import SOURCES, Table, World, copied, with_earlier_bars
from support import spoil
from support.commands import INTERVAL, NOW, Done
from support.loopback import KEY, Loopback, Reply, Request, redirect

CASES = [
    pytest.param(name, source, id=f"{source}: {name}")
    for name, fault in FAULTS.items()
    for source in SOURCES
    if source not in fault.without
]


@pytest.fixture
def spot(request: pytest.FixtureRequest) -> Iterator[World]:
    """A workspace at the source that the test is for."""
    source = request.getfixturevalue("source")
    with copied(source, with_earlier_bars(source)) as made:
        yield made


def told(done: Done, exit_code: int, code: str) -> dict[str, Any]:
    """Check how a fetch ended; returns its market, or its error. The key is nowhere."""
    assert KEY not in done.out + done.err
    assert "Traceback" not in done.err
    assert done.code == exit_code, done.err
    if exit_code:
        assert done.error["code"] == code
        assert done.error["message"]
        assert done.error["hint"]
        return done.error
    (market,) = done.data["markets"]
    assert market["error"] is None
    return dict(market)


def missing(spot: World) -> Table:
    """What is not stored of what the server has; nothing else is stored."""
    stored, truth = spot.stored(), spot.truth
    assert stored.items() <= truth.items()
    return {t: row for t, row in truth.items() if t not in stored}


@pytest.mark.parametrize(("name", "source"), CASES)
def test_a_fault_stores_nothing_wrong_and_loses_nothing_right(
    spot: World, name: str, source: str
) -> None:
    fault = FAULTS[name]
    fault.prepare(spot)
    found = told(spot.fetch(), fault.exit_of(source), fault.code_of(source))
    at = min(fault.from_page, spot.pages)
    proper = at - 1 if fault.keeps == BEFORE else spot.pages - 1
    assert proper < len(spot.server.requests) <= proper + fault.most
    lost = missing(spot)
    if fault.keeps == ALL:
        assert lost == {}
    elif fault.keeps == BUT_ONE:
        assert (len(lost), found["rejected"], found["missing"]) == (1, 1, 1)
        assert lost.items() <= spot.page(at).items()
    else:
        answered = [spot.page(page) for page in range(1, at)]
        assert not any(lost.keys() & page.keys() for page in answered)
    if fault.keeps == BUT_A_PAGE:
        assert lost.items() <= spot.page(at).items()
        assert found["missing"] == len(lost)

    heal(spot)
    if fault.code_of(source) == "source.quota":
        told(spot.fetch(), 4, "source.quota")
        assert spot.server.requests == []
        after_a_day(spot)
    assert spot.fetch_again().error is None
    assert missing(spot) == {}
    assert len(spot.server.requests) <= spot.pages


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("ends", [(24, 12, 0), (3, 2, 1, 0)], ids=["hourly", "every bar"])
def test_an_answer_that_is_stale_for_several_runs_costs_no_bar(
    spot: World, source: str, ends: tuple[int, ...]
) -> None:
    for bar in (ends[0] + 1, *ends):
        spot.server.now = NOW - bar * INTERVAL + 100
        spot.fetch(as_of=iso(NOW - bar * INTERVAL))
        assert 1 <= len(spot.server.requests) <= spot.pages
        missing(spot)
        # The next answer is right, and then comes again and again.
        spot.server.rewrite = spot.server.rewrite or deque([spoil.stuck()] * FOR_EVER)
    heal(spot)
    assert spot.fetch_again().error is None
    assert missing(spot) == {}


def after_a_day(spot: World) -> None:
    """Let the time pass in which nothing is asked for after a refusal for want of credits."""
    system = time.time
    spot.patch.setattr(time, "time", lambda: system() + 86_401)


def nobody_there(spot: World) -> list[Any]:
    """A port where nobody listens; returns the list that connections are written to."""
    tried: list[Any] = []
    connect = socket.socket.connect

    def counted(self: socket.socket, address: Any) -> None:
        tried.append(address)
        connect(self, address)

    spot.patch.setattr(socket.socket, "connect", counted)
    spot.point("http://127.0.0.1:1/api")
    return tried


def no_such_name(spot: World) -> list[Any]:
    """A host whose name nobody knows; returns the list that look-ups are written to."""
    tried: list[Any] = []
    look_up = socket.getaddrinfo

    def counted(host: Any, *arguments: Any, **named: Any) -> Any:
        if not str(host).endswith(".invalid"):
            return look_up(host, *arguments, **named)
        tried.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        spot.patch.delenv(variable, raising=False)
    spot.patch.setattr(socket, "getaddrinfo", counted)
    spot.point("http://exchange.invalid/api")
    return tried


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (nobody_there, "cannot be reached at 127.0.0.1:1: connection refused"),
        (no_such_name, "cannot be reached at exchange.invalid: its name cannot be resolved"),
    ],
    ids=["refused connection", "DNS failure"],
)
def test_a_server_that_is_not_there_is_tried_four_times(
    spot: World, source: str, prepare: Any, words: str
) -> None:
    before = spot.stored()
    tried = prepare(spot)
    error = told(spot.fetch(), 4, "source.unreachable")
    assert error["message"] == f"{source} {words}"
    assert len(tried) == 4
    assert spot.stored() == before
    spot.point()
    assert spot.fetch_again().error is None
    assert missing(spot) == {}


@pytest.mark.parametrize("source", SOURCES)
def test_a_redirect_to_another_host_is_followed_without_the_key(spot: World, source: str) -> None:
    with Loopback(spot.server.candles) as other:
        other.now = spot.server.now

        def elsewhere(request: Request) -> Reply:
            spot.server.requests.append(request)
            query = "&".join(f"{name}={value}" for name, value in request.query.items())
            return redirect(f"{other.base_url(source, 'localhost')}{request.path}?{query}")

        spot.patch.setattr(spot.server, "answer", elsewhere)
        done = spot.fetch()
        asked = (spot.server.requests, other.requests)
        assert all("authorization" not in request.headers for request in other.requests)
        assert not any(
            KEY in str(request.query) + request.path for part in asked for request in part
        )
        if source == "coincap":  # which gives nothing without the key
            told(done, 4, "source.bad_key")
            assert [len(part) for part in asked] == [1, 1]
        else:
            told(done, 0, "")
            assert missing(spot) == {}
            assert [len(part) for part in asked] == [spot.pages, spot.pages]


def now_is(spot: World, moment: float) -> None:
    """Set the clock of this machine, and the server's with it."""
    system = time.time
    shift = moment - system()
    spot.patch.setattr(time, "time", lambda: system() + shift)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("skew", [4000.0, -4000.0], ids=["ahead", "behind"])
def test_a_server_whose_clock_is_far_off_stores_nothing(
    spot: World, source: str, skew: float
) -> None:
    before = spot.stored()
    now_is(spot, NOW + 20)
    spot.server.skew_seconds = skew
    told(spot.fetch(as_of=None), 4, "clock.skew")
    assert len(spot.server.requests) == 1
    assert spot.stored() == before
    spot.server.skew_seconds = 0.0
    told(spot.fetch(as_of=None), 0, "")
    assert missing(spot) == {}


@pytest.mark.parametrize("source", SOURCES)
def test_a_server_whose_clock_is_a_little_behind_gives_no_running_candle_for_a_closed_one(
    spot: World, source: str
) -> None:
    now_is(spot, NOW + 20)
    spot.server.skew_seconds = -100.0
    told(spot.fetch(as_of=None), 0, "")
    assert list(missing(spot)) == [NOW - INTERVAL]
    spot.server.skew_seconds = 0.0
    told(spot.fetch(as_of=None), 0, "")
    assert missing(spot) == {}
