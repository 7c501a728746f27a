from __future__ import annotations

import time

import pytest

from cryptocast.clock import SystemClock, VirtualClock


def test_the_system_clock_is_the_machines() -> None:
    before = time.time()
    assert before <= SystemClock().now() <= time.time()
    assert not SystemClock().virtual


def test_the_system_clock_sleeps_until_the_moment() -> None:
    clock = SystemClock()
    wake = clock.now() + 0.05
    clock.sleep_until(wake)
    assert wake <= clock.now()


def test_a_moment_that_has_passed_is_not_slept_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it slept"))
    SystemClock().sleep_until(time.time() - 100)


class Sleeper:
    """Sleeps in no time: the two clocks are moved by hand, as `wall` and `monotonic` say."""

    def __init__(self, patch: pytest.MonkeyPatch, *, wall: float, monotonic: float) -> None:
        self.waits: list[float] = []
        self.wall = self.monotonic = 0.0
        self.a_second = wall, monotonic
        patch.setattr(SystemClock, "now", lambda _: self.wall)
        patch.setattr(time, "monotonic", lambda: self.monotonic)
        patch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.wall += seconds * self.a_second[0]
        self.monotonic += seconds * self.a_second[1]


def test_the_wall_clock_is_looked_at_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = Sleeper(monkeypatch, wall=1, monotonic=1)
    SystemClock().sleep_until(12)
    assert sleeper.waits == [5, 5, 2]


def test_a_suspended_machine_wakes_up_when_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = Sleeper(monkeypatch, wall=100, monotonic=1)  # the monotonic clock stood still
    SystemClock().sleep_until(600)
    assert sleeper.waits == [5, 5]


def test_a_clock_that_is_set_back_prolongs_no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = Sleeper(monkeypatch, wall=-720, monotonic=1)
    SystemClock().sleep_until(12)
    assert sleeper.waits == [5, 5, 2]


def test_a_virtual_clock_stands_still_and_leaps_when_asked_to_sleep() -> None:
    clock = VirtualClock(1_000)
    assert clock.virtual
    assert (clock.now(), clock.now()) == (1_000.0, 1_000.0)
    clock.sleep_until(1_000_000)
    assert clock.now() == 1_000_000.0


def test_a_virtual_clock_never_goes_back() -> None:
    clock = VirtualClock(1_000)
    clock.sleep_until(500)
    assert clock.now() == 1_000.0
