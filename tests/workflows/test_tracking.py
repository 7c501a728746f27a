"""MLflow: what is logged, and that a plain script gets the same forecast out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import mlflow
import mlflow.onnx
import numpy as np
import onnxruntime
import pytest

from commands import AS_OF, BTC, INTERVAL, NEXT, NOW, good, query, run
from cryptocast import bundles, dataset
from cryptocast.values import FEATURES, Candles


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
