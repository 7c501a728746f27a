"""Several at once, and the machine's own faults: one served forecast, nothing lost, all made up."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cryptocast.cli.root.hints import as_typed
from cryptocast.values import iso
from support.commands import (
    HELD,
    INTERVAL,
    NOW,
    candles,
    counts,
    good,
    query,
    run,
    start_loaded,
    state,
    write,
)
from support.loopback import Loopback
from support.patience import record_sleep
from support.ticks import origin, sets, tick_rows, ticked

ONCE = ("forecast", "--once", "--no-fetch", "--json")
DEAD = "http://127.0.0.1:1/api"

# Ticks at a word, so that several of these begin within a millisecond.
AT_A_WORD = """
import sys
from cryptocast import bundles, cli, config, workspace
from cryptocast.workflows import forecast
print("ready", flush=True)
for line in sys.stdin:
    code = cli.run(["forecast", "--once", "--no-fetch", "--json", "-w", sys.argv[1],
                    "--as-of", line.strip()])
    print(code, flush=True)
"""

# A notebook that looks at the file and does not leave.
NOTEBOOK = """
import sys
import duckdb
with duckdb.connect(sys.argv[1], read_only=True):
    print("held", flush=True)
    sys.stdin.readline()
"""

# The same tick by somebody who may read the folder, and no more.
READER = """
import os
import sys
from cryptocast import cli
once = ["forecast", "--once", "--no-fetch", "--json", "-w", sys.argv[1], "--as-of"]
looks = ["status", "--json", "-w", sys.argv[1], "--as-of", sys.argv[2]]
cli.run(looks)
cli.run([*once, sys.argv[3]])  # it is there; whatever is imported late, is now
for name in os.listdir(sys.argv[1]):
    os.chmod(os.path.join(sys.argv[1], name), 0o555)
os.chmod(sys.argv[1], 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
print(flush=True)
print(cli.run(looks), cli.run([*once, sys.argv[2]]))
"""


def moment(bar: float) -> str:
    return iso(NOW + round(bar * INTERVAL))


@contextmanager
def holding(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the database."""
    child = start_loaded(folder / "cryptocast.duckdb", script=script)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def leave(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def served_twice(folder: Path) -> list[tuple[object, ...]]:
    return query(
        folder,
        "SELECT market, epoch(origin) FROM forecast_sets WHERE served GROUP BY ALL"
        " HAVING count(*) > 1 UNION ALL"
        " SELECT market, epoch(origin) FROM ticks GROUP BY ALL HAVING count(*) > 1",
    )


# Several at once.


def test_of_four_ticks_at_one_moment_one_serves_and_all_are_content(w: Path) -> None:
    ticked(w, 1)
    rounds = (2, 3, 4, 8, 9, 15)  # some after an outage, which is made up for once
    children = [start_loaded(w, script=AT_A_WORD) for _ in range(4)]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for bar in rounds:
            for child in children:
                assert child.stdin is not None
                child.stdin.write(f"{moment(bar)}\n")
                child.stdin.flush()
            came = []
            for child in children:
                assert child.stdout is not None
                came.append(json.loads(child.stdout.readline())["data"])
                assert child.stdout.readline() == "0\n"
            assert sorted(data["new"] for data in came) == [False, False, False, True]
            assert all(data["forecasts"] == came[0]["forecasts"] for data in came)
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert [bar for (bar,) in sets(w, "bar")] == [*range(1, 16)]
    assert served_twice(w) == []
    assert sorted(tick_rows(w)) == [
        (bar, "ok" if bar in (1, *rounds) else "missed") for bar in range(1, 16)
    ]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is in use is waited for as long as a busy machine may take."""
    monkeypatch.setenv("CRYPTOCAST_STORE__WAIT_SECONDS", "600")


def test_a_process_that_holds_the_lock_is_waited_for(w: Path, patient: None) -> None:
    with holding(HELD, w) as child:
        began = time.monotonic()
        threading.Timer(1, leave, [child]).start()
        done = run(*ONCE, "-w", w, "--as-of", moment(1))
        assert time.monotonic() - began > 1
    assert (done.code, done.data["new"]) == (0, True)


def test_a_notebook_that_looks_for_a_second_is_waited_for(w: Path, patient: None) -> None:
    with holding(NOTEBOOK, w) as child:
        threading.Timer(1, leave, [child]).start()
        done = run(*ONCE, "-w", w, "--as-of", moment(1))
    assert (done.code, done.data["new"]) == (0, True)
    assert served_twice(w) == []


def test_a_notebook_that_never_leaves_is_named_and_the_next_tick_catches_up(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked(w, 1)
    before = state(w)
    monkeypatch.setenv("CRYPTOCAST_STORE__WAIT_SECONDS", "1")
    with holding(NOTEBOOK, w) as child:
        with monkeypatch.context() as patch:
            sleeps = record_sleep(patch)
            done = run(*ONCE, "-w", w, "--as-of", moment(2))
        assert 0 < sum(sleeps) <= 1
        assert run("status", "-w", w, "--as-of", moment(2), "--json").code == 0
    assert (done.code, done.error["code"]) == (4, "store.busy")
    assert f"{w / 'cryptocast.duckdb'} is in use by " in done.error["message"]
    assert f"(PID {child.pid})" in done.error["message"]
    assert state(w) == before
    done = run(*ONCE, "-w", w, "--as-of", moment(3))
    assert done.code == 0
    assert sets(w, "bar, mode") == [(1, "live"), (2, "backfill"), (3, "live")]


def test_readers_and_a_loop_break_nothing_of_each_other(w: Path, tmp_path: Path) -> None:
    ticked(w, 0)
    options = ("--as-of", moment(1), "--max-ticks", "15")
    path = {"CRYPTOCAST_SOURCE__PATH": str(tmp_path / "none.parquet")}
    child = start_loaded("serve-loop", "-w", w, *options, environ=path)
    try:
        while child.poll() is None:
            as_of = ("-w", w, "--as-of", moment(30), "--json")
            assert good("status", *as_of[:-1])["production"]["version"] == "2"
            out = tmp_path / "forecasts.csv"
            assert run("export", "forecasts", "--out", out, *as_of).code == 0
            assert out.stat().st_size > 0
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 0
    assert [bar for (bar,) in sets(w, "bar")] == [*range(16)]


# Faults of the machine.


def test_a_folder_that_may_only_be_read_is_told_and_can_be_looked_at(w: Path) -> None:
    ticked(w, 1)
    before = state(w)
    # pytest's own folders are for nobody else to pass through.
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    folder = Path(shutil.copytree(w, base / "w"))
    try:
        child = start_loaded(folder, moment(2), moment(1), script=READER)
        out, err = child.communicate(timeout=600)
        folder.chmod(0o755)
        for entry in folder.iterdir():
            entry.chmod(0o755)
        assert out.splitlines()[-1] == "0 4", (out, err)
        error = json.loads(err.splitlines()[-1])["error"]
        assert error["code"] == "store.unwritable"
        assert error["hint"] == "check that the folder exists and that you may write in it"
        assert state(folder) == before
        ticked(folder, 3)
        assert sets(folder, "bar, mode") == [(1, "live"), (2, "backfill"), (3, "live")]
    finally:
        shutil.rmtree(base)


def test_a_disk_that_is_full_at_the_commit_is_told_and_made_up_for(w: Path) -> None:
    ticked(w, 1)
    before = counts(w)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        done = run(*ONCE, "-w", w, "--as-of", moment(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (done.code, done.error["code"]) == (4, "store.full")
    assert done.error["hint"] == "free some space; nothing was stored"
    assert counts(w) == before
    ticked(w, 3)
    assert sets(w, "bar, mode") == [(1, "live"), (2, "backfill"), (3, "live")]


def test_a_database_cut_at_half_is_told_left_alone_and_its_copy_catches_up(w: Path) -> None:
    ticked(w, 1)
    file = w / "cryptocast.duckdb"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    done = run(*ONCE, "-w", w, "--as-of", moment(2))
    assert (done.code, done.error["code"]) == (4, "store.corrupt")
    assert done.error["hint"] == as_typed(
        "restore a copy, or move the file and its .wal away and run cryptocast init"
    )
    assert file.read_bytes() == whole[: len(whole) // 2]
    file.write_bytes(whole)
    ticked(w, 3)
    assert sets(w, "bar, mode") == [(1, "live"), (2, "backfill"), (3, "live")]


def test_a_clock_an_hour_ahead_and_back_serves_each_origin_once(w: Path) -> None:
    ticked(w, 1, 13)
    ahead = sets(w, "bar, mode, quantiles::VARCHAR")
    assert [(bar, mode) for bar, mode, _ in ahead] == [
        (1, "live"), *((bar, "backfill") for bar in range(2, 13)), (13, "live"),
    ]  # fmt: skip
    assert ticked(w, *range(2, 14)).new is False
    assert sets(w, "bar, mode, quantiles::VARCHAR") == ahead
    assert ticked(w, 14).warnings == ()
    assert served_twice(w) == []


def test_a_clock_that_was_ahead_leaves_the_origins_between_to_their_time(w: Path) -> None:
    ticked(w, 1, 13, loop__backfill_missed=False)
    ticked(w, *range(2, 15))
    assert sets(w, "bar, mode") == [(bar, "live") for bar in range(1, 15)]


def test_a_source_that_is_dead_for_three_hours_costs_no_origin(
    w: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    series = candles()
    file = write(w.parent / "bitvavo.csv", series.take(series.open_time < NOW))
    market = ("--market", "bitvavo:BTC/EUR:5m")
    good("fetch", "-w", w, "--source", "file", "--path", file, *market, "--as-of", moment(0))
    monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "bitvavo")
    with Loopback({"BTC/EUR": series}) as server:

        def tick(bar: int, url: str) -> dict[str, object]:
            monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", url)
            server.now = origin(bar)
            done = run("forecast", "--once", "-w", w, "--as-of", moment(bar), "--json")
            assert done.code == 0, done.err
            assert ("bitvavo cannot be reached" in done.err) == (url == DEAD)
            (forecast,) = done.data["forecasts"]
            return dict(forecast)

        alive = server.base_url("bitvavo")
        assert tick(1, alive)["stale_bars"] == 0
        for bar in (2, 4, 5, 20, 37):
            dead = tick(bar, DEAD)
            assert dead["stale_bars"] == bar - 1
            stale = "stale_data" if bar > 4 else None
            assert dead["model"]["fallback"] == stale  # type: ignore[index]
        back = tick(38, alive)
        assert (back["stale_bars"], back["model"]["fallback"]) == (0, None)  # type: ignore[index]
    assert [bar for (bar,) in sets(w, "bar", "market LIKE 'bitvavo%'")] == [*range(1, 39)]
    assert sets(w, "bar, mode", "market LIKE 'bitvavo%' AND mode = 'live'") == [
        (bar, "live") for bar in (1, 2, 4, 5, 20, 37, 38)
    ]
    ((rows,),) = query(w, "SELECT count(*) FROM candles WHERE market = 'bitvavo:BTC/EUR:5m'")
    assert rows == (origin(38) - int(series.open_time[0])) // INTERVAL
