"""serve-loop on the virtual clock: it leaps from tick to tick, and outlives what may heal."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from commands import NEXT, query, run


def test_it_leaps_from_tick_to_tick(workspace: Path) -> None:
    began = time.monotonic()
    options = ("--as-of", "2024-06-03T00:07:00Z", "--max-ticks", "4", "--json")
    done = run("serve-loop", "-w", workspace, *options)
    assert time.monotonic() - began < 30
    assert done.code == 0
    *ticks, _ = [json.loads(line)["data"] for line in done.out.splitlines()]
    assert [t["at"] for t in ticks] == [
        "2024-06-03T00:07:00Z",
        "2024-06-03T00:10:10Z",
        "2024-06-03T00:15:10Z",
        "2024-06-03T00:20:10Z",
    ]
    assert [t["forecasts"][0]["origin"] for t in ticks] == [
        f"2024-06-03T00:{minute}:00Z" for minute in ("05", "10", "15", "20")
    ]
    assert [t["forecasts"][0]["issued_at"] for t in ticks] == [t["at"] for t in ticks]
    assert {t["forecasts"][0]["stale_bars"] for t in ticks} == {0}
    assert query(workspace, "SELECT count(*) FROM forecasts WHERE served") == [(4 * 24,)]


def test_the_delay_after_each_close_can_be_chosen(workspace: Path) -> None:
    options = ("--as-of", NEXT, "--max-ticks", "2", "--delay", "45", "--json")
    done = run("serve-loop", "-w", workspace, *options)
    assert json.loads(done.out.splitlines()[1])["data"]["at"] == "2024-06-03T00:10:45Z"


def test_a_tick_that_fails_is_told_and_the_next_one_tries_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["sim:BTC/EUR:5m"]')
    from cryptocast.errors import SourceError
    from cryptocast.sources import sim

    pages, asked = sim.Source.pages, []

    def down_once(self: sim.Source, *arguments: Any, **named: Any) -> object:
        asked.append(arguments)
        if len(asked) == 1:
            raise SourceError("sim is down", hint="wait")
        return pages(self, *arguments, **named)

    monkeypatch.setattr(sim.Source, "pages", down_once)
    done = run("serve-loop", "-w", workspace, "--as-of", NEXT, "--max-ticks", "2", "--json")
    first, second, last = [json.loads(line)["data"] for line in done.out.splitlines()]
    assert first == {"at": NEXT, "error": "source.failed"}
    assert second["forecasts"][0]["market"] == "sim:BTC/EUR:5m"
    assert last == {"summary": {"ticks": 2, "failed": 1}}
    assert done.code == 0
    assert f"warning: {NEXT} sim is down (wait)" in done.err


def test_for_a_person_it_prints_a_line_a_tick(workspace: Path) -> None:
    done = run("serve-loop", "-w", workspace, "--as-of", NEXT, "--max-ticks", "2")
    first, second, last = done.out.splitlines()
    assert first.startswith(f"{NEXT}  BTC/EUR  ")
    assert first.endswith("version 2")
    assert second.startswith("2024-06-03T00:10:00Z  BTC/EUR  ")
    assert last == "stopped after 2 ticks, 0 failed"
