from __future__ import annotations

import threading
import time

import pytest

from cryptocast.clock import SystemClock, VirtualClock


def test_the_system_clock_is_the_machines() -> None:
    before = time.time()
    assert before <= SystemClock().now() <= time.time()
    assert not SystemClock().virtual


def test_the_system_clock_sleeps_until_the_moment_and_not_longer() -> None:
    clock = SystemClock()
    wake = clock.now() + 0.05
    clock.sleep_until(wake)
    assert wake <= clock.now() < wake + 1


def test_a_moment_that_has_passed_is_not_slept_for() -> None:
    began = time.monotonic()
    SystemClock().sleep_until(time.time() - 100)
    assert time.monotonic() - began < 0.5


def test_a_sleeper_wakes_when_it_is_told_to_stop() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    began = time.monotonic()
    SystemClock().sleep_until(time.time() + 100, stop)
    assert time.monotonic() - began < 5


def test_a_step_of_the_wall_clock_is_noticed_while_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    now = [0.0]

    class Leaping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            now[0] += 500  # a suspended machine comes back
            return False

    monkeypatch.setattr(SystemClock, "now", lambda self: now[0])
    SystemClock().sleep_until(600, Leaping())
    assert waits == [30, 30]


def test_a_virtual_clock_stands_still_and_leaps_when_asked_to_sleep() -> None:
    clock = VirtualClock(1_000)
    assert clock.virtual
    assert (clock.now(), clock.now()) == (1_000.0, 1_000.0)
    began = time.monotonic()
    clock.sleep_until(1_000_000)
    assert clock.now() == 1_000_000.0
    assert time.monotonic() - began < 0.5


def test_a_virtual_clock_never_goes_back() -> None:
    clock = VirtualClock(1_000)
    clock.sleep_until(500, threading.Event())
    assert clock.now() == 1_000.0
