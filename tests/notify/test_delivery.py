from __future__ import annotations

import threading
import time

import pytest

from cryptocast.notify import Parcel, deliver
from cryptocast.seams import Notifier
from cryptocast.values import Alert
from support.patience import HandClock

ALERT = Alert(0.0, "test", "news", "title", "text", "btc")


class Fake:
    """Takes so many alerts, then does what it is told."""

    def __init__(self, takes: int = 9, then: Exception | None = None) -> None:
        self.takes = takes
        self.then = then
        self.asleep = threading.Event()
        self.told = threading.Event()

    def send(self, alert: Alert) -> None:
        self.takes -= 1
        if self.takes < 0:
            if self.then is not None:
                raise self.then
            self.asleep.wait(3600)
        self.told.set()


def parcel(fake: Notifier, alerts: int = 1) -> Parcel:
    return Parcel(lambda: fake, [ALERT] * alerts)


def test_all_are_told_at_once_and_the_dead_delay_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, well = [Fake(0) for _ in range(8)], Fake()
    clock, join = HandClock(monkeypatch), threading.Thread.join
    waits: list[float] = []

    def joined(thread: threading.Thread, timeout: float) -> None:
        assert well.told.wait(600)  # although the others hang
        waits.append(timeout)
        clock.now += timeout
        if thread.name == "notify well":
            join(thread)

    monkeypatch.setattr(threading.Thread, "join", joined)
    outcomes = deliver(
        {f"dead {i}": parcel(fake) for i, fake in enumerate(hanging)} | {"well": parcel(well)},
        timeout_seconds=64,
    )
    assert waits == [64.0] + [0.0] * 8
    assert (outcomes["well"].sent, outcomes["well"].error) == (1, None)
    assert {str(outcomes[f"dead {i}"].error) for i in range(8)} == {"no answer within 64 s"}
    for fake in hanging:
        fake.asleep.set()


def test_what_was_taken_before_a_failure_counts() -> None:
    outcome = deliver({"it": parcel(Fake(2, OSError("http://s3cret")), 4)}, timeout_seconds=600)[
        "it"
    ]
    assert outcome.sent == 2
    assert str(outcome.error) == "it failed with OSError"


def test_an_outcome_does_not_change_when_a_late_receiver_wakes() -> None:
    fake = Fake(0)
    outcome = deliver({"it": parcel(fake)}, timeout_seconds=0.05)["it"]
    fake.asleep.set()
    time.sleep(0.1)
    assert (outcome.sent, str(outcome.error)) == (0, "no answer within 0.05 s")


def test_a_thread_that_hangs_keeps_no_process_alive() -> None:
    fake = Fake(0)
    before = set(threading.enumerate())
    deliver({"it": parcel(fake)}, timeout_seconds=0.05)
    (left,) = set(threading.enumerate()) - before
    assert left.daemon
    fake.asleep.set()


def test_nothing_to_deliver_is_nothing() -> None:
    assert deliver({}, timeout_seconds=1) == {}
