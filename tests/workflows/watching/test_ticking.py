"""Whether anything ticks by itself: nothing is promised that will not come."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cryptocast import schedulers
from cryptocast.clock import SystemClock
from cryptocast.schedulers import cron
from cryptocast.store import Tick
from cryptocast.values import iso, parse_time
from cryptocast.workflows.status import StatusReport, status
from cryptocast.workspace import Workspace
from support.commands import NOW, good, run
from support.ticks import BTC, at, origin

BAR = 300
PRESENT = parse_time("2026-01-05T12:00:00Z")


@pytest.fixture
def live(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of a source that goes on, a minute after `PRESENT`, where nothing ticks."""
    monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "sim")
    monkeypatch.setattr(time, "time", lambda: PRESENT + 60.0)
    monkeypatch.setattr(cron, "call", lambda *_, **__: "")
    return workspace


def look(folder: Path) -> StatusReport:
    with Workspace.open(folder, clock=SystemClock()) as ws:
        return status(ws)


def healthy(folder: Path, **facts: Any) -> None:
    """Leave the health file of a loop whose next tick is due in time."""
    (folder / "logs").mkdir(exist_ok=True)
    health = {"state": "running", "next_tick_at": iso(PRESENT + BAR + 10), **facts}
    (folder / "logs" / "health.json").write_text(json.dumps(health), encoding="utf-8")


def test_where_nothing_is_scheduled_no_tick_is_promised(live: Path) -> None:
    words = " ".join(run("status", "-w", live).out.split())
    assert "Next tick nothing is scheduled: cryptocast schedule" in words
    data = good("status", "-w", live)
    assert (data["next_tick"], data["ticked_by"]) == (None, None)
    done = run("doctor", "-w", live, "--json")
    (check,) = [check for check in done.data["checks"] if check["name"] == "schedule"]
    assert (check["status"], check["detail"]) == ("warning", "nothing is scheduled")
    assert check["hint"] == "cryptocast schedule --install, or cryptocast serve-loop"


def test_a_loop_promises_its_next_tick(live: Path) -> None:
    healthy(live)
    report = look(live)
    assert (report.ticked_by, report.next_tick) == ("serve-loop", PRESENT + BAR + 10)
    assert "12:05:10Z, in 4:10, by serve-loop" in run("status", "-w", live).out


@pytest.mark.parametrize(
    "facts",
    [
        {"state": "stopped"},
        {"next_tick_at": iso(PRESENT - 3 * BAR)},
        {"virtual": True},
        {"next_tick_at": 7},
    ],
    ids=str,
)
def test_a_loop_that_has_ended_promises_nothing(live: Path, facts: dict[str, Any]) -> None:
    healthy(live, **facts)
    assert look(live).ticked_by is None


def test_a_scheduler_that_has_the_workspace_is_named(
    live: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = f"*/5 * * * * cryptocast forecast {schedulers.mark(live)}\n"
    with monkeypatch.context() as patch:
        patch.setattr(cron, "call", lambda *_, **__: line)
        assert look(live).ticked_by == "cron"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    timer = tmp_path / "systemd" / "user" / f"{schedulers.unique_name(live)}.timer"
    timer.parent.mkdir(parents=True)
    timer.touch()
    assert look(live).ticked_by == "systemd"


def test_something_that_served_the_last_origins_in_time_will_go_on(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bar, expected in ((0, None), (1, None), (2, "something")):
        moment = PRESENT + bar * BAR + 5.0
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        good("forecast", "--once", "-w", live)
        assert look(live).ticked_by == expected


def test_origins_that_passed_without_a_tick_are_trouble(w: Path) -> None:
    with at(w, 3) as ws:
        with ws.store.write() as writer:
            writer.ledger.put_ticks(Tick(BTC.id, origin(bar), NOW, NOW, "missed") for bar in (1, 2))
        assert "2 origins of the last day passed without a tick" in status(ws).issues
    done = run("doctor", "-w", w, "--as-of", iso(origin(3)))
    assert f"warning  ticks {BTC.id}: 2 origins of the last day passed without a tick" in done.out


def test_recorded_candles_are_looked_at_with_their_own_clock(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cron, "call", lambda *_, **__: "")
    end = iso(origin(288))
    report = look(w)
    assert report.issues == (f"the stored candles end at {end}: look at them with --as-of {end}",)
    words = "".join(run("status", "-w", w).out.split())  # whatever the lines break at
    assert f"Nexttickofrecordedcandles:cryptocastforecast-w{w}--once--as-of{end}" in words
