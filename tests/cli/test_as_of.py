"""--as-of: a virtual clock never takes the place of what a real tick will serve."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from cryptocast.cli.root.commands import WORDS
from cryptocast.store import Store
from cryptocast.values import Candles, iso, parse_time
from support.commands import BTC, Done, good, query, run

BAR = 300
PRESENT = parse_time("2026-01-05T12:00:00Z")
SERVED = "SELECT count(*), coalesce(max(epoch(origin)), 0) FROM forecast_sets WHERE served"
ARGUMENTS = {
    "api": ("--host", "0.0.0.0"),  # refused without a token: it would answer until it is stopped
    "export": ("candles", "--out", "candles.csv"),
    "forecast": ("--once",),
    "notify": ("--test",),
    "pretrain": ("--data", "none", "--out", "base"),
    "promote": ("1", "--force", "--reason", "x"),
    "query": ("SELECT 1",),
    "replay": ("--start", "2024-06-03", "--version", "1"),
    "serve-loop": ("--max-ticks", "2"),
    "shadow": ("1",),
}


@pytest.fixture
def live(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose source trades up to this moment, a minute after `PRESENT`."""
    monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "sim")
    monkeypatch.setattr(time, "time", lambda: PRESENT + 60.0)
    monkeypatch.chdir(workspace.parent)
    return workspace


def tick(folder: Path, moment: float, *options: str) -> Done:
    return run("forecast", "--once", "-w", folder, "--as-of", iso(moment), "--json", *options)


def test_no_command_serves_the_future(live: Path) -> None:
    future = iso(PRESENT + 6 * 3600)
    for name in WORDS:
        done = run(name, *ARGUMENTS.get(name, ()), "-w", live, "--as-of", future, "--json")
        assert done.code in (0, 2, 3, 4, 6), f"{name}: {done.err}"
        assert query(live, SERVED) == [(0, 0)], name
        if name in ("forecast", "serve-loop", "fetch"):
            assert done.code == 2, name
            assert '"usage.as_of"' in done.err, name
    assert good("forecast", "--once", "-w", live)["new"] is True


def test_the_present_origin_is_left_to_the_real_tick(live: Path) -> None:
    refused = tick(live, PRESENT + 1)
    assert (refused.code, refused.error["code"]) == (2, "usage.as_of")
    assert refused.error["hint"] == f"leave --as-of out, or give a time up to {iso(PRESENT - BAR)}"
    for options in (
        ("--start", iso(PRESENT - 3 * BAR), "--end", iso(PRESENT)),
        ("--start", iso(PRESENT)),
    ):
        assert run("replay", "-w", live, *options).code == 2
    assert tick(live, PRESENT - 3 * BAR).data["new"] is True
    done = run("replay", "-w", live, "--start", iso(PRESENT - 5 * BAR), "--json")
    last = json.loads(done.out.splitlines()[-1])["data"]["summary"]
    assert (last["end"], last["made"], last["skipped"]) == (iso(PRESENT - BAR), 4, 1)
    assert good("forecast", "--once", "-w", live)["new"] is True


def test_what_a_virtual_clock_served_long_ago_makes_nothing_missed(live: Path) -> None:
    assert tick(live, PRESENT - 20 * BAR).data["new"] is True
    good("forecast", "--once", "-w", live)
    assert query(live, 'SELECT mode, "virtual" FROM forecast_sets ORDER BY origin') == [
        ("live", True),
        ("live", False),
    ]
    assert query(live, "SELECT count(*) FROM ticks WHERE status = 'missed'") == [(0,)]


def stock(folder: Path, end: int) -> None:
    """Store candles of files that end at a moment."""
    opened = np.arange(end - 30 * BAR, end, BAR)
    candles = Candles.of(opened, *(np.full(30, 7.0) for _ in range(5)))
    with Store(folder / "cryptocast.duckdb", 5).write() as writer:
        writer.put_candles(BTC, candles, provenance="live", fetched_at=float(end))


def test_in_recorded_candles_the_clock_is_theirs(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: PRESENT + 60.0)
    ahead = PRESENT + 86_400
    stock(workspace, ahead)
    assert tick(workspace, ahead, "--no-fetch").data["new"] is True


def test_files_that_grow_are_no_recording(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: PRESENT + 60.0)
    stock(workspace, PRESENT)
    done = tick(workspace, PRESENT + BAR, "--no-fetch")
    assert (done.code, done.error["code"]) == (2, "usage.as_of")
