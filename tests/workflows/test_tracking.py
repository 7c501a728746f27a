"""MLflow: what is logged, and that a plain script gets the same forecast out of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlflow
import mlflow.data
import mlflow.onnx
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from cryptocast import bundles
from cryptocast.bundles import Forecaster
from cryptocast.values import FEATURES, FloatArray
from support.commands import AS_OF, BTC, NEXT, good, query, run
from support.guide import PAGES, blocks


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


@pytest.fixture
def production(client: mlflow.MlflowClient) -> mlflow.pyfunc.PyFuncModel:
    """What somebody gets who has the MLflow store alone."""
    return mlflow.pyfunc.load_model("models:/cryptocast@production")


def stored(folder: Path) -> pd.DataFrame:
    """The candles of a workspace as a person's script reads them."""
    columns = ("market", "open_time", "open", "high", "low", "close", "volume")
    named = ", ".join(columns).replace("open_time", "epoch(open_time)::BIGINT")
    return pd.DataFrame(query(folder, f"SELECT {named} FROM candles"), columns=columns)


def prices(table: pd.DataFrame) -> FloatArray:
    """The quantiles [H, Q] of one market."""
    return table.filter(like="q0.").to_numpy()


def served(forecast: dict[str, Any]) -> FloatArray:
    return np.array([step["quantiles"] for step in forecast["steps"]])


def test_the_graph_of_mlflow_is_that_of_the_bundle(
    workspace: Path, client: mlflow.MlflowClient
) -> None:
    bundle = bundles.load(workspace / "bundles" / "2")
    model = mlflow.onnx.load_model("models:/cryptocast@production")
    inputs = np.random.default_rng(0).normal(size=(2, bundle.card.lookback, len(FEATURES)))
    np.testing.assert_array_equal(
        Forecaster(model.SerializeToString())(inputs), bundle.forecaster(inputs)
    )


def test_mlflows_model_makes_of_candles_what_the_tick_serves(
    workspace: Path, production: mlflow.pyfunc.PyFuncModel
) -> None:
    (told,) = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)["forecasts"]
    candles = stored(workspace)
    shuffled = candles.sample(frac=1.0, random_state=0)  # in any order
    table = production.predict(shuffled)
    np.testing.assert_allclose(prices(table), served(told), rtol=1e-9)
    assert table["step"].tolist() == list(range(1, 25))
    assert table["target_time"].iloc[-1] == pd.Timestamp(told["steps"][-1]["target_time"])
    assert set(table["market"]) == {BTC.id}
    assert (set(table["last_close"]), set(table["in_sample"])) == ({told["last_close"]}, {False})
    moments = pd.to_datetime(candles["open_time"], unit="s")
    for times in (moments, moments.dt.tz_localize("Europe/Berlin").dt.tz_convert("UTC")):
        shift = times.iloc[0].tz is not None
        other = production.predict(candles.assign(open_time=times))
        assert (other["origin"].iloc[0] == table["origin"].iloc[0]) is not shift
    pd.testing.assert_frame_equal(production.predict(candles.assign(open_time=moments)), table)


def test_mlflows_model_takes_the_origin_and_what_calibration_has_learned(
    workspace: Path, production: mlflow.pyfunc.PyFuncModel
) -> None:
    for at in (NEXT, "2024-06-03T00:10:00Z"):
        (told,) = good("forecast", "--once", "-w", workspace, "--as-of", at)["forecasts"]
    good("forecast", "--once", "-w", workspace, "--as-of", "2024-06-03T00:15:00Z")
    sql = f"SELECT scale, body FROM forecast_sets WHERE origin = '{told['origin']}'"
    ((scale, body),) = query(workspace, sql)
    assert set(scale) != {1.0}
    params = {"origin": told["origin"], "scale": scale, "body": body}
    table = production.predict(stored(workspace), params)
    np.testing.assert_allclose(prices(table), served(told), rtol=1e-9)


def test_several_markets_are_answered_at_one_origin(
    workspace: Path, production: mlflow.pyfunc.PyFuncModel
) -> None:
    candles = stored(workspace)
    other = candles.assign(market="sim:ETH/EUR:5m", close=candles["close"] * 2)
    nameless = candles.drop(columns=["market", "volume"])
    both = production.predict(pd.concat([candles, other.iloc[:-1]]))
    assert both.groupby("market")["last_close"].first().tolist() == [
        candles["close"].iloc[-1],
        other["close"].iloc[-2],
    ]
    assert both["origin"].nunique() == 1
    alone = production.predict(nameless)
    assert (len(both), set(alone["market"])) == (48, {""})


def test_the_example_that_is_kept_with_a_version_can_be_forecast(
    production: mlflow.pyfunc.PyFuncModel,
) -> None:
    example = production.input_example
    assert len(example) == 64
    table = production.predict(example)
    assert not table["in_sample"].any()
    named = production.metadata.get_output_schema().input_names()
    assert list(table.columns) == named


def test_mlflow_serves_a_version_over_http_and_says_what_is_wrong(
    workspace: Path, production: mlflow.pyfunc.PyFuncModel
) -> None:
    from mlflow.pyfunc import scoring_server  # late: its import warns

    def ask(candles: pd.DataFrame) -> tuple[int, str]:
        schema = production.metadata.get_input_schema()
        body = json.dumps({"dataframe_split": candles.to_dict("split")})
        answer = scoring_server.invocations(body, "application/json", production, schema)
        return answer.status, answer.response

    candles = stored(workspace)
    status, text = ask(candles)
    rows = json.loads(text)["predictions"]
    assert (status, len(rows), rows[0]["origin"]) == (200, 24, "2024-06-03T00:00:00+00:00")
    np.testing.assert_array_equal(prices(pd.DataFrame(rows)), prices(production.predict(candles)))
    for wrong, words in (
        (candles.head(20), "has 20 candles before 2024-05-27T01:40:00Z, at least 24 are needed"),
        (candles.drop(range(1950, 2000)), "cannot be forecast at 2024-06-03T00:00:00Z: missing"),
        (candles.assign(open_time=candles["open_time"] * 1000), "open_time holds no times"),
    ):
        with pytest.raises(MlflowException) as caught:
            ask(wrong)
        assert words in str(caught.value.serialize_as_json())
    with pytest.raises(ValueError, match="scale has 2 numbers, not 1 or 24"):
        production.predict(candles, {"scale": [1.0, 2.0]})
    with pytest.raises(ValueError, match="stale_data"):
        production.predict(candles, {"origin": "2024-06-03T01:00:00Z"})


def test_a_version_needs_neither_cryptocast_nor_a_pickle(
    workspace: Path, production: mlflow.pyfunc.PyFuncModel
) -> None:
    loader = sys.modules[production.loader_module]
    package = loader.__name__.partition(".")[0]
    loaded = {name for name in sys.modules if name.startswith(f"{package}.")}
    folder = Path(str(loader.__file__)).parents[3]
    code = {str(file): file.read_text(encoding="utf-8") for file in folder.rglob("*.py")}
    assert {f"{package}.dataset.features", f"{package}.bundles"} <= loaded
    assert not [
        file for file, text in code.items() if re.search(r"(from|import) cryptocast\b", text)
    ]
    kept = {file.suffix for file in folder.rglob("*") if file.is_file()}
    kept -= {".pyc"}  # Python's own, since it was loaded
    assert kept <= {".py", ".json", ".onnx", ".txt", ".yaml", ""}
    requirements = (folder / "requirements.txt").read_text(encoding="utf-8")
    assert re.findall(r"^(\w+)==", requirements, re.M) == [
        "mlflow",
        "numpy",
        "onnxruntime",
        "pandas",
    ]


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


@pytest.mark.parametrize("place", ["*/artifacts/card.json", "models/*/artifacts/model.onnx"])
def test_a_version_whose_file_is_lost_is_not_listed_as_usable(workspace: Path, place: str) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    assert good("train", "--model", "random_walk", *at)["version"] == "3"
    newest = max(workspace.glob(f"mlartifacts/{place}"), key=lambda file: file.stat().st_mtime)
    newest.unlink()
    listed = {v["version"]: (v["usable"], v["missing"]) for v in good("models", *at)["versions"]}
    assert listed == {"3": (False, [newest.name]), "2": (True, []), "1": (True, [])}
    done = run("models", *at)
    assert done.err == f"warning: version 3 cannot be used: its {newest.name} is lost\n"
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


def test_a_model_has_a_signature_of_candles_and_quantiles(
    workspace: Path, client: mlflow.MlflowClient
) -> None:
    version = client.get_model_version_by_alias("cryptocast", "production")
    assert version.version in ("2", 2)
    signature = mlflow.models.get_model_info("models:/cryptocast@production").signature
    assert signature.inputs.required_input_names() == ["open_time", "open", "high", "low", "close"]
    assert signature.inputs.optional_input_names() == ["market", "volume"]
    assert signature.outputs.input_names()[:4] == ["market", "origin", "step", "target_time"]
    assert signature.outputs.input_names()[-19:] == [f"q{0.05 * k:g}" for k in range(1, 20)]
    options = [("origin", None), ("scale", [1.0]), ("body", [1.0])]
    assert [(p.name, p.default) for p in signature.params] == options


def test_the_examples_of_the_guide_compare_versions(
    workspace: Path, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.parent / "btc").symlink_to(workspace)
    monkeypatch.chdir(workspace.parent)
    predict, compare = blocks(PAGES["mlflow"], "python")
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries that MLflow imports
        exec(predict, names)
        exec(compare, names)
    assert len(names["table"]) == 24
    runs = names["runs"]
    assert set(runs["tags.mlflow.runName"]) == {"version 1", "version 2"}
    scored = names["scored"]  # of version 2
    assert scored["origin"].nunique() == 3
    assert 1 < scored["crps_bp"].mean() < 100
    assert runs["metrics.crps_bp"].min() == pytest.approx(scored["crps_bp"].mean(), rel=0.5)
    assert runs["metrics.mean_absolute_error"].notna().all()
