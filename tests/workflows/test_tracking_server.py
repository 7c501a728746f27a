"""A real `mlflow server` on loopback, named by MLFLOW_TRACKING_URI: every command works with it."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import mlflow
import pytest
import requests

from cryptocast import bundles
from cryptocast.registry.local import make
from support.commands import AS_OF, INIT, NEXT, Made, as_in_a_test, good, query, run

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
        until = time.monotonic() + 600
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
        return requests.get(f"{uri}/health", timeout=60).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def remote(server: str, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that `init` made with its models on the server. Not to be written to."""
    folder = tmp_path_factory.mktemp("remote") / "w"
    with as_in_a_test() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server)
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


def test_two_workspaces_on_one_server_keep_their_versions_and_aliases_apart(
    remote: Path, server: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    other = tmp_path / "other"
    # The same market at the same moment: their experiment and their pipeline have one name.
    options = ("init", "-w", other, "--path", made.files, *INIT, "--json")
    done = run(*options)
    assert (done.code, done.error) == (
        4,
        {
            "code": "registry.taken",
            "message": f"the model 'cryptocast' in the MLflow store {server} is another "
            "workspace's",
            "hint": '[mlflow] model = "cryptocast-2" in cryptocast.toml gives this one a model of '
            "its own",
        },
    )
    settings = other / "cryptocast.toml"
    text = settings.read_text()
    assert text.count('model = "cryptocast"') == 1
    settings.write_text(text.replace('model = "cryptocast"', 'model = "cryptocast-2"'))
    mine = run(*options).data["decision"]["version"]
    client = mlflow.MlflowClient(server, server)
    before = client.get_registered_model("cryptocast").aliases
    assert client.get_registered_model("cryptocast-2").aliases["production"] == mine
    assert [v["version"] for v in good("models", "-w", other)["versions"]] == ["2", "1"]
    (experiment,) = client.search_experiments(filter_string="name LIKE 'cryptocast %'")
    whole = client.search_runs([experiment.experiment_id], "tags.stage = 'pipeline'")
    assert len(whole) == 2
    assert {run.info.status for run in whole} == {"FINISHED"}
    good("promote", "1", "--force", "--reason", "x", "-w", other, "--as-of", AS_OF)
    assert client.get_registered_model("cryptocast-2").aliases["production"] == "1"
    assert client.get_registered_model("cryptocast").aliases == before


class Guarded(http.server.BaseHTTPRequestHandler):
    """Lets through to the server who has signed in, and notes how everybody did."""

    behind = ""
    seen: ClassVar[set[str | None]] = set()
    right = "Basic " + base64.b64encode(b"somebody:hunter2").decode()

    def do_GET(self) -> None:
        self.seen.add(self.headers["Authorization"])
        if self.headers["Authorization"] != self.right:
            self._answer(401, b"You are not authenticated.")
            return
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        kind = {"Content-Type": self.headers["Content-Type"] or "application/json"}
        url = self.behind + self.path
        found = requests.request(self.command, url, data=body, headers=kind, timeout=600)
        self._answer(found.status_code, found.content)

    do_POST = do_GET  # noqa: N815 - http.server wants these names

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_credentials_in_the_env_file_reach_the_server_and_nobody_else(
    remote: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guarded, "behind", server)
    folder = shutil.copytree(remote, tmp_path / "w")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as guard:
        threading.Thread(target=guard.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{guard.server_port}"
        (folder / ".env").write_text(f"MLFLOW_TRACKING_URI={uri}\n")
        done = run("models", "-w", folder, "--json")
        assert (done.code, done.error) == (
            4,
            {
                "code": "registry.refused",
                "message": f"the MLflow store {uri} refuses us",
                "hint": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                "MLFLOW_TRACKING_TOKEN",
            },
        )
        with (folder / ".env").open("a") as file:
            file.write("MLFLOW_TRACKING_USERNAME=somebody\nMLFLOW_TRACKING_PASSWORD=hunter2\n")
        before = dict(os.environ)
        done = run("models", "-w", folder, "--verbose")
        guard.shutdown()
    assert done.code == 0, done.err
    assert Guarded.seen == {None, Guarded.right}
    assert dict(os.environ) == before
    assert "hunter2" not in done.out + done.err
    for file in folder.rglob("*"):
        assert file.name == ".env" or not file.is_file() or b"hunter2" not in file.read_bytes()


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
