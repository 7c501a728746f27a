"""query and the mirror: the database is asked without blocking a tick, and nothing else is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest

from cryptocast.clock import VirtualClock
from cryptocast.errors import UsageError
from cryptocast.workflows.serve_loop import Stop, serve_loop
from cryptocast.workspace import Workspace
from support.commands import BARS, INTERVAL, NOW, good, listing, query, run, start_loaded, state
from support.ticks import at, sets

# A notebook that looks at the database, and forgets to close it.
NOTEBOOK = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
connection.execute("SELECT count(*) FROM candles").fetchall()
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def notebook(file: Path) -> Iterator[int]:
    """Another process that holds a database open; its number."""
    with start_loaded(file, script=NOTEBOOK) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            yield child.pid
        finally:
            child.kill()


def test_a_person_sees_a_table_and_a_script_a_document(workspace: Path) -> None:
    sql = "SELECT market, max(open_time) AS last, count(*) AS n FROM candles GROUP BY market"
    words = run("query", sql, "-w", workspace).out.split()
    assert words[:3] == ["market", "last", "n"]
    assert words[-3:] == ["file:BTC/EUR:5m", "2024-06-02T23:55:00Z", str(BARS)]
    assert good("query", sql, "-w", workspace) == {
        "columns": ["market", "last", "n"],
        "rows": [{"market": "file:BTC/EUR:5m", "last": "2024-06-02T23:55:00Z", "n": BARS}],
        "more": False,
    }


def test_what_json_lacks_is_written_all_the_same(workspace: Path) -> None:
    sql = """SELECT 'inf'::DOUBLE AS a, [1.5, NULL] AS b, {'x': now()} AS c, 'x'::BLOB AS d,
        INTERVAL 1 DAY AS e, DATE '2024-01-01' AS f, 1 AS a -- two of a name;"""
    (row,) = good("query", sql, "-w", workspace)["rows"]
    assert (row["a"], row["b"], row["e"], row["f"]) == (
        None,
        [1.5, None],
        "1 day, 0:00:00",
        "2024-01-01",
    )
    assert row["c"]["x"].endswith("Z")


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet", ".csv.gz"])
def test_the_rows_become_a_file(workspace: Path, ending: str) -> None:
    file = workspace.parent / f"it's{ending}"
    sql = "SELECT open_time, close FROM candles ORDER BY open_time DESC;"
    done = run("query", sql, "-w", workspace, "--out", file, "--limit", "2", "--json")
    assert (done.data["rows"], done.data["bytes"]) == (2, file.stat().st_size)
    assert "first 2 rows" in done.err
    readers = {".json": pl.read_json, ".parquet": pl.read_parquet}
    frame = readers.get(ending, pl.read_csv)(file)
    assert frame.columns == ["open_time", "close"]
    assert str(frame["open_time"][0]).replace(" ", "T").startswith("2024-06-02T23:55:00")


def test_no_more_rows_than_asked_for_are_shown_and_it_says_so(workspace: Path) -> None:
    done = run("query", "FROM candles", "-w", workspace, "--json")
    assert (len(done.data["rows"]), done.data["more"]) == (1000, True)
    assert "warning: these are the first 1,000 rows; --limit N gives more" in done.err


BAD = [
    ("SELEC 1", "syntax error"),
    ("SELECT nope FROM candles", 'Referenced column "nope" not found'),
    ("SELECT 1; SELECT 2", "a query is one SELECT"),
    ("", "a query is one SELECT"),
    ("INSERT INTO events SELECT * FROM events", "a query is one SELECT"),
    ("DROP TABLE candles", "a query is one SELECT"),
    ("COPY candles TO 'here.csv'", "a query is one SELECT"),
    ("SET enable_external_access = true", "a query is one SELECT"),
    ("ATTACH 'other.duckdb'", "a query is one SELECT"),
    ("INSTALL httpfs", "a query is one SELECT"),
    ("FROM read_text('/etc/passwd')", "a query reads this database and nothing else"),
    ("FROM 'any.csv'", "a query reads this database and nothing else"),
    ("FROM glob('*')", "a query reads this database and nothing else"),
    ("FROM read_parquet('https://127.0.0.1/a.parquet')", ""),
    ("FROM query('DROP TABLE candles')", "Expected a single SELECT statement"),
    ("SELECT 1) AS t; DROP TABLE candles; --", "syntax error"),
    ("SELECT array_agg(range) FROM range(400000000)", "Out of Memory Error"),
]


@pytest.mark.parametrize(("sql", "what"), BAD, ids=[sql for sql, _ in BAD])
def test_what_is_no_query_of_this_database_is_one_line_and_exit_2(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, sql: str, what: str
) -> None:
    monkeypatch.chdir(workspace)
    before = state(workspace)
    done = run("query", sql, "-w", workspace)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert what in done.err
    assert state(workspace) == before


def test_a_query_that_takes_too_long_is_ended(workspace: Path) -> None:
    endless = (
        "SELECT count(*) FROM range(10000000) AS a, range(10000000) AS b WHERE a.range < b.range"
    )
    done = run("query", endless, "-w", workspace, "--timeout", "0.2", "--json")
    assert (done.code, done.error["message"]) == (2, "the query took longer than 0.2 s")


def test_a_virtual_clock_hides_what_came_after_it(w: Path) -> None:
    with at(w, 3) as ws:
        (last,) = ws.query("SELECT epoch(max(open_time))::BIGINT FROM candles").row(0)
    assert last == NOW + 2 * INTERVAL


def test_a_notebook_gets_a_frame(workspace: Path) -> None:
    with Workspace.open(workspace) as ws:
        frame = ws.query("SELECT open_time, close, volume FROM candles ORDER BY open_time")
        assert (len(frame), frame.schema["open_time"].is_temporal()) == (BARS, True)
        with pytest.raises(UsageError, match="more than 5 rows"):
            ws.query("FROM candles", most=5)


def test_a_query_blocks_no_writer_and_leaves_nothing(workspace: Path) -> None:
    before = listing(workspace)
    with Workspace.open(workspace) as ws, ws.snapshot(), ws.store.write() as writer:
        writer.put_event(1.0, "written meanwhile", None, {})
    assert listing(workspace) == before


def test_a_loop_goes_on_when_another_process_has_let_the_database_go(w: Path) -> None:
    options = {"store.wait_seconds": 0.05, "loop.delay_seconds": 0}
    clock = VirtualClock(NOW + INTERVAL)
    with Workspace.open(w, environ={}, options=options, clock=clock) as ws:
        turns = serve_loop(ws, Stop(), max_ticks=4)
        assert next(turns).error is None
        with notebook(w / "cryptocast.duckdb") as pid:
            for turn in (next(turns), next(turns)):
                assert turn.error is not None
                assert turn.error.code == "store.busy"
                assert f"(PID {pid})" in turn.error.message
                assert "python" in turn.error.message
                assert "the next tick makes up for what was missed" in turn.error.hint
            assert good("query", "SELECT count(*) AS n FROM forecast_sets", "-w", w)["rows"] == [
                {"n": 1}
            ]
        assert next(turns).error is None
    assert sets(w, "bar, mode") == [(1, "live"), (2, "backfill"), (3, "backfill"), (4, "live")]


def test_a_mirror_that_is_kept_open_stops_no_tick(w: Path) -> None:
    mirror = w / "mirror.duckdb"
    count = "SELECT count(*) FROM forecast_sets"
    options = {"store.mirror": True, "store.wait_seconds": 0.05}
    clock = VirtualClock(NOW + INTERVAL)
    with Workspace.open(w, environ={}, options=options, clock=clock) as ws:
        turns = serve_loop(ws, Stop(), max_ticks=3)
        next(turns)
        with duckdb.connect(str(mirror), read_only=True) as kept, notebook(mirror):
            for turn in turns:
                assert (turn.error, turn.messages) == (None, ())
            assert kept.execute(count).fetchall() == [(1,)]
    with duckdb.connect(str(mirror), read_only=True) as fresh:
        assert fresh.execute(count).fetchall() == query(w, count) == [(3,)]
    assert not list(w.glob(".*.part*"))
