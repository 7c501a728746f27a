"""Scores over any range: what is learned before it, what is said of it, where it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
import rich.console

from cryptocast import models, schemas
from cryptocast.clock import VirtualClock
from cryptocast.errors import ModelError
from cryptocast.models.baselines import garch
from cryptocast.values import parse_time
from cryptocast.workflows import evaluate as workflow
from cryptocast.workspace import Workspace
from support.commands import AS_OF, ended, good, query, run, start_loaded

START, END = "2024-06-02T06:00:00Z", "2024-06-02T18:00:00Z"


def evaluate(folder: Path, *options: str) -> dict[str, Any]:
    return good("evaluate", "-w", folder, "--as-of", AS_OF, *options)


def of(data: dict[str, Any], model: str, version: str | None, step: int | str) -> dict[str, Any]:
    (found,) = [
        row
        for row in data["scores"]
        if (row["model"], row["version"], row["step"]) == (model, version, step)
    ]
    return dict(found)


def test_every_baseline_is_scored_on_the_same_origins_as_the_versions(workspace: Path) -> None:
    data = evaluate(workspace, "--days", "1")
    models_of = {(row["model"], row["version"]) for row in data["scores"]}
    assert models_of == {
        ("lstm", "2"),
        ("random_walk", "1"),
        *((kind, None) for kind in models.baseline_kinds()),
    }
    assert {row["n"] for row in data["scores"] if row["step"] == 1} == {288}
    assert {row["n"] for row in data["scores"] if row["step"] == 24} == {288 - 23}
    assert set(data["scores"][0]) == set(schemas.SCORES.names())


def test_a_range_in_the_past_is_scored_on_what_lay_before_it(workspace: Path) -> None:
    data = evaluate(workspace, "--start", START, "--end", END, "--version", "2")
    assert (data["start"], data["end"], data["in_sample"]) == (START, END, [])
    found = of(data, "random_walk", None, 1)
    assert found["n"] == 144
    # As if nothing later had ever been stored.
    then = good("evaluate", "-w", workspace, "--as-of", END, "--test-bars", "144")
    rows = [row for row in then["scores"] if row["version"] is None]
    assert rows == [row for row in data["scores"] if row["version"] is None]


def test_a_start_off_the_grid_begins_with_the_next_candle(workspace: Path) -> None:
    data = evaluate(workspace, "--start", "2024-06-02T23:01:00Z", "--version", "1")
    assert (data["start"], data["end"]) == ("2024-06-02T23:05:00Z", AS_OF)


def test_an_end_without_a_start_ends_the_last_test_bars(workspace: Path) -> None:
    data = evaluate(workspace, "--end", END, "--test-bars", "12", "--version", "1")
    assert (data["start"], data["end"]) == ("2024-06-02T17:00:00Z", END)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--days", "1", "--test-bars", "9"), "--days cannot be used with --test-bars"),
        (("--start", START, "--test-bars", "9"), "--test-bars cannot be used with --start"),
        (
            ("--start", END, "--end", START),
            f"no candle opens and closes between {END} and {START}",
        ),
        (
            ("--start", "2024-06-04"),
            f"no candle opens and closes between 2024-06-04T00:00:00Z and {AS_OF}",
        ),
        (("--end", "yesterday"), "'yesterday' is not a time"),
    ],
)
def test_a_range_that_is_none_is_told(
    workspace: Path, options: tuple[str, ...], message: str
) -> None:
    done = run("evaluate", "-w", workspace, "--as-of", AS_OF, "--json", *options)
    assert (done.code, done.error["message"]) == (2, message)


def test_a_range_with_nothing_before_it_teaches_no_baseline(workspace: Path) -> None:
    done = run(
        "evaluate", "-w", workspace, "--as-of", AS_OF, "--start", "2024-05-27T01:00:00Z", "--json"
    )
    assert (done.code, done.error["code"]) == (3, "state.not_enough_candles")


def test_a_version_that_learned_from_the_range_is_named(workspace: Path) -> None:
    options = ("--start", "2024-05-30", "--end", "2024-05-31", "--version", "1")
    done = run("evaluate", "-w", workspace, "--as-of", AS_OF, *options, "--json")
    assert done.data["in_sample"] == ["1"]
    assert "version 1 learned from some of these candles: its scores are too good" in done.err
    assert query(workspace, "SELECT DISTINCT version FROM scores WHERE in_sample") == [("1",)]


def test_a_baseline_that_cannot_be_fitted_is_left_out_and_told(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModelError("it did not converge")

    monkeypatch.setattr(garch.Model, "fit", fail)
    done = run("evaluate", "-w", workspace, "--as-of", AS_OF, "--version", "1", "--json")
    assert done.code == 0
    assert "warning: garch is left out: it did not converge" in done.err
    assert "garch" not in {row["model"] for row in done.data["scores"]}


def test_scores_are_kept_a_row_each_under_the_number_of_the_evaluation(workspace: Path) -> None:
    first = evaluate(workspace, "--version", "2")
    second = evaluate(workspace, "--version", "2", "--start", START, "--end", END)
    assert (first["evaluation"], second["evaluation"]) == (1, 2)
    known = query(
        workspace,
        """SELECT evaluation, epoch_ms("at")::BIGINT // 1000, epoch(start_time)::BIGINT,
        epoch(end_time)::BIGINT, count(*) FROM scores GROUP BY ALL ORDER BY 1""",
    )
    rows = len(first["scores"])
    now, start, end = parse_time(AS_OF), parse_time(START), parse_time(END)
    assert known == [(1, now, now - 24 * 300, now, rows), (2, now, start, end, rows)]
    columns = ", ".join(schemas.SCORES.names())
    found = query(workspace, f"SELECT {columns} FROM scores WHERE evaluation = 2 ORDER BY rowid")
    told = [
        tuple(None if row[name] == "all" else row[name] for name in schemas.SCORES.names())
        for row in second["scores"]
    ]
    assert found == told


def test_figures_and_pictures_go_to_the_run_of_the_version(workspace: Path) -> None:
    # A process of its own: MLflow remembers by the run's id where its files lie, and in this
    # one other copies of the workspace have the same runs.
    options = ("--version", "2", "--days", "0.5", "--as-of", AS_OF, "--json")
    data = ended(start_loaded("evaluate", "-w", workspace, *options)).data
    uri = f"sqlite:///{workspace / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri, uri)
    run_id = client.get_model_version("cryptocast", "2").run_id
    metrics = client.get_run(run_id).data.metrics
    assert metrics["evaluate_crps_bp"] == of(data, "lstm", "2", "all")["crps_bp"]
    (folder,) = (workspace / "mlartifacts" / run_id).rglob(f"evaluations/{data['evaluation']}")
    assert {file.name for file in folder.iterdir()} == {
        "scores.json",
        "calibration.png",
        "skill_by_step.png",
        "skill_by_hour_file-BTC-EUR-5m.png",
        "fan_file-BTC-EUR-5m.png",
    }
    logged = json.loads((folder / "scores.json").read_text())
    assert logged["scores"] == [row for row in data["scores"] if row["version"] == "2"]


def test_the_report_holds_what_the_pictures_show(workspace: Path) -> None:
    clock = VirtualClock(parse_time(AS_OF))
    with Workspace.open(workspace, environ={}, clock=clock) as ws:
        report = workflow.evaluate(ws, versions=["2"], days=0.5)
    (found,) = report.diagnoses
    by_step = report.scores.filter(version="2").drop_nulls("step").sort("step")
    skills = by_step["skill_vs_random_walk"].to_list()
    assert found.skill_by_step.tolist() == pytest.approx(skills, abs=1e-9)
    assert found.origins_by_hour.sum() == 144
    assert found.fan is not None


def test_the_tables_fit_a_terminal_of_80_columns(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = rich.console.Console
    monkeypatch.setattr(rich.console, "Console", lambda **_: narrow(width=80, highlight=False))
    done = run("evaluate", "-w", workspace, "--as-of", AS_OF, "--days", "1")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert "…" not in done.out
    assert "random_walk v1" in done.out
