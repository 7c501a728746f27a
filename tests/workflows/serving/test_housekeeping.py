from __future__ import annotations

import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cryptocast.workflows.serving.housekeeping import Housekeeping
from cryptocast.workspace import Workspace

# Stands in for Python: notes what it was asked to run, and ends as it is told to.
STAND_IN = """#!/bin/sh
echo "$3 $4" >> {folder}/ran
test -f {folder}/slow && exec sleep 60
exit $(cat {folder}/code)
"""


class HandClock:
    """A system clock that is set by hand."""

    virtual = False

    def __init__(self) -> None:
        self.moment = 1_717_372_800.0

    def now(self) -> float:
        return self.moment


class House:
    """A workspace with a Housekeeping whose commands are stand-ins."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        (folder / "cryptocast.toml").touch()
        (folder / "logs").mkdir()
        self.ends(0)
        self.clock = HandClock()
        options = {key.replace("__", "."): value for key, value in settings.items()}
        self.settings = Workspace.open(folder, environ={}, options=options).settings

    def keeping(self, *, report_every_minutes: float | None = None) -> Housekeeping:
        clock: Any = self.clock  # it never sleeps
        return Housekeeping(
            self.settings, clock, self.folder, report_every_minutes=report_every_minutes
        )

    def ends(self, code: int) -> None:
        (self.folder / "code").write_text(str(code))

    def ran(self) -> list[str]:
        file = self.folder / "ran"
        return file.read_text().splitlines() if file.exists() else []

    def after(self, keeping: Housekeeping, minutes: float) -> list[str]:
        """What is told after a tick that much later, once the processes have ended."""
        self.clock.moment += minutes * 60
        told = list(keeping.after_tick())
        deadline = time.monotonic() + 600
        while any(c.process and c.process.poll() is None for c in keeping._chores):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return told


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "python"
    program.write_text(STAND_IN.format(folder=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))
    return tmp_path


def test_the_monitor_runs_every_so_often_and_not_at_the_start(stand_in: Path) -> None:
    house = House(stand_in)
    keeping = house.keeping()
    for minutes in (0, 30, 30, 30, 30):
        assert house.after(keeping, minutes) == []
    assert house.ran() == ["monitor -w", "monitor -w"]


def test_a_decline_is_told_and_renews_the_model_only_where_that_is_wanted(stand_in: Path) -> None:
    house = House(stand_in)
    keeping = house.keeping()
    house.ends(6)
    house.after(keeping, 60)
    assert house.after(keeping, 5) == ["the monitor found a decline: cryptocast monitor shows why"]
    house.after(keeping, 5)
    assert house.ran() == ["monitor -w"]


def test_a_decline_starts_a_retraining_beside_the_loop(stand_in: Path) -> None:
    house = House(stand_in, retrain__auto=True)
    keeping = house.keeping()
    house.ends(6)
    house.after(keeping, 60)
    house.ends(0)
    assert house.after(keeping, 5) == [
        "the monitor found a decline: cryptocast monitor shows why",
        "retrain has started beside the loop",
    ]
    assert house.after(keeping, 5) == ["retrain has ended: see logs/retrain.log for its result"]
    assert house.ran() == ["monitor -w", "retrain --if-needed"]


def test_a_report_is_written_at_once_and_then_every_so_often(stand_in: Path) -> None:
    house = House(stand_in)
    keeping = house.keeping(report_every_minutes=15)
    for minutes in (0, 10, 10):
        assert house.after(keeping, minutes) == []
    assert house.ran() == ["report -w", "report -w"]


def test_a_command_that_fails_is_told_with_its_log(stand_in: Path) -> None:
    house = House(stand_in)
    keeping = house.keeping(report_every_minutes=15)
    house.ends(4)
    house.after(keeping, 0)
    assert house.after(keeping, 5) == ["report ended with exit code 4: see logs/report.log"]


def test_a_command_that_takes_long_is_not_started_twice_and_ends_with_the_loop(
    stand_in: Path,
) -> None:
    house = House(stand_in)
    (stand_in / "slow").touch()
    keeping = house.keeping(report_every_minutes=1)
    for _ in range(3):
        house.clock.moment += 60
        assert list(keeping.after_tick()) == []
    process = keeping._chores[-1].process
    assert process is not None
    deadline = time.monotonic() + 600
    while not house.ran() and time.monotonic() < deadline:
        time.sleep(0.01)
    keeping.stop()
    assert process.wait(600) == -15
    assert len(house.ran()) == 1


def test_on_a_virtual_clock_nothing_is_run(stand_in: Path) -> None:
    house = House(stand_in)
    house.clock.virtual = True
    keeping = house.keeping(report_every_minutes=1)
    assert house.after(keeping, 600) == []
    assert house.ran() == []
