"""The steps of init and retrain: named functions that anything may run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cryptocast.clock import VirtualClock
from cryptocast.seams import Silence
from cryptocast.workflows.init import InitOptions, InitReport, init
from cryptocast.workflows.learning.preparing import Prepared
from cryptocast.workflows.retrain import RetrainReport, retrain
from cryptocast.workspace import Workspace
from support.commands import NOW, Made

T = TypeVar("T")

MODELS = [
    "preprocess and split",
    "train random_walk",
    "tune lstm",
    "train lstm from scratch",
    "evaluate",
    "select and promote",
]


class Recorder:
    """Steps that keep the name of each step and the type of its result."""

    def __init__(self) -> None:
        self.results: list[tuple[str, type]] = []

    def step(self, name: str, work: Callable[[], T]) -> T:
        result = work()
        self.results.append((name, type(result)))
        return result


class Checklist(Silence):
    """A checklist that keeps the stages it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str) -> None:
        self.stages.append(name)


def first_init(made: Made, folder: Path, steps: Any, progress: Any) -> InitReport:
    settings = {"source.name": "file", "source.path": str(made.files), "tune.trials": 2}
    return init(
        folder,
        InitOptions(settings=settings),
        environ=dict(os.environ),
        clock=VirtualClock(NOW),
        progress=progress,
        steps=steps,
    )


def test_init_runs_its_steps_in_order_and_shows_each_in_the_checklist(
    made: Made, tmp_path: Path
) -> None:
    recorder, checklist = Recorder(), Checklist()
    report = first_init(made, tmp_path / "w", recorder, checklist)
    names = [name for name, _ in recorder.results]
    assert names == ["fetch candles", *MODELS]
    assert checklist.stages == names
    assert dict(recorder.results)["preprocess and split"] is Prepared
    assert report.pipeline is not None
    decision, split = report.pipeline.decision, report.pipeline.renewals[0].split
    expected = made.data["decision"]
    assert (decision.version, decision.model) == (expected["version"], expected["model"])
    assert decision.reason == expected["reason"]
    assert {name: split[name] for name in made.data["split"]} == made.data["split"]


def test_a_resumed_pipeline_runs_no_step_for_what_is_trained(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptocast.workflows.learning import pipeline

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "decide", interrupt)
        with pytest.raises(KeyboardInterrupt):
            first_init(made, tmp_path / "w", Recorder(), Silence())
    recorder = Recorder()
    first_init(made, tmp_path / "w", recorder, Silence())
    names = [name for name, _ in recorder.results]
    assert names == ["fetch candles", *[n for n in MODELS if not n.startswith("train")]]


def test_retrain_runs_its_steps_in_order_and_shows_each_in_the_checklist(fresh: Path) -> None:
    recorder, checklist = Recorder(), Checklist()
    clock = VirtualClock(NOW + 3600)
    with Workspace.open(fresh, clock=clock, progress=checklist, steps=recorder) as ws:
        report = retrain(ws, clear=True)
    names = [name for name, _ in recorder.results]
    assert names == ["fetch candles", "archive old candles and forecasts", *MODELS]
    assert checklist.stages == names
    assert isinstance(report, RetrainReport)
    assert report.flushed is not None
