"""MLflow: what is logged, and that a plain script gets the same forecast out of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import mlflow
import mlflow.data
import mlflow.onnx
import numpy as np
import onnxruntime
import pytest

from cryptocast import bundles, dataset
from cryptocast.values import FEATURES, Candles
from support.commands import AS_OF, BTC, INTERVAL, NEXT, NOW, good, query, run


@pytest.fixture
def client(workspace: Path) -> Iterator[mlflow.MlflowClient]:
    uri = f"sqlite:///{workspace / 'mlflow.db'}"
    # MLflow keeps these in the environment, where the commands of other tests would obey them.
    with patch.dict(os.environ):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        yield mlflow.MlflowClient(uri, uri)


def test_each_trial_is_a_run_under_its_search_and_each_training_a_run(
    client: mlflow.MlflowClient,
) -> None:
    (experiment,) = client.search_experiments(filter_string="name LIKE 'cryptocast %'")
    runs = client.search_runs([experiment.experiment_id])
    by_stage: dict[str, list[mlflow.entities.Run]] = {}
    for found in runs:
        by_stage.setdefault(found.data.tags["stage"], []).append(found)
    assert {stage: len(found) for stage, found in by_stage.items()} == {
        "pipeline": 1,
        "evaluate": 1,
        "tune": 1,
        "trial": 2,
        "train": 2,
    }
    (search,) = by_stage["tune"]
    for trial in by_stage["trial"]:
        assert trial.data.tags["mlflow.parentRunId"] == search.info.run_id
        assert trial.data.params["bound"]
        assert trial.data.metrics["validation_crps_relative"] > 0
    lstm = next(r for r in by_stage["train"] if r.data.params["kind"] == "lstm")
    known = {
        "data_start": "2024-05-27T00:00:00Z",
        "data_end": "2024-06-01T22:00:00Z",
        "markets": "file:BTC/EUR:5m",
        "epochs": "2",
        "seed": "0",
    }
    assert {key: lstm.data.params[key] for key in known} == known
    assert lstm.data.params["data_fingerprint"]
    assert lstm.data.tags["package.torch"]
    losses = client.get_metric_history(lstm.info.run_id, "validation_loss")
    assert [point.step for point in losses] == [1, 2]
    assert {r.info.status for r in runs} == {"FINISHED"}


def test_the_model_of_mlflow_forecasts_what_the_bundle_and_the_tick_do(
    workspace: Path, client: mlflow.MlflowClient
) -> None:
    (told,) = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)["forecasts"]
    bundle = bundles.load(workspace / "bundles" / "2")
    origin = NOW + INTERVAL
    rows = query(
        workspace,
        "SELECT epoch(open_time)::BIGINT, open, high, low, close, volume "
        "FROM candles ORDER BY open_time",
    )
    candles = Candles.of(*zip(*rows, strict=True))
    start = origin - bundle.card.context_bars * INTERVAL
    bars = dataset.lay_out(candles, BTC, start, origin)
    windows = dataset.at_origin(bars, bundle.card.lookback)

    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
    model = mlflow.onnx.load_model("models:/cryptocast@production")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = np.ascontiguousarray(windows.inputs, dtype=np.float32)
    (quantiles,) = session.run(None, {"inputs": inputs})

    np.testing.assert_allclose(quantiles, bundle.forecaster(windows.inputs), rtol=1e-6)
    log_returns = quantiles[0] * windows.unit(24)[0][:, None]
    prices = dataset.to_prices(log_returns, candles.close[-1])
    served = np.array([step["quantiles"] for step in told["steps"]])
    np.testing.assert_allclose(prices, served, rtol=1e-8)


def test_the_runs_of_init_read_like_a_story(client: mlflow.MlflowClient) -> None:
    (experiment,) = client.search_experiments(filter_string="name LIKE 'cryptocast %'")
    assert experiment.name == "cryptocast file:BTC-EUR:5m"
    runs = client.search_runs(
        [experiment.experiment_id], order_by=["attributes.start_time ASC", "tags.`mlflow.runName`"]
    )
    names = {run.info.run_id: run.info.run_name for run in runs}
    story = [(r.info.run_name, names.get(r.data.tags.get("mlflow.parentRunId"))) for r in runs]
    pipeline = "init 2024-06-03T00:00:00Z"
    assert story == [
        (pipeline, None),
        ("train random_walk", pipeline),
        ("tune lstm", pipeline),
        ("trial 0", "tune lstm"),
        ("trial 1", "tune lstm"),
        ("train lstm from scratch", pipeline),
        ("evaluate", pipeline),
    ]
    whole = runs[0].data.tags
    assert whole["decision"]
    assert whole["promoted"] == "yes"
    skills = runs[0].data.metrics
    assert skills["validation_skill.random_walk"] == 0
    assert {"validation_skill.trained", "gate_skill.trained", "gate_origins.trained"} <= set(skills)
    assert whole["serves"] in ("version 1 (random_walk)", "version 2 (lstm)")
    assert {run.data.tags["mlflow.source.name"] for run in runs} == {"cryptocast"}
    tested = runs[-1]
    assert [f.path for f in client.list_artifacts(tested.info.run_id)] == ["test_scores.json"]
    assert tested.data.metrics["test_crps_bp.version_2"] > 0


def test_a_training_names_its_candles_as_dataset(client: mlflow.MlflowClient) -> None:
    for number in ("1", "2"):
        version = client.get_model_version("cryptocast", number)
        run = client.get_run(version.run_id)
        (found,) = run.inputs.dataset_inputs
        assert found.dataset.name == "candles of file:BTC/EUR:5m"
        assert found.dataset.digest == run.data.params["data_fingerprint"]
        assert found.dataset.digest == version.tags["data_fingerprint"]
        assert json.loads(found.dataset.profile) == {"num_rows": 1704}
        assert mlflow.data.get_source(found).to_dict()["tags"] == {
            "markets": "file:BTC/EUR:5m",
            "start": "2024-05-27T00:00:00Z",
            "end": "2024-06-01T22:00:00Z",
        }


def test_a_version_is_described_with_its_scores_and_its_verdict(
    client: mlflow.MlflowClient,
) -> None:
    version = client.get_model_version("cryptocast", "2")
    first, *more = (version.description or "").split("\n\n")
    assert first.startswith(
        "lstm on file:BTC/EUR:5m, candles 2024-05-27T00:00:00Z to 2024-06-01T22:00:00Z, "
        "validation CRPS "
    )
    assert [told.partition(": ")[0] for told in more] == ["Test", "Gate", "Forced"]
    assert more[0].startswith("Test: CRPS ")
    assert "(n = 300" in more[0]
    assert version.tags["test.n"] == "300"
    assert float(version.tags["test.crps_bp"]) > 0
    assert version.tags["gate.verdict"] in ("promoted", "refused")


def test_the_challenger_is_the_newest_version_that_is_not_production(workspace: Path) -> None:
    def challenger() -> list[str]:
        found = good("models", "-w", workspace)["versions"]
        return [v["version"] for v in found if "challenger" in v["aliases"]]

    at = ("-w", workspace, "--as-of", AS_OF)
    assert challenger() == []  # version 2 is the newest, and serves
    for number in ("3", "4"):
        assert good("train", "--model", "random_walk", *at)["version"] == number
        assert challenger() == [number]
    good("promote", "3", "--force", "--reason", "x", *at)
    assert challenger() == ["4"]
    good("promote", "4", "--force", "--reason", "x", *at)
    assert challenger() == []


def test_models_lists_what_a_choice_needs_in_80_columns(workspace: Path) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    good("train", "--model", "random_walk", *at)
    lines = run("models", *at).out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    shown = " ".join(" ".join(lines).split())
    assert "v kind, made aliases data validation test gate" in shown
    assert " 3 random_walk challenger 2024-05-27 0.00% - - " in shown
    assert " 2 lstm production 2024-05-27 " in shown
    assert " n 300 " in shown
    versions = good("models", *at)["versions"]
    assert [v["version"] for v in versions] == ["3", "2", "1"]
    assert set(versions[1]) == {
        *("version", "kind", "aliases", "created_at", "run_id", "missing", "usable"),
        *("data_start", "data_end", "data_fingerprint", "description", "metrics", "tags"),
        *("validation_crps_bp", "validation_crps_relative", "test"),
        *("gate", "gate_reason", "forced", "serves"),
    }
    assert versions[1]["data_end"] == "2024-06-01T22:00:00Z"
    assert set(versions[1]["test"]) == {"crps_bp", "skill_vs_random_walk", "n", "p_value"}
    assert (versions[1]["test"]["n"], versions[0]["test"]) == (300, None)
    assert versions[1]["forced"].startswith("x (the gate said: ")


def test_a_process_never_takes_the_files_of_a_copy_for_its_own(
    workspace: Path, tmp_path: Path
) -> None:
    """Python programs, and Prefect's, open several workspaces one after the other."""
    good("train", "--model", "random_walk", "-w", workspace, "--as-of", AS_OF)
    other = Path(shutil.copytree(workspace, tmp_path / "other"))
    shutil.rmtree(workspace / "mlartifacts")
    listed = good("models", "-w", other, "--as-of", AS_OF)["versions"]
    assert [version["missing"] for version in listed] == [[], [], []]


@pytest.mark.parametrize("name", ["card.json", "model.onnx"])
def test_a_version_whose_file_is_lost_is_not_listed_as_usable(workspace: Path, name: str) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    assert good("train", "--model", "random_walk", *at)["version"] == "3"
    newest = max(workspace.glob(f"mlartifacts/**/{name}"), key=lambda file: file.stat().st_mtime)
    newest.unlink()
    listed = {v["version"]: (v["usable"], v["missing"]) for v in good("models", *at)["versions"]}
    assert listed == {"3": (False, [name]), "2": (True, []), "1": (True, [])}
    done = run("models", *at)
    assert done.err == f"warning: version 3 cannot be used: its {name} is lost\n"
    assert "unusable" in done.out
    before = query(workspace, "SELECT id, model_version FROM deployments")
    done = run("promote", "3", "--force", "--reason", "x", *at, "--json")
    assert (done.code, done.error["code"]) == (3, "state.incomplete_version")
    assert query(workspace, "SELECT id, model_version FROM deployments") == before
    assert not (workspace / "bundles" / "3").exists()


def test_a_damaged_store_stops_no_tick(workspace: Path) -> None:
    (workspace / "mlflow.db").write_bytes(b"no database " * 500)
    at = ("-w", workspace, "--as-of", AS_OF)
    for command in (("models",), ("train",), ("promote", "1"), ("rollback",), ("retrain",)):
        done = run(*command, *at, "--quiet")
        assert (done.code, done.out) == (4, "")
        assert done.err == (
            f"error: the MLflow store sqlite:///{workspace / 'mlflow.db'} is damaged, or is no "
            "store of MLflow (restore a copy of it; what serves is frozen in bundles and goes on)\n"
        )
    (told,) = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)["forecasts"]
    assert told["model"] == {"version": "2", "kind": "lstm", "fallback": None}


def test_a_store_of_a_newer_mlflow_stops_no_tick(workspace: Path) -> None:
    file = workspace / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    content = file.read_bytes()
    deployed = query(workspace, "SELECT id, model_version FROM deployments")
    at = ("-w", workspace, "--as-of", AS_OF)
    for command in (("models",), ("train",), ("tune",), ("promote", "1"), ("retrain",)):
        done = run(*command, *at, "--quiet")
        assert (done.code, done.out) == (4, "")
        assert done.err == (
            f"error: the MLflow store sqlite:///{file} has the schema ffffffffffff, which MLflow "
            f"{mlflow.__version__} does not know: it is from a newer one (upgrade MLflow: pip "
            "install --upgrade mlflow)\n"
        )
    assert file.read_bytes() == content
    assert query(workspace, "SELECT id, model_version FROM deployments") == deployed
    (told,) = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)["forecasts"]
    assert told["model"] == {"version": "2", "kind": "lstm", "fallback": None}


def test_a_search_without_time_for_one_trial_says_so(workspace: Path) -> None:
    done = run("tune", "--timeout", "1e-9", "-w", workspace, "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_trial")
    assert done.error["message"] == "no trial finished in time"


def test_a_model_has_a_signature_of_its_windows_and_quantiles(
    workspace: Path, client: mlflow.MlflowClient
) -> None:
    version = client.get_model_version_by_alias("cryptocast", "production")
    assert version.version in ("2", 2)
    signature = mlflow.models.get_model_info("models:/cryptocast@production").signature
    features = len(FEATURES)
    assert [(i.name, i.shape) for i in signature.inputs.inputs] == [("inputs", (-1, 64, features))]
    assert [(o.name, o.shape) for o in signature.outputs.inputs] == [("quantiles", (-1, 24, 19))]
