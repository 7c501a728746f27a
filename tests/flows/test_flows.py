"""The three flows on a Prefect server: their tasks, states, artifacts and failures."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prefect", reason="Prefect is not installed: pip install 'cryptocast[prefect]'")

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import State

from cryptocast.errors import SourceError, StateError
from cryptocast.flows import artifacts, steps
from cryptocast.flows.pipelines import initialize, produce, retrain
from cryptocast.schedulers.prefect import deployment_name
from support.commands import AS_OF, NEXT, Made, listing

pytestmark = pytest.mark.usefixtures("prefect_server")

LEARNING = [
    "preprocess and split",
    "train random_walk",
    "tune lstm",
    "train lstm from scratch",
    "evaluate",
    "select and promote",
]


def assert_tasks(state: State[Any], expected: list[str]) -> None:
    """A flow's run had these tasks, in this order; the server hears of them a little later."""
    assert state.state_details.flow_run_id is not None
    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    deadline = time.monotonic() + 20
    found: list[tuple[str, str | None]] = []
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            runs = client.read_task_runs(flow_run_filter=only)
            begun = sorted(runs, key=lambda run: (run.start_time is None, run.start_time))
            found = [(run.name, run.state_name) for run in begun]
            if found == [(name, "Completed") for name in expected]:
                return
            time.sleep(0.2)
    raise AssertionError(found)


def artifact(name: str, folder: Path) -> Any:
    """The newest artifact of that name."""
    key = ArtifactFilterKey(any_=[f"{name}-{deployment_name(folder)}"])
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=key))
    data = found[0].data
    return json.loads(data) if name != "decision" else data


def bundles(folder: Path) -> dict[str, bytes]:
    """Every file of the frozen versions."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted((folder / "bundles").rglob("*"))
        if file.is_file()
    }


def test_initialize_promotes_the_bundle_of_the_command_byte_for_byte(
    made: Made, tmp_path: Path
) -> None:
    folder = tmp_path / "w"
    options: dict[str, Any] = {"source": "file", "path": str(made.files), "as_of": AS_OF}
    state = initialize(str(folder), trials=2, **options, return_state=True)
    assert state.is_completed()
    assert state.name == "Promoted"
    assert made.data["decision"]["reason"] in (state.message or "")
    assert_tasks(state, ["fetch candles", *LEARNING])
    assert bundles(folder) == bundles(made.folder)
    scores = artifact("scores", folder)
    assert [row["crps_bp"] for row in scores] == [float(f"{row['crps_bp']:.4g}") for row in scores]
    assert len(scores) == len(made.data["scores"])
    text = artifact("decision", folder)
    assert text.startswith(f"### Version {made.data['decision']['version']} (lstm) promoted\n")
    assert made.data["decision"]["reason"] in text
    again = initialize(str(folder), as_of=AS_OF, return_state=True)
    assert again.name == "There already"


def test_produce_makes_one_tick_and_finds_it_there_the_second_time(fresh: Path) -> None:
    state = produce(str(fresh), as_of=AS_OF, return_state=True)
    assert (state.name, state.is_completed()) == ("Served", True)
    assert "BTC/EUR" in (state.message or "")
    assert_tasks(
        state,
        [
            "get candles into the database",
            "load the production model",
            "forecast",
            "store the forecast",
        ],
    )
    rows = artifact("forecast", fresh)
    assert len(rows) == 24
    assert set(rows[0]) == {"market", "step", "at", "median", "80 %", "90 %"}
    again = produce(str(fresh), as_of=AS_OF, return_state=True)
    assert again.name == "There already"
    assert_tasks(again, [])


def test_retrain_says_whether_it_was_needed_and_what_serves_now(fresh: Path) -> None:
    idle = retrain(str(fresh), if_needed=True, as_of=NEXT, return_state=True)
    assert idle.name == "Not needed"
    assert_tasks(idle, [])
    assert "the monitor says" in (idle.message or "")
    state = retrain(str(fresh), flush=True, as_of=NEXT, return_state=True)
    assert state.name in ("Promoted", "Kept")
    assert_tasks(state, ["fetch candles", "archive old candles and forecasts", *LEARNING])


def test_an_error_names_the_state_by_its_code_and_reaches_the_caller(tmp_path: Path) -> None:
    state = produce(str(tmp_path), return_state=True)
    assert (state.name, state.is_failed()) == ("state.no_workspace", True)
    assert state.message == (
        f"state.no_workspace: {tmp_path} is not a workspace "
        f"(cryptocast init --workspace {tmp_path}) [exit 3]"
    )
    with pytest.raises(StateError, match="is not a workspace"):
        produce(str(tmp_path))


def test_an_initialization_without_candles_leaves_nothing_behind(
    made: Made, tmp_path: Path
) -> None:
    state = initialize(
        str(tmp_path / "w"), source="file", path=str(made.files), as_of="2020-01-01T00:00:00Z",
        return_state=True,
    )  # fmt: skip
    assert state.is_failed()
    assert state.name is not None
    assert state.name.startswith(("source.", "state."))
    assert listing(tmp_path) == set()


@pytest.mark.parametrize(("retry", "calls"), [(True, 3), (False, 1)])
def test_a_step_is_retried_only_if_its_error_says_that_this_helps(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, retry: bool, calls: int
) -> None:
    from cryptocast.workflows import retrain as workflow

    made_calls: list[int] = []

    def refuse(*_: object, **__: object) -> None:
        made_calls.append(1)
        raise SourceError("it is down", code="source.down", hint="wait", retry=retry)

    monkeypatch.setattr(workflow, "fetch", refuse)
    monkeypatch.setattr(steps, "_step", steps._step.with_options(retry_delay_seconds=0))
    state = retrain(str(fresh), as_of=NEXT, return_state=True)
    assert state.name == "source.down"
    assert state.message == "source.down: it is down (wait) [exit 4]"
    assert len(made_calls) == calls


def test_a_bug_in_a_step_is_raised_unchanged(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptocast.workflows import forecast

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(forecast, "forecast_newest", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        produce(str(fresh), as_of=AS_OF)


def test_artifacts_that_cannot_be_written_cost_a_warning_not_the_run(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def down(*_: object, **__: object) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(artifacts, "create_table_artifact", down)
    logger = logging.getLogger("prefect.flow_runs")
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, caplog.handler])
    assert produce(str(fresh), as_of=AS_OF, return_state=True).name == "Served"
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "no artifact was written: ConnectionError: the server is gone" in warned


def test_progress_is_logged_at_most_every_quarter_of_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    logger = logging.getLogger("a run")
    monkeypatch.setattr(steps, "get_run_logger", lambda: logger)
    monkeypatch.setattr(steps.time, "monotonic", lambda: now[0])
    caplog.set_level(logging.INFO, "a run")
    shown = steps.TaskSteps()

    def work() -> None:
        for second in range(0, 40, 5):
            now[0] = 100.0 + second
            shown.advance(second, 40, f"trial {second}")

    shown.run_logged("tune lstm", work)
    assert [record.getMessage() for record in caplog.records] == [
        "38% trial 15",
        "75% trial 30",
        "tune lstm: 35.0 s trial 35",
    ]
