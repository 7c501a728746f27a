"""tick: its steps run one by one, in order, through whatever runs steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cryptocast.errors import StateError
from cryptocast.workflows.forecast import tick
from cryptocast.workflows.shadow import shadow
from support.ticks import at, drop, sets, ticked

T = TypeVar("T")

STEPS = [
    "get candles into the database",
    "load the production model",
    "forecast",
    "store the forecast",
]


class Recording:
    """Steps that are written down, each when it begins, with the error that ended it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.failed: dict[str, Exception] = {}
        self.depth = 0

    def step(self, name: str, work: Callable[[], T]) -> T:
        assert self.depth == 0, "no step runs inside another"
        self.depth += 1
        self.names.append(name)
        try:
            return work()
        except Exception as error:
            self.failed[name] = error
            raise
        finally:
            self.depth -= 1


class Stages:
    """A Progress that fails when a stage begins: a tick shows no checklist."""

    def stage(self, name: str) -> None:
        pytest.fail(f"the stage '{name}' began")

    def advance(self, done: float, total: float, detail: str = "") -> None:
        pass

    def waiting(self, what: str) -> None:
        pass


def steps(folder: Path, bar: int, *, fetch: bool = True, **settings: Any) -> Recording:
    """One tick, recorded."""
    recording = Recording()
    with at(folder, bar, **settings) as ws:
        ws.steps, ws.progress = recording, Stages()
        try:
            tick(ws, fetch=fetch)
        except StateError:
            recording.names.append("StateError")
    return recording


def test_a_tick_runs_its_steps_in_order_and_shows_no_checklist(w: Path) -> None:
    assert steps(w, 1).names == STEPS
    assert sets(w, "bar, mode") == [(1, "live")]


def test_missed_origins_and_the_shadow_are_steps_after_the_newest_origin_is_stored(
    w: Path,
) -> None:
    ticked(w, 1)
    with at(w, 1) as ws:
        shadow(ws, "1")
    later = ["make up for missed origins", "let the shadow forecast"]
    assert steps(w, 4).names == [*STEPS, *later]


def test_without_fetching_there_is_no_step_for_it(w: Path) -> None:
    assert steps(w, 1, fetch=False).names == STEPS[1:]


def test_receivers_and_the_metrics_file_are_steps_of_every_tick_if_they_are_set(
    w: Path, tmp_path: Path
) -> None:
    told = {
        "notify__receiver": [{"name": "file"}],
        "metrics__file": str(tmp_path / "cryptocast.prom"),
    }
    tell = ["send alerts", "write the metrics"]
    assert steps(w, 1, **told).names == [*STEPS, *tell]
    assert steps(w, 1, **told).names == tell  # what is served already has no step but these


def test_a_tick_without_candles_fails_after_its_steps_and_tells(w: Path, tmp_path: Path) -> None:
    drop(w, range(-3000, 100))
    recording = steps(w, 1, fetch=False, metrics__file=str(tmp_path / "cryptocast.prom"))
    assert recording.names == [*STEPS[1:], "write the metrics", "StateError"]
    assert recording.failed == {}  # the failure is stored: no step of it failed
