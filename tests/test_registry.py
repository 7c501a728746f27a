from __future__ import annotations

import os
import shutil
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

from cryptocast.bundles import Forecaster
from cryptocast.errors import RegistryError, StateError
from cryptocast.models import _onnx
from cryptocast.registry import MODEL, SELECTION, Registry, packages
from cryptocast.values import Epoch, Fitted
from synthetic import LEVELS

QUANTILES = np.outer([1.0, 2.0], np.array(LEVELS) - 0.5)
PARAMS: dict[str, float | int | str] = {"hidden": 8, "learning_rate": 0.01}
HISTORY = (Epoch(1, 0.9, 0.8, 1e4), Epoch(2, 0.7, 0.6, 2e4))
CARD = {"kind": "lstm", "levels": list(LEVELS), "version": ""}


def graph(scale: float = 1.0) -> bytes:
    return _onnx.constant(QUANTILES * scale, 16, 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(folder: Path) -> Registry:
    """One store for the module: making one takes MLflow seconds."""
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", "cryptocast", folder / "mlartifacts")


def trained(registry: Registry, relative: float | None, scale: float = 1.0) -> str:
    """A run with a model, as `train` makes it; returns the version."""
    with registry.run("train lstm", tags={"stage": "train"}) as run_id:
        metrics = {} if relative is None else {SELECTION: relative, "validation_crps_bp": 4.5}
        registry.log(run_id, params=PARAMS, metrics=metrics, history=HISTORY)
        registry.log_card(run_id, CARD)
        uri = registry.log_model(run_id, Fitted("lstm", PARAMS, graph(scale), HISTORY))
    return registry.register(run_id, uri, "lstm", "an lstm", {"init": "1"})


@pytest.fixture(scope="module")
def versions(registry: Registry) -> list[str]:
    return [
        trained(registry, 0.99),
        trained(registry, 0.97, scale=2.0),
        trained(registry, 0.97, scale=3.0),
        trained(registry, None),
    ]


def test_an_empty_store_has_no_versions(tmp_path: Path, registry: Registry) -> None:
    other = Registry(registry._uri, "another", None)
    assert [v for v in other.versions() if "init" not in v.tags] == []


def test_two_stores_in_one_process_do_not_meet(
    registry: Registry, versions: list[str], tmp_path: Path
) -> None:
    environ = dict(os.environ)
    shutil.copy(registry._uri.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    other = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", "other", tmp_path / "mlartifacts")
    assert trained(registry, None) != versions[-1]
    assert len(other.versions()) == len(registry.versions()) - 1
    newest = trained(other, None, scale=5.0)
    answers = [
        Forecaster(graph)(np.zeros((1, 16, 10)))[0, -1, -1] / QUANTILES[-1, -1]
        for graph in (registry.onnx(versions[1]), other.onnx(newest), registry.onnx(versions[2]))
    ]
    assert answers == pytest.approx([2, 5, 3])
    assert list((tmp_path / "mlartifacts").glob("**/model.onnx"))
    # What is in the environment is the user's: a workspace takes its address from there.
    assert dict(os.environ) == environ


def test_versions_are_listed_newest_first_with_all_that_is_known(
    registry: Registry, versions: list[str]
) -> None:
    found = registry.versions()
    found = [v for v in found if v.version in versions]
    assert [v.version for v in found] == versions[::-1]
    first = found[-1]
    assert (first.kind, first.aliases) == ("lstm", ())
    assert dict(first.tags) == {"init": "1", "kind": "lstm"}
    assert first.metrics[SELECTION] == 0.99
    assert first.metrics["validation_loss"] == 0.6  # the last epoch's
    assert abs(first.created_at - time.time()) < 600


def test_the_best_is_the_one_with_the_lowest_score_and_of_equals_the_first(
    registry: Registry, versions: list[str]
) -> None:
    assert registry.best(versions).version == versions[1]
    assert registry.best([versions[0], versions[2]]).version == versions[2]
    assert registry.best([versions[0], versions[3]]).version == versions[0]


def test_without_a_score_none_is_the_best(registry: Registry, versions: list[str]) -> None:
    for asked in ([versions[3]], []):
        with pytest.raises(StateError) as caught:
            registry.best(asked)
        assert caught.value.message == "no version has a validation score"
        assert caught.value.hint == "cryptocast train"


def test_an_alias_names_one_version_at_a_time(registry: Registry, versions: list[str]) -> None:
    registry.point("production", versions[0])
    registry.point("production", versions[1])
    registry.point("previous", versions[1])
    aliases = {v.version: v.aliases for v in registry.versions()}
    assert aliases[versions[0]] == ()
    assert aliases[versions[1]] == ("previous", "production")


def test_the_card_comes_back_with_its_version(registry: Registry, versions: list[str]) -> None:
    assert registry.card(versions[1]) == CARD | {"version": versions[1]}


def test_the_graph_comes_back_as_it_was(registry: Registry, versions: list[str]) -> None:
    found = Forecaster(registry.onnx(versions[1]))(np.zeros((1, 16, 10)))[0]
    np.testing.assert_array_equal(found, (QUANTILES * 2).astype(np.float32))


@pytest.mark.parametrize("version", ["999", "abc", "", "1.5"])
def test_an_unknown_version_is_named(registry: Registry, versions: list[str], version: str) -> None:
    for ask in (registry.card, registry.onnx):
        with pytest.raises(StateError) as caught:
            ask(version)
        assert caught.value.code == "state.no_version"
        assert caught.value.message == f"there is no version '{version}'"
        assert caught.value.hint == "cryptocast models lists them"


def test_a_run_tells_where_it_came_from_and_how_it_ended(
    registry: Registry, versions: list[str]
) -> None:
    run = registry._client.get_run(registry.versions()[-1].run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "train lstm"
    assert run.data.params == {"hidden": "8", "learning_rate": "0.01"}
    assert run.data.tags["stage"] == "train"
    assert run.data.tags["package.numpy"] == packages()["numpy"]
    losses = registry._client.get_metric_history(run.info.run_id, "validation_loss")
    assert [(m.step, m.value) for m in losses] == [(1, 0.8), (2, 0.6)]


def test_a_run_whose_body_fails_is_marked_as_failed(registry: Registry) -> None:
    begun: list[str] = []

    def interrupted() -> None:
        with registry.run("cut short", parent="0" * 32) as run_id:
            begun.append(run_id)
            registry.tag(run_id, {"note": "x"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    run = registry._client.get_run(begun[0])
    assert run.info.status == "FAILED"
    assert run.data.tags["note"] == "x"
    assert run.data.tags["mlflow.parentRunId"] == "0" * 32


def test_artefacts_of_a_local_store_lie_in_the_folder_that_was_given(
    registry: Registry, versions: list[str], folder: Path
) -> None:
    assert list(folder.glob("mlartifacts/**/card.json"))
    assert list(folder.glob("mlartifacts/**/model.onnx"))


def test_nothing_is_printed(
    registry: Registry,
    versions: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    version = trained(registry, None)
    registry.card(version)
    registry.onnx(version)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_opened_again_with_all_that_it_held(
    registry: Registry, versions: list[str], folder: Path
) -> None:
    again = Registry(registry._uri, "cryptocast", folder / "elsewhere")
    assert [v.version for v in again.versions()] == [v.version for v in registry.versions()]
    assert again._client.get_registered_model(MODEL).name == "cryptocast"


def failure(uri: str) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        Registry(uri, "cryptocast", None)
    assert caught.value.exit_code == 4
    assert caught.value.hint == "check MLFLOW_TRACKING_URI or [mlflow] tracking_uri"
    assert "\n" not in caught.value.message
    return caught.value


def test_a_server_that_cannot_be_reached_is_told_of_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    began = time.monotonic()
    error = failure("http://127.0.0.1:1")
    assert time.monotonic() - began < 10
    assert error.message.startswith("the MLflow store http://127.0.0.1:1 failed: ")
    assert error.retry


@pytest.mark.parametrize(
    "uri",
    [
        "http://somebody:hunter2@127.0.0.1:1",
        "http://somebody:hun/hunter2@127.0.0.1:1",
        "ftp://somebody:hunter2@127.0.0.1:1",
        "postgresql+nodriver://somebody:hunter2@127.0.0.1:1/db",
        "postgresql+nodriver:///db?user=somebody&password=hunter2",
        "postgresql://somebody:hunter2@127.0.0.1:1/db",
    ],
)
def test_credentials_in_an_address_are_never_repeated(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    error = failure(uri)
    # Not even in the traceback that --verbose shows.
    told = "".join(traceback.format_exception(error)) + error.hint
    shown = told.replace(f'"{uri}"', "")
    assert "hunter2" not in shown
    assert "somebody:" not in shown


def test_a_database_that_is_none_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 500)
    error = failure(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert "file is not a database" in error.message
