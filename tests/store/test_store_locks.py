from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from cryptocast.errors import StoreError
from cryptocast.store import Store, last_ticks
from cryptocast.values import Market
from support.patience import record_sleep

Start = Callable[..., "subprocess.Popen[str]"]

HOLD = """
import sys
from pathlib import Path
from cryptocast.store import Store
mode, path = sys.argv[1:]
with getattr(Store(Path(path), 60), mode)():
    print("held", flush=True)
    sys.stdin.readline()
"""

WRITE = """
import sys
from pathlib import Path
import numpy as np
from cryptocast.store import Store, Tick
from cryptocast.values import ForecastSet, Market, ServedModel
how, path = sys.argv[1:]
store = Store(Path(path), 60)
market = Market("bitvavo", "BTC", "EUR", "5m")
levels = tuple(round(0.05 * k, 2) for k in range(1, 20))
quantiles = np.linspace(90.0, 110.0, 24 * 19).reshape(24, 19)

def put(writer, origin):
    model = ServedModel("1", "lstm", None)
    forecast = ForecastSet(
        market, origin, origin + 1.0, 100.0, 0, "live", model, levels, quantiles
    )
    writer.ledger.put_sets([forecast], served=True)
    writer.ledger.put_ticks([Tick(market.id, origin, origin, origin + 1, "ok")])

if how == "endless":
    for bar in range(1_000_000):
        with store.write() as writer:
            put(writer, bar * 300)
        print(bar, flush=True)
with store.write() as writer:
    put(writer, 300)
    if how == "inside":
        print("inside", flush=True)
        sys.stdin.readline()
print("committed", flush=True)
sys.stdin.readline()
"""


def say(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rest(process: subprocess.Popen[str]) -> list[str]:
    """The lines after those of `say`, to the end.

    `communicate()` would lose lines: it reads past the buffer that `say` may have filled with
    more than its one line.
    """
    assert process.stdout is not None
    return process.stdout.read().splitlines()


def enter(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_database_held_by_another_process_is_busy_and_the_error_names_it(
    store: Store, child: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = child(HOLD, "write", str(store.path))
    assert say(holder) == "held"
    impatient = Store(store.path, wait_seconds=0.3)
    sleeps = record_sleep(monkeypatch)
    for use in (impatient.read, impatient.write):
        began = time.monotonic()
        sleeps.clear()
        with pytest.raises(StoreError) as caught, use():
            pass
        waited = time.monotonic() - began
        assert waited >= 0.3
        assert 0 < sum(sleeps) <= 0.3
        assert (caught.value.code, caught.value.retry, caught.value.exit_code) == (
            "store.busy", True, 4
        )  # fmt: skip
        assert f"{store.path} is in use by " in caught.value.message
        assert f"(PID {holder.pid})" in caught.value.message
        assert "python" in caught.value.message


def test_a_database_is_waited_for_until_its_holder_leaves(store: Store, child: Start) -> None:
    holder = child(HOLD, "write", str(store.path))
    assert say(holder) == "held"
    began = time.monotonic()
    threading.Timer(0.4, enter, [holder]).start()
    with store.write() as writer:
        writer.put_event(1.0, "kind", None, {})
    assert time.monotonic() - began > 0.4


def test_processes_read_at_the_same_time_and_keep_a_writer_out(store: Store, child: Start) -> None:
    with store.write():
        pass
    other = child(HOLD, "read", str(store.path))
    assert say(other) == "held"
    with Store(store.path, 0).read() as reader:
        assert reader.stored_markets() == []
    with pytest.raises(StoreError, match=rf"PID {other.pid}"), Store(store.path, 0).write():
        pass


def test_a_database_is_free_as_soon_as_the_block_ends(store: Store, child: Start) -> None:
    with store.write():
        pass
    with store.read():
        pass
    assert say(child(HOLD, "write", str(store.path))) == "held"


def test_two_processes_that_make_the_database_at_once_make_one(store: Store, child: Start) -> None:
    script = HOLD.replace("sys.stdin.readline()", "store_is_made = True")
    children = [child(script, "write", str(store.path)) for _ in range(4)]
    assert [process.wait(300) for process in children] == [0, 0, 0, 0]
    assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]


def test_a_writer_killed_inside_its_transaction_leaves_nothing(
    store: Store, child: Start, market: Market
) -> None:
    writer = child(WRITE, "inside", str(store.path))
    assert say(writer) == "inside"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with store.read() as reader:
        assert reader.ledger.newest([market], 4e9).get(market) is None
        assert last_ticks(reader, [market], 4e9) == {}


def test_a_writer_killed_after_its_transaction_leaves_the_whole_set(
    store: Store, child: Start, market: Market
) -> None:
    writer = child(WRITE, "outside", str(store.path))
    assert say(writer) == "committed"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with store.read() as reader:
        newest, tick = (
            reader.ledger.newest([market], 4e9).get(market),
            last_ticks(reader, [market], 4e9).get(market),
        )
    assert newest is not None
    assert tick is not None
    assert (newest.origin, newest.quantiles.shape, tick.origin) == (300, (24, 19), 300)


@pytest.mark.parametrize("first", ["read", "write"])
@pytest.mark.parametrize("seconds", [0.05, 0.11, 0.2])
def test_a_writer_killed_at_any_moment_leaves_whole_sets_each_with_its_tick(
    store: Store,
    child: Start,
    market: Market,
    seconds: float,
    first: str,
    query: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    writer = child(WRITE, "endless", str(store.path))
    assert say(writer) == "0"
    time.sleep(seconds)
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    lines = rest(writer)
    told = 1 + len(lines)
    assert lines == [str(bar) for bar in range(1, told)]
    with getattr(store, first)() as reader:
        newest = reader.ledger.newest([market], 4e9).get(market)
    with store.write() as again:
        again.put_event(1.0, "alive", None, {})
    ((sets, whole),) = query(
        "SELECT count(*), count(*) FILTER (len(quantiles) = 456) FROM forecast_sets"
    )
    assert sets == whole
    assert query("SELECT count(*), count(DISTINCT origin) FROM ticks") == [(sets, sets)]
    assert sets in (told, told + 1), f"{told} were reported as committed, {sets} are there"
    assert newest.origin == 300 * (sets - 1)


def test_what_a_child_said_is_counted_whole_however_late_it_is_listened_to(child: Start) -> None:
    talker = child("print(0, flush=True); print(1, flush=True); print(2, flush=True)")
    talker.wait()
    assert (say(talker), rest(talker)) == ("0", ["1", "2"])


def test_threads_of_one_process_take_turns(store: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                with store.write() as writer:
                    writer.put_event(float(number), "kind", None, {})
                with Store(store.path, 60).read() as reader:
                    reader.events("kind")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.read() as reader:
        assert len(reader.events("kind")) == 20


def test_a_thread_that_waits_too_long_for_another_finds_the_store_busy(store: Store) -> None:
    found: list[StoreError] = []

    def work() -> None:
        with pytest.raises(StoreError) as caught, Store(store.path, 0.05).read():
            pass
        found.append(caught.value)

    with store.write():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [error.code for error in found] == ["store.busy"]
    assert "another thread of this process" in found[0].message


def test_opening_inside_an_open_store_is_a_bug_that_says_so(store: Store) -> None:
    with (
        store.read(),
        pytest.raises(RuntimeError, match="already open in this thread; close it first"),
        Store(store.path, 60).write(),
    ):
        pass
    with store.write():
        pass
