"""Time in tests: patience that no busy machine exhausts, and clocks that are moved by hand."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from cryptocast.sources._pace import Patience
from support.loopback import Loopback

PATIENT = Patience(
    connect_seconds=600,
    read_seconds=600,
    first_pause_seconds=0.001,
    longest_pause_seconds=0.002,
    minute_seconds=0.05,
    total_seconds=3600,
)
"""Asks again at once, and waits for an answer however slow the machine is."""

BRIEF = replace(PATIENT, read_seconds=0.15)
"""For a server that never answers: a proper answer may miss it on a busy machine."""


def wait_briefly_for_what_hangs(patch: pytest.MonkeyPatch, server: Loopback) -> list[float]:
    """Let a request time out at once if this server is to leave it unanswered, and no other.

    Returns the list of the seconds that each request was ready to wait.
    """
    send, waits = HTTPAdapter.send, []

    def hurried(self: HTTPAdapter, request: Any, **options: Any) -> Any:
        waits.append(options["timeout"][1])
        if server.faults and server.faults[0].hang_seconds:
            connect, read = options["timeout"]
            options["timeout"] = (connect, min(read, BRIEF.read_seconds))
        return send(self, request, **options)

    patch.setattr(HTTPAdapter, "send", hurried)
    return waits


def leap_at_a_drip(patch: pytest.MonkeyPatch, server: Loopback) -> None:
    """Let two hours of the monotonic clock pass when this server drips its first byte."""
    system = time.monotonic
    patch.setattr(time, "monotonic", lambda: system() + 7200 * server.dripping)


def stand_still_until_asked(patch: pytest.MonkeyPatch, server: Loopback) -> None:
    """Let the monotonic clock stand at 0, and at an hour more with each request to this server."""
    patch.setattr(time, "monotonic", lambda: 3600.0 * len(server.requests))


class HandClock:
    """The machine's clocks stand still at `now`, which a test moves; nobody really sleeps."""

    def __init__(self, patch: pytest.MonkeyPatch, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.sleeps: list[float] = []
        patch.setattr(time, "time", lambda: self.now)
        patch.setattr(time, "monotonic", lambda: self.now)
        patch.setattr(time, "sleep", self.sleeps.append)


def record_sleep(patch: pytest.MonkeyPatch) -> list[float]:
    """Return the list of the seconds that are slept from now on: a busy machine adds none."""
    sleep, seconds = time.sleep, []

    def recorded(asked: float) -> None:
        seconds.append(asked)
        sleep(asked)

    patch.setattr(time, "sleep", recorded)
    return seconds


def forbid_sleep(patch: pytest.MonkeyPatch) -> None:
    """Fail the test where anything is waited for by `time.sleep`."""

    def refused(seconds: float) -> None:
        raise AssertionError(f"{seconds} seconds would have been slept")

    patch.setattr(time, "sleep", refused)
