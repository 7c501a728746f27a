"""Several kinds of models in one pipeline: each is trained, one table compares them, one serves."""

from __future__ import annotations

import tomllib
from pathlib import Path

import mlflow
import pytest

from cryptocast.clock import VirtualClock
from cryptocast.errors import ConfigError
from cryptocast.workflows.learning.preparing import prepare
from cryptocast.workspace import Workspace
from support.commands import INIT, NOW, Made, as_in_a_test, good, run

KINDS = ("--model", "lstm", "--model", "har")


@pytest.fixture(scope="module")
def compared(
    made: Made, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("compared") / "w"
    with as_in_a_test():
        return folder, good("init", "-w", folder, "--path", made.files, *INIT, *KINDS)


def test_every_kind_is_a_candidate_of_one_pipeline(
    compared: tuple[Path, dict[str, object]],
) -> None:
    folder, data = compared
    candidates = {(c["role"], c["model"]): c for c in data["candidates"]}  # type: ignore[attr-defined]
    assert set(candidates) == {
        ("random_walk", "random_walk"),
        ("trained", "lstm"),
        ("trained", "har"),
    }
    best = max(candidates.values(), key=lambda c: c["validation_skill"])
    judged = [c for c in candidates.values() if c["gate"] is not None]
    assert best["model"] == "random_walk" or judged == [best]
    assert {r["model"] for r in data["scores"]} > {"lstm", "har"}  # type: ignore[attr-defined]
    assert data["tuning"]["trials"] == 2  # type: ignore[index]  # har has nothing to tune
    settings = tomllib.loads((folder / "cryptocast.toml").read_text(encoding="utf-8"))
    assert (settings["model"]["kind"], settings["model"]["kinds"]) == ("lstm", ["lstm", "har"])


def test_mlflow_compares_the_kinds_in_the_run_of_the_pipeline(
    compared: tuple[Path, dict[str, object]],
) -> None:
    folder, data = compared
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name LIKE 'cryptocast %'")
    (whole,) = client.search_runs([experiment.experiment_id], "tags.stage = 'pipeline'")
    skills = {
        name.removeprefix("validation_skill."): value
        for name, value in whole.data.metrics.items()
        if name.startswith("validation_skill.")
    }
    assert skills == {
        c["role"] if c["role"] == c["model"] else f"{c['role']} {c['model']}": c["validation_skill"]
        for c in data["candidates"]  # type: ignore[attr-defined]
    }


def test_retrain_compares_them_again_and_names_each(
    compared: tuple[Path, dict[str, object]],
) -> None:
    folder, _ = compared
    done = run("retrain", "-w", folder, "--trials", "0", "--as-of", "2024-06-03T01:00:00Z")
    assert done.code == 0, done.err
    for name in ("trained lstm", "trained har", "random_walk"):
        assert f"  {name} " in done.out


def test_a_kind_that_lacks_candles_stops_no_other(fresh: Path) -> None:
    options = {"model.kinds": ["lstm", "har"], "data.days": 1}
    with Workspace.open(fresh, options=options, clock=VirtualClock(NOW)) as ws:
        prepared = prepare(ws, ws.markets())
    assert [kind.kind for kind in prepared.kinds] == ["har"]
    assert prepared.unfit is not None
    assert prepared.unfit.startswith("too few candles for the lstm: ")


def test_one_kind_alone_is_the_kind_and_an_unknown_one_is_told(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no model 'lstn'"):
        Workspace.open(made.folder, options={"model.kinds": ["lstm", "lstn"]})
    sim = ("--source", "sim", "--days", "1", "--as-of", "2024-06-03T00:00:00Z")
    good("init", "-w", tmp_path / "w", *sim, "--model", "seasonal", "--from", "scratch")
    settings = tomllib.loads((tmp_path / "w" / "cryptocast.toml").read_text(encoding="utf-8"))
    assert (settings["model"]["kind"], settings["model"]["kinds"]) == ("seasonal", [])
