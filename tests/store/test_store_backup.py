"""Copies and compaction of a database that others go on using."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cryptocast.errors import StoreError
from cryptocast.store import Store, retention
from cryptocast.store.copies import compact, copy_sqlite, copy_store, snapshot
from cryptocast.values import Candles, ForecastSet, Market

Start = Callable[..., "subprocess.Popen[str]"]
Make = Callable[..., Any]

EVENT = """
import os, sys
from pathlib import Path
from cryptocast.store import Store
how, path = sys.argv[1:]
store = Store(Path(path), 0 if how == "once" else 5)
if how == "killed":
    store.read().__enter__  # make the engine's imports before the write
    context = store.write()
    writer = context.__enter__()
    writer.put_event(1.0, "killed", None, {})
    writer._connection.commit()  # in the write-ahead log, and nowhere else
    print(os.path.exists(path + ".wal"), flush=True)
    os._exit(9)
print("waiting", flush=True)
with store.write() as writer:
    writer.put_event(1.0, how, None, {})
print("written", flush=True)
"""


def fill(store: Store, market: Market, make_candles: Make, make_set: Make, bars: int) -> None:
    candles: Candles = make_candles(range(bars))
    sets: list[ForecastSet] = [make_set(bar) for bar in range(bars)]
    with store.write() as writer:
        writer.put_candles(market, candles, provenance="live", fetched_at=1)
        writer.ledger.put_sets(sets, served=True)
        for number in range(5):
            writer.put_event(1.0, "numbered", None, {"number": number})


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_copy_holds_every_row_and_opens_as_a_store(
    store: Store, market: Market, make_candles: Make, make_set: Make, tmp_path: Path
) -> None:
    fill(store, market, make_candles, make_set, 300)
    target = tmp_path / "copy.duckdb"
    copied = copy_store(store, target)
    assert (copied.rows["candles"], copied.rows["forecast_sets"]) == (300, 300)
    with Store(target, 0).read() as reader:
        assert [e.detail["number"] for e in reader.events("numbered")] == list(range(5))
    assert not target.with_name("copy.duckdb.wal").exists()


def test_a_log_that_a_killed_process_left_is_in_the_copy(
    store: Store, child: Start, tmp_path: Path
) -> None:
    with store.write() as writer:
        writer.put_event(1.0, "before", None, {})
    process = child(EVENT, "killed", str(store.path))
    assert said(process) == "True"
    process.wait()
    target = tmp_path / "copy.duckdb"
    assert copy_store(store, target).rows["events"] == 2
    with Store(target, 0).read() as reader:
        assert len(reader.events("killed")) == 1


def test_a_damaged_database_is_no_backup(
    store: Store, market: Market, make_candles: Make, make_set: Make, tmp_path: Path
) -> None:
    """Its tables can be counted: only reading them shows the flipped bytes."""
    fill(store, market, make_candles, make_set, 2000)
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        for place in range(size // 3, size * 2 // 3, 4096):
            file.seek(place)
            file.write(b"\xff" * 64)
    with pytest.raises(StoreError) as raised:
        copy_store(store, tmp_path / "copy.duckdb")
    assert raised.value.code == "store.corrupt"


def test_whoever_reads_the_files_bytes_still_holds_its_lock(store: Store, child: Start) -> None:
    """Closing a second descriptor of a file drops the process's locks on it: not before the end."""
    with store.write() as writer:
        writer.put_event(1.0, "before", None, {})
    with store.hold(read_only=True) as (_, after):
        after.enter_context(store.path.open("rb")).read(10)
        refused = child(EVENT, "once", str(store.path))
        assert said(refused) == "waiting"
        _, told = refused.communicate()
        assert "store.busy" in told or "is in use by" in told
    process = child(EVENT, "once", str(store.path))
    assert [said(process), said(process)] == ["waiting", "written"]


def test_a_snapshot_is_read_while_others_write_and_then_gone(store: Store, child: Start) -> None:
    with store.write() as writer:
        writer.put_event(1.0, "before", None, {})
    left = store.path.with_name(f".{store.path.name}.999999999.part")
    left.touch()
    with snapshot(store) as copy, copy.read() as reader:
        process = child(EVENT, "once", str(store.path))
        assert [said(process), said(process)] == ["waiting", "written"]
        assert (len(reader.events("before")), len(reader.events("once"))) == (1, 0)
    assert [p.name for p in store.path.parent.iterdir()] == [store.path.name]


def test_compaction_shrinks_the_file_and_changes_no_row(
    store: Store, market: Market, make_candles: Make, make_set: Make, query: Make
) -> None:
    fill(store, market, make_candles, make_set, 4000)
    with store.write() as writer:
        limits = retention.limits(writer, 2e9, 0)
        retention.delete(writer, limits)
    tables = ("candles", "forecast_sets", "events", "level_sets", "schema_version")
    ordered = "SELECT open_time::VARCHAR, close FROM candles ORDER BY rowid"
    before = query(ordered)
    counts = [query(f"SELECT count(*), bit_xor(hash(t)) FROM {t} AS t") for t in tables]
    size = store.path.stat().st_size
    compact(store)
    assert store.path.stat().st_size < 0.7 * size
    assert [query(f"SELECT count(*), bit_xor(hash(t)) FROM {t} AS t") for t in tables] == counts
    assert query(ordered) == before
    with store.write() as writer:  # the unique indexes are there
        assert [e.detail["number"] for e in writer.events("numbered")] == list(range(5))
        assert writer.ledger.put_sets([make_set(3999)], served=True) == [False]
    assert [p.name for p in store.path.parent.iterdir()] == [store.path.name]


def test_a_write_that_waited_for_the_compaction_is_in_the_new_file(
    store: Store, child: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as writer:
        writer.put_event(1.0, "before", None, {})
    process: list[subprocess.Popen[str]] = []
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        process.append(child(EVENT, "waited", str(store.path)))
        assert said(process[0]) == "waiting"
        time.sleep(0.3)  # it asks for the lock of the old file meanwhile
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    compact(store)
    assert said(process[0]) == "written"
    with store.read() as reader:
        assert len(reader.events("waited")) == 1


def test_a_file_that_was_replaced_while_it_was_opened_is_opened_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opened the old file a moment too early would write into a file without a name."""
    from cryptocast.store import connection

    with store.write() as writer:
        writer.put_event(1.0, "before", None, {})
    copy_store(store, tmp_path / "new.duckdb")
    identity = connection._identity
    asked: list[Path] = []

    def late(path: Path) -> tuple[int, int] | None:
        found = identity(path)
        if path == store.path and not asked:
            asked.append(path)
            return (0, 0)  # as if it had been another file just before
        return found

    monkeypatch.setattr(connection, "_identity", late)
    with store.write() as writer:
        writer.put_event(1.0, "after", None, {})
    with store.read() as reader:
        assert len(reader.events("after")) == 1


def test_a_full_disk_ends_a_compaction_and_leaves_the_file(
    store: Store, market: Market, make_candles: Make, make_set: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fill(store, market, make_candles, make_set, 300)
    content = store.path.read_bytes()

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cryptocast.store.copies.to_disk", full)
    with pytest.raises(StoreError) as raised:
        compact(store)
    assert raised.value.code == "store.full"
    assert store.path.read_bytes() == content
    assert [p.name for p in store.path.parent.iterdir()] == [store.path.name]


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    file = tmp_path / "some.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(5000)])
    connection.close()
    return file


def test_a_sqlite_database_is_copied_while_others_write(sqlite: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        connection = sqlite3.connect(sqlite, timeout=60)
        while not stop.is_set():
            with connection:
                connection.execute("INSERT INTO t VALUES (1)")
                connection.execute("INSERT INTO t VALUES (2)")
            time.sleep(0.005)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [copy_sqlite(sqlite, tmp_path / f"{n}.db", 60).rows["t"] for n in range(5)]
    finally:
        stop.set()
        writer.join()
    assert copies == sorted(copies)
    assert all(rows % 2 == 0 for rows in copies)


def test_a_sqlite_database_that_is_held_or_damaged_is_told(sqlite: Path, tmp_path: Path) -> None:
    holder = sqlite3.connect(sqlite, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError) as raised:
        copy_sqlite(sqlite, tmp_path / "1.db", 0.1)
    assert (raised.value.code, raised.value.retry) == ("store.busy", True)
    holder.close()
    with sqlite.open("r+b") as file:
        file.seek(sqlite.stat().st_size // 2)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreError) as raised:
        copy_sqlite(sqlite, tmp_path / "2.db", 0.1)
    assert raised.value.code == "store.corrupt"
