"""A real `mlflow server` on loopback, named by MLFLOW_TRACKING_URI: every command works with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import requests

from commands import AS_OF, INIT, NEXT, Made, good, query, run, small_networks
from cryptocast import bundles
from cryptocast.registry.making import make

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # another process, and 5 s of start
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a SQLite backend that hands out artefacts itself. Its start takes seconds."""
    folder = tmp_path_factory.mktemp("server")
    make(folder / "server.db", "mlflow-artifacts:/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    options = {
        "--backend-store-uri": f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination": str(folder / "artifacts"),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
    }
    words = [word for option in options.items() for word in option]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            env=os.environ | QUIET,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that its workers end with it
        )
    try:
        until = time.monotonic() + 60
        while not _answers(uri):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.05)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=1).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def remote(server: str, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that `init` made with its models on the server. Not to be written to."""
    folder = tmp_path_factory.mktemp("remote") / "w"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server)
        small_networks(patch)
        good("init", "-w", folder, "--path", made.files, *INIT)
    assert not (folder / "mlflow.db").exists()
    return folder


def test_a_remote_store_serves_training_listing_promotion_and_repetition(
    remote: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    folder = shutil.copytree(remote, tmp_path / "w")
    at = ("-w", folder, "--as-of", AS_OF)
    assert good("train", "--params", "default", *at)["version"] == "3"
    listing = good("models", *at)
    first = listing["production"]  # what init has promoted
    listed = {v["version"]: v for v in listing["versions"]}
    aliases = {number: v["aliases"] for number, v in listed.items() if v["aliases"]}
    assert aliases == {first: ["production"], "3": ["challenger"]}
    assert all(v["usable"] and v["data_fingerprint"] for v in listed.values())
    assert listed["2"]["test"]["n"] == 300

    decision = good("promote", "3", "--force", "--reason", "it is remote", *at)["decision"]
    assert (decision["promoted"], decision["version"]) == (True, "3")
    bundle = bundles.load(folder / "bundles" / "3")
    assert (bundle.card.version, bundle.card.kind) == ("3", "lstm")
    again = good("train", "--repeat", "3", *at)
    assert (again["identical"], again["largest_difference"]) == (True, 0.0)

    # What somebody with plain MLflow finds on the server.
    client = mlflow.MlflowClient(server, server)
    aliases = client.get_registered_model("cryptocast").aliases
    assert aliases == {"production": "3", "previous": first}
    found = client.get_model_version("cryptocast", "3")
    assert [f.path for f in client.list_artifacts(found.run_id)] == ["card.json"]
    (dataset,) = client.get_run(found.run_id).inputs.dataset_inputs
    assert dataset.dataset.digest == bundle.card.fingerprint
    assert found.tags["gate.forced"].startswith("it is remote")
    assert (
        client.get_logged_model(found.source.removeprefix("models:/")).source_run_id == found.run_id
    )


def test_a_server_that_is_gone_stops_no_tick_and_is_one_clear_line_elsewhere(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(remote, tmp_path / "w")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for command in (("models",), ("train",), ("promote", "2"), ("retrain",)):
        done = run(*command, "-w", folder, "--as-of", AS_OF, "--quiet")
        assert (done.code, done.out) == (4, "")
        assert done.err == (
            "error: the MLflow store http://127.0.0.1:1 cannot be reached (see that the server "
            "runs, and check MLFLOW_TRACKING_URI or [mlflow] tracking_uri)\n"
        )
    (told,) = good("forecast", "--once", "-w", folder, "--as-of", NEXT)["forecasts"]
    (production,) = query(folder, "SELECT model_version FROM deployments")[-1]
    assert (told["model"]["version"], told["model"]["fallback"]) == (production, None)
