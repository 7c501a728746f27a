"""When a source is asked at all: its pace, the deadline, limits per minute, and who pays."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest

from cryptocast.errors import SourceError
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Http
from cryptocast.sources._pace import PATIENCE, Limits, Pace, Patience, Waits
from support.loopback import Loopback, Reply, as_json, cut_off, drip, hang, reset
from support.patience import (
    BRIEF,
    PATIENT,
    HandClock,
    forbid_sleep,
    leap_at_a_drip,
    stand_still_until_asked,
)

MINUTE = as_json({"error": "Too many requests per minute"}, 429)
QUOTA = as_json({"error": "used up"}, 403)


class Book:
    """A Meter that writes down what it is told; with `budget` spent it refuses to book."""

    def __init__(self, budget: int = 1000) -> None:
        self.budget = budget
        self.entries: list[tuple[object, ...]] = []

    def book(self, source: str, credits: int) -> None:
        if credits > self.budget:
            raise SourceError("the budget is spent", code="source.quota")
        self.budget -= credits
        self.entries.append(("book", source, credits))

    def settle(self, source: str, booked: int, spent: int) -> None:
        self.entries.append(("settle", source, booked, spent))

    def refused(self, source: str) -> None:
        self.entries.append(("refused", source))


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback({}) as loopback:
        yield loopback


def client(
    server: Loopback,
    *,
    patience: Patience = PATIENT,
    pace: Pace | None = None,
    meter: Book | None = None,
) -> Http:
    def explain(refusal: Refusal) -> SourceError | None:
        return refusal.error("source.quota", "has enough", "pay") if refusal.status == 403 else None

    def judge(answer: object) -> SourceError | None:
        return SourceError("it says so", code="source.quota") if answer == "quota" else None

    return Http(
        "echo",
        server.base_url("echo"),
        explain=explain,
        judge=judge,
        limits=Limits(patience, pace, meter),
    )


def fails(http: Http, seconds: float = math.inf, credits: int = 1) -> SourceError:
    """The error of a call that has so many seconds from now."""
    with pytest.raises(SourceError) as caught:
        http.get("/path", {}, deadline=time.monotonic() + seconds, credits=credits)
    http.close()
    return caught.value


# --- the pace ---


def test_a_pace_holds_over_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock(monkeypatch)
    pace = Pace(3, 64.0)
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: pace.wait(math.inf), range(12)))
    assert sorted(clock.sleeps) == [64.0] * 3 + [128.0] * 3 + [192.0] * 3


def test_calls_over_http_keep_the_pace(server: Loopback) -> None:
    server.faults.extend([as_json(1)] * 5)
    http = client(server, pace=Pace(2, 0.1))
    before = time.monotonic()
    with ThreadPoolExecutor(5) as threads:
        assert list(threads.map(lambda _: http.get("/path", {}), range(5))) == [1] * 5
    http.close()
    assert time.monotonic() - before >= 0.2


def test_a_second_try_takes_its_turn_too(server: Loopback) -> None:
    server.faults.extend([Reply(500), as_json(1)])
    http = client(server, pace=Pace(1, 0.1))
    before = time.monotonic()
    http.get("/path", {})
    http.close()
    assert time.monotonic() - before >= 0.1


def test_a_turn_beyond_the_deadline_is_not_waited_for(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace, meter = Pace(1, 3600), Book()
    assert pace.wait(math.inf)
    forbid_sleep(monkeypatch)
    error = fails(client(server, pace=pace, meter=meter), 60)
    assert error.message == "there is no time left to ask echo (GET /path)"
    assert (error.code, error.hint) == ("source.timeout", "run the same command again")
    assert (server.requests, meter.entries) == ([], [])


def test_a_turn_that_was_not_taken_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock(monkeypatch)
    pace = Pace(1, 64.0)
    assert pace.wait(math.inf)
    assert not pace.wait(clock.now + 1)
    assert pace.wait(clock.now + 65)
    assert clock.sleeps == [64.0]


# --- the deadline ---


def test_after_the_deadline_nothing_is_asked(server: Loopback) -> None:
    meter = Book()
    error = fails(client(server, meter=meter), -0.001)
    assert error.message == "there is no time left to ask echo (GET /path)"
    assert error.retry
    assert (server.requests, meter.entries) == ([], [])


def test_the_deadline_ends_the_tries(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.faults.extend([Reply(500)] * 9)
    forbid_sleep(monkeypatch)
    patience = replace(PATIENT, first_pause_seconds=3600, longest_pause_seconds=3600)
    error = fails(client(server, patience=patience), 600)
    assert error.message == "echo has a fault of its own (HTTP 500)"
    assert len(server.requests) == 1


def test_out_of_turns_the_fault_itself_is_told(server: Loopback) -> None:
    server.faults.append(Reply(500))
    error = fails(client(server, pace=Pace(1, 3600)), 600)
    assert error.message == "echo has a fault of its own (HTTP 500)"
    assert len(server.requests) == 1


def test_the_deadline_ends_the_wait_for_an_answer(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.append(hang())
    stand_still_until_asked(monkeypatch, server)
    error = fails(client(server), 0.125)
    assert error.code == "source.timeout"
    assert error.message == "echo did not answer within 0.125 s (GET /path)"
    assert len(server.requests) == 1


def test_the_deadline_ends_a_slow_body(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.faults.append(drip(0.002))
    leap_at_a_drip(monkeypatch, server)
    error = fails(client(server), 600)
    assert error.message == "echo did not finish its answer in time (GET /path)"
    assert len(server.requests) == 1


# --- limits ---


def test_a_limit_per_minute_is_waited_out(server: Loopback) -> None:
    server.faults.extend([MINUTE, as_json("fine")])
    http = client(server)
    assert http.get("/path", {}) == "fine"
    http.close()
    assert len(server.requests) == 2


def test_a_limit_that_outlasts_its_minute_is_told(server: Loopback) -> None:
    server.faults.extend([MINUTE] * 9)
    error = fails(client(server))
    assert (error.code, error.retry) == ("source.rate_limited", True)
    assert error.message == (
        "echo limits how often it is asked (HTTP 429: Too many requests per minute)"
    )
    assert error.hint == "wait a minute, then run the same command again"
    assert 2 <= len(server.requests) <= 4


def test_a_minute_that_ends_beyond_the_deadline_is_not_begun(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.extend([MINUTE] * 2)
    server.skew_seconds = -time.time() % 3600  # an hour begins: its end is far
    forbid_sleep(monkeypatch)
    error = fails(client(server, patience=replace(PATIENT, minute_seconds=3600)), 600)
    assert error.code == "source.rate_limited"
    assert len(server.requests) == 1


def test_the_servers_own_word_goes_before_the_minutes_end(server: Loopback) -> None:
    asked = as_json({"error": "Too many requests per minute"}, 429, Retry_After="0")
    server.faults.extend([asked, as_json("fine")])
    server.skew_seconds = -time.time() % 3600
    http = client(server, patience=replace(PATIENT, minute_seconds=3600))
    assert http.get("/path", {}) == "fine"
    http.close()


@pytest.mark.parametrize("skew", [None, 0.0, 17.3, -100.0])
def test_the_first_wait_lasts_to_the_end_of_the_servers_minute(
    skew: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock(monkeypatch)
    wait = Waits(PATIENCE).after_limit(skew)
    assert 0 < wait <= 60 + PATIENCE.first_pause_seconds
    into_the_minute = (clock.now + (skew or 0.0) + wait) % 60
    assert into_the_minute <= PATIENCE.first_pause_seconds


def test_the_second_wait_lasts_to_a_minute_after_the_first_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = HandClock(monkeypatch, now=60_000.0)
    waits = Waits(Patience(minute_seconds=60, first_pause_seconds=0))
    assert waits.after_limit(15.0) == 45.0  # the server's minute ends so soon
    clock.now += 46
    assert waits.after_limit(0.0) == 14.0
    late = Waits(Patience(minute_seconds=60, first_pause_seconds=0))
    late.after_limit(0.0)
    clock.now += 60
    assert late.after_limit(0.0) == math.inf


def test_both_waits_for_a_minute_fit_into_the_patience() -> None:
    pauses = PATIENCE.first_pause_seconds * (1 + 2)
    assert PATIENCE.minute_seconds + pauses + PATIENCE.read_seconds <= PATIENCE.total_seconds


def test_pauses_between_tries_double_and_end_with_the_last_try() -> None:
    waits = Waits(Patience(tries=5, first_pause_seconds=1, longest_pause_seconds=3))
    pauses = [waits.after_fault(None) for _ in range(5)]
    for pause, most in zip(pauses, (1, 2, 3, 3), strict=False):
        assert most / 2 <= pause <= most
    assert pauses[-1] == math.inf
    assert Waits(PATIENCE).after_fault(20.0) == 20.0


# --- who pays ---


def test_a_call_is_booked_before_and_settled_by_its_size_after(server: Loopback) -> None:
    sizes = {"2500 bytes": 2500, "2499 bytes": 2499, "7 bytes": 7}
    for size in sizes.values():
        server.faults.append(Reply(200, b'"' + b"x" * (size - 2) + b'"'))
    meter = Book()
    http = client(server, meter=meter)
    for _ in sizes:
        http.get("/path", {}, credits=13)
    http.close()
    spent = [entry[3] for entry in meter.entries[1::2]]
    assert meter.entries[:2] == [("book", "echo", 13), ("settle", "echo", 13, 2)]
    assert spent == [2, 1, 1]


def test_each_try_is_paid_for(server: Loopback) -> None:
    server.faults.extend([Reply(500, b"x" * 3000), reset(), cut_off(), as_json(1)])
    meter = Book()
    http = client(server, meter=meter)
    assert http.get("/path", {}, credits=2) == 1
    http.close()
    assert [entry[0] for entry in meter.entries] == ["book", "settle"] * 4
    assert [entry[3] for entry in meter.entries[1::2]] == [2, 1, 1, 1]


def test_a_time_out_costs_a_call(server: Loopback) -> None:
    server.faults.extend([hang()] * 9)
    meter = Book()
    error = fails(client(server, patience=BRIEF, meter=meter), credits=5)
    assert error.message == "echo did not answer within 0.15 s (GET /path)"
    assert meter.entries == [("book", "echo", 5), ("settle", "echo", 5, 1)] * 4


def test_a_call_that_never_left_costs_nothing() -> None:
    meter = Book()
    with Loopback({}) as gone:
        http = client(gone, meter=meter)
    assert fails(http, credits=5).code == "source.unreachable"
    assert meter.entries == [("book", "echo", 5), ("settle", "echo", 5, 0)] * 4


@pytest.mark.parametrize("quota", [QUOTA, as_json("quota")], ids=["403", "200"])
def test_a_used_up_plan_is_told_once_and_not_asked_again(server: Loopback, quota: Reply) -> None:
    server.faults.extend([quota] * 9)
    meter = Book()
    error = fails(client(server, meter=meter), credits=5)
    assert error.code == "source.quota"
    assert meter.entries == [("book", "echo", 5), ("settle", "echo", 5, 1), ("refused", "echo")]
    assert len(server.requests) == 1


def test_a_budget_that_is_spent_asks_nothing(server: Loopback) -> None:
    meter = Book(budget=4)
    error = fails(client(server, meter=meter), credits=5)
    assert (error.code, error.message) == ("source.quota", "the budget is spent")
    assert (server.requests, meter.entries) == ([], [])


def test_a_budget_that_ends_between_two_tries_ends_them(server: Loopback) -> None:
    server.faults.extend([Reply(500)] * 9)
    meter = Book(budget=8)
    assert fails(client(server, meter=meter), credits=5).message == "the budget is spent"
    assert len(server.requests) == 1


def test_other_refusals_are_not_told_to_the_meter(server: Loopback) -> None:
    server.faults.extend([Reply(404), *[Reply(429)] * 4])
    meter = Book()
    http = client(server, meter=meter)
    assert fails(http).code == "source.http"
    assert fails(http).code == "source.rate_limited"
    assert {entry[0] for entry in meter.entries} == {"book", "settle"}


def test_a_call_is_settled_before_the_next_is_booked(server: Loopback) -> None:
    server.faults.extend([Reply(503), Reply(503), as_json(1)])
    meter = Book()
    http = client(server, meter=meter)
    http.get("/path", {})
    http.close()
    assert all(one[0] != other[0] for one, other in pairwise(meter.entries))
