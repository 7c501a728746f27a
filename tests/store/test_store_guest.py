"""A guest reads what is there, and leaves as much time to others as it takes."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from cryptocast.errors import StoreError
from cryptocast.store import GuestStore, Store
from cryptocast.store import store as module


class Watch:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    own = SimpleNamespace(monotonic=watch.monotonic, sleep=watch.sleep)
    monkeypatch.setattr(module, "time", own)
    return watch


@pytest.fixture
def guest(store: Store) -> GuestStore:
    with store.write():
        pass
    return GuestStore(store.path, 60)


def test_the_file_rests_for_as_long_as_a_guest_had_it_open(guest: GuestStore, watch: Watch) -> None:
    with guest.read():
        watch.sleep(0.4)
    watch.now += 0.1
    with guest.read():
        pass
    assert watch.slept == [0, 0.4, 0.3]


def test_an_error_of_a_guest_lets_the_next_one_in(guest: GuestStore) -> None:
    with pytest.raises(ZeroDivisionError), guest.read():
        raise ZeroDivisionError
    with guest.read() as reader:
        assert reader.stored_markets() == []


def test_a_busy_file_is_asked_for_once_and_all_are_told(
    store: Store, guest: GuestStore, watch: Watch
) -> None:
    guest.wait_seconds = 0
    found: list[StoreError] = []

    def ask() -> None:
        for _ in range(3):
            with pytest.raises(StoreError) as caught, guest.read():
                pass
            found.append(caught.value)

    with store.write():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert [error.code for error in found] == ["store.busy"] * 3
    assert found[0] is found[1] is found[2]
    watch.now += guest.PAUSE_SECONDS
    with guest.read() as reader:
        assert reader.stored_markets() == []
