"""A back-fill that is killed at random moments, and run again: nothing is lost, little asked twice.

`KILLS=50 pytest tests/faults/test_kill.py` kills more often than the suite has time for.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cryptocast.sources import bitvavo, coincap
from cryptocast.sources._pace import Pace
from cryptocast.values import iso
from faults.world import OVERLAP, symbol_of
from support.commands import INTERVAL, candles, good, query, start_loaded
from support.loopback import KEY, Loopback

DAYS = 30
BARS = DAYS * 288
SERIES = candles(bars=BARS + 3)
NOW = int(SERIES.open_time[BARS])
KILLS = int(os.environ.get("KILLS", "6"))
STARTS = {"from nothing": 0, "with the newest week": 7}
DELAY_SECONDS = 0.02
CALLS = {"bitvavo": bitvavo.Source.bars_a_call, "coincap": coincap.Source.bars_a_call}

# The command without the pace, or most of the time would go by with nothing to disturb.
HURRIED = """
import sys
from cryptocast import cli
from cryptocast.sources._pace import Pace
Pace.wait = lambda *_: True
sys.exit(cli.run(sys.argv[1:]))
"""


@dataclass
class BackFill:
    """A back-fill to kill: the workspace that it starts from, and its server."""

    source: str
    kills: int
    template: Path
    server: Loopback
    calls: int  # that were made for the template

    def options(self, folder: Path, days: int = DAYS) -> tuple[str, ...]:
        return ("fetch", "-w", str(folder), "--days", str(days), "--as-of", iso(NOW))

    def copy(self, folder: Path) -> Path:
        self.server.requests.clear()
        return Path(shutil.copytree(self.template, folder))

    def asked_bars(self) -> int:
        """Over all requests, how many bars each asked for."""
        spans = [int(r.query["end"]) - int(r.query["start"]) for r in self.server.requests]
        return sum(spans) // 1000 // INTERVAL


PLACES = [(source, days) for source in CALLS for days in STARTS.values()]


@pytest.fixture(params=range(4), ids=[f"{s}: {name}" for s in CALLS for name in STARTS])
def back_fill(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BackFill]:
    source, days = PLACES[request.param]
    kills = len(range(request.param, KILLS, len(PLACES)))
    monkeypatch.setattr(Pace, "wait", lambda pace, deadline: True)
    with Loopback({symbol_of(source): SERIES}) as server:
        monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", source)
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", server.base_url(source))
        monkeypatch.setenv("CRYPTOCAST_SOURCE__MONTHLY_CREDITS", "1000000")
        monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", f'["{symbol_of(source)}"]')
        monkeypatch.setenv("COINCAP_API_KEY", KEY)
        server.now = NOW + 100
        made = BackFill(source, kills, tmp_path / "template", server, 0)
        made.template.mkdir()
        (made.template / "cryptocast.toml").write_text("", encoding="utf-8")
        if days:
            good(*made.options(made.template, days))
            made.calls = len(server.requests)
        yield made


def table(folder: Path) -> list[tuple[Any, ...]]:
    """All that a fetch leaves but when it was."""
    columns = "market, epoch(open_time), open, high, low, close, volume, provenance"
    kept = query(folder, f"SELECT {columns} FROM candles ORDER BY market, open_time")
    return kept + query(folder, "SELECT market, epoch(open_time), answers FROM missing_bars")


def killed(back_fill: BackFill, folder: Path, after_seconds: float) -> bool:
    """Run, and kill so long after the first request; False where it was done before that."""
    asked = len(back_fill.server.requests)
    child = start_loaded(*back_fill.options(folder), script=HURRIED)
    try:
        while len(back_fill.server.requests) == asked and child.poll() is None:
            time.sleep(0.002)
        child.wait(timeout=after_seconds)
    except subprocess.TimeoutExpired:
        return True
    else:
        assert child.returncode == 0, child.communicate()[1]
        return False
    finally:
        child.kill()
        child.communicate()


def test_what_is_killed_goes_on_where_it_was(back_fill: BackFill, tmp_path: Path) -> None:
    whole = back_fill.copy(tmp_path / "whole")
    good(*back_fill.options(whole))
    requests, bars = len(back_fill.server.requests), back_fill.asked_bars()
    assert len(table(whole)) == BARS

    back_fill.server.delay_seconds = DELAY_SECONDS
    seconds = requests * 2 * DELAY_SECONDS  # what is done besides takes about as long
    draw = random.Random(0)
    kills = rounds = 0
    while kills < back_fill.kills:
        rounds += 1
        folder = back_fill.copy(tmp_path / str(rounds))
        before = kills
        while killed(back_fill, folder, draw.uniform(0, seconds)):
            kills += 1
        assert table(folder) == table(whole)
        twice = kills - before
        assert len(back_fill.server.requests) <= requests + twice
        call = CALLS[back_fill.source]
        assert back_fill.asked_bars() <= bars + twice * (call + OVERLAP)
        if back_fill.source == "coincap":
            # A call is booked before it is made: a kill leaves it counted, never uncounted.
            ((calls,),) = query(folder, "SELECT calls FROM credits")
            assert 0 <= calls - back_fill.calls - len(back_fill.server.requests) <= twice
