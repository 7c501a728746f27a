from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import mlflow
import mlflow.data
import mlflow.onnx
import numpy as np
import onnx
import pytest
from mlflow.types import Schema

from cryptocast.bundles import Forecaster
from cryptocast.errors import RegistryError, StateError
from cryptocast.models import _graphs
from cryptocast.registry import (
    CHALLENGER,
    MODEL,
    SELECTION,
    Registry,
    Servable,
    TrainingData,
    packages,
)
from cryptocast.values import FEATURES, Epoch
from support.synthetic import LEVELS

QUANTILES = np.outer([1.0, 2.0], np.array(LEVELS) - 0.5)
PARAMS: dict[str, float | int | str] = {"hidden": 8, "learning_rate": 0.01}
HISTORY = (Epoch(1, 0.9, 0.8, 1e4), Epoch(2, 0.7, 0.6, 2e4))
CARD = {"kind": "lstm", "levels": list(LEVELS), "version": ""}


def graph(scale: float = 1.0) -> bytes:
    return _graphs.Graph(16).constant(QUANTILES * scale)


def servable(graph: bytes) -> Servable:
    return Servable(graph, CARD, "package", {"__init__.py": ""}, "package", None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(folder: Path) -> Registry:
    """One store for the module: making one takes MLflow seconds."""
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", "cryptocast", folder / "mlartifacts")


def trained(registry: Registry, relative: float | None, scale: float = 1.0) -> str:
    """A run with a model, as `train` makes it; returns the version."""
    with registry.runs.begin("train lstm", tags={"stage": "train"}) as run_id:
        metrics = {} if relative is None else {SELECTION: relative, "validation_crps_bp": 4.5}
        registry.runs.log(run_id, params=PARAMS, metrics=metrics, history=HISTORY)
        registry.runs.log_card(run_id, CARD)
        uri = registry.runs.log_model(run_id, servable(graph(scale)))
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
    other = Registry(registry._store.uri, "another", None)
    assert [v for v in other.versions() if "init" not in v.tags] == []


def test_two_stores_in_one_process_do_not_meet(
    registry: Registry, versions: list[str], tmp_path: Path
) -> None:
    environ = dict(os.environ)
    shutil.copy(registry._store.uri.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    other = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", "other", tmp_path / "mlartifacts")
    assert trained(registry, None) != versions[-1]
    assert len(other.versions()) == len(registry.versions()) - 1
    newest = trained(other, None, scale=5.0)
    answers = [
        Forecaster(graph)(np.zeros((1, 16, len(FEATURES))))[0, -1, -1] / QUANTILES[-1, -1]
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
    newest_first = {v.version: v for v in registry.versions() if v.version in versions}
    assert registry.best(list(newest_first.values())).version == versions[1]
    for asked, best in (((0, 2), 2), ((0, 3), 0)):
        some = [newest_first[versions[place]] for place in asked]
        assert registry.best(some).version == versions[best]


def test_without_a_score_none_is_the_best(registry: Registry, versions: list[str]) -> None:
    unscored = [v for v in registry.versions() if v.version == versions[3]]
    for asked in (unscored, []):
        with pytest.raises(StateError) as caught:
            registry.best(asked)
        assert caught.value.message == "no version has a validation score"
        assert caught.value.hint == "cryptocast train"


def test_versions_are_found_by_their_tags(registry: Registry, versions: list[str]) -> None:
    found = {v.version for v in registry.versions({"init": "1", "kind": "lstm"})}
    assert set(versions) <= found
    assert registry.versions({"init": "1", "kind": "har"}) == []


def test_an_alias_is_dropped_and_a_markets_own_ends_a_challenge(
    registry: Registry, versions: list[str]
) -> None:
    registry.point("challenger", versions[0])
    registry.point("production-sim-BTC_EUR-5m", versions[0])
    assert registry.aliases() == {"production-sim-BTC_EUR-5m": versions[0]}
    registry.drop("production-sim-BTC_EUR-5m")
    assert registry.aliases() == {}


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
    found = Forecaster(registry.onnx(versions[1]))(np.zeros((1, 16, len(FEATURES))))[0]
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
        with registry.runs.begin("cut short", parent="0" * 32) as run_id:
            begun.append(run_id)
            registry.runs.tag(run_id, {"note": "x"})
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
    again = Registry(registry._store.uri, "cryptocast", folder / "elsewhere")
    assert [v.version for v in again.versions()] == [v.version for v in registry.versions()]
    assert again._client.get_registered_model(MODEL).name == "cryptocast"


def test_a_run_that_is_begun_in_another_is_its_child(registry: Registry) -> None:
    with registry.runs.begin("outer") as outer:
        with registry.runs.begin("inner") as inner, registry.runs.begin("innermost") as innermost:
            pass
        with registry.runs.begin("adopted", parent="0" * 32) as adopted:
            pass
    with registry.runs.begin("alone") as alone:
        pass
    parents = [
        registry._client.get_run(run).data.tags.get("mlflow.parentRunId")
        for run in (outer, inner, innermost, adopted, alone)
    ]
    assert parents == [None, outer, inner, "0" * 32, None]


def test_a_pipeline_that_was_interrupted_goes_on_and_what_it_left_running_is_ended(
    registry: Registry,
) -> None:
    client = registry._client

    def interrupted() -> None:
        with registry.runs.pipeline("init 2024-06-03T00:00:00Z", {"pipeline": "x"}) as run_id:
            begun.append(run_id)
            tags = {"mlflow.parentRunId": run_id}
            killed = client.create_run(registry._store.experiment, run_name="tune", tags=tags)
            begun.append(killed.info.run_id)
            tags = {"mlflow.parentRunId": killed.info.run_id}
            trial = client.create_run(registry._store.experiment, run_name="trial 0", tags=tags)
            begun.append(trial.info.run_id)
            raise KeyboardInterrupt

    begun: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with registry.runs.pipeline("init 2024-06-03T00:00:00Z") as again:
        assert again == begun[0]
        assert client.get_run(again).info.status == "RUNNING"
        with registry.runs.begin("train lstm") as child:
            pass
    ended = [client.get_run(run).info.status for run in (*begun, child)]
    assert ended == ["FINISHED", "KILLED", "KILLED", "FINISHED"]
    assert client.get_run(child).data.tags["mlflow.parentRunId"] == again
    assert client.get_run(again).data.tags["pipeline"] == "x"
    with registry.runs.pipeline("init 2024-06-04T00:00:00Z") as other:
        assert other != again


def test_the_candles_of_a_training_are_the_dataset_of_its_run(registry: Registry) -> None:
    source = {"markets": "sim:BTC/EUR:5m", "start": "2024-06-03T00:00:00Z", "end": "x"}
    data = TrainingData("candles of sim:BTC/EUR:5m", "0123456789abcdef", source, 1705)
    with registry.runs.begin("train lstm") as run_id:
        registry.runs.log_data(run_id, data)
    (found,) = registry._client.get_run(run_id).inputs.dataset_inputs
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training"}
    assert (found.dataset.name, found.dataset.digest) == (data.name, data.fingerprint)
    assert json.loads(found.dataset.profile) == {"num_rows": 1705}
    columns = Schema.from_json(json.dumps(json.loads(found.dataset.schema)["mlflow_colspec"]))
    assert columns.input_names() == ["open_time", "open", "high", "low", "close", "volume"]
    # As anybody with plain MLflow asks where the data came from.
    assert mlflow.data.get_source(found).to_dict() == {"tags": source}


def test_more_can_be_told_of_a_version_and_told_anew(
    registry: Registry, versions: list[str]
) -> None:
    registry.amend(versions[0], "Gate", "refused", {"gate.verdict": "refused"})
    registry.amend(versions[0], "Test", "CRPS 4 bp", {"test.n": "24"})
    registry.amend(versions[0], "Gate", "promoted", {"gate.verdict": "promoted"})
    (found,) = [v for v in registry.versions() if v.version == versions[0]]
    assert found.description == "an lstm\n\nTest: CRPS 4 bp\n\nGate: promoted"
    assert dict(found.tags) == {
        "init": "1",
        "kind": "lstm",
        "test.n": "24",
        "gate.verdict": "promoted",
    }


def test_what_becomes_production_is_challenger_no_longer(
    registry: Registry, versions: list[str]
) -> None:
    def named() -> dict[str, tuple[str, ...]]:
        return {v.version: v.aliases for v in registry.versions() if v.version in versions[:2]}

    registry.point(CHALLENGER, versions[1])
    registry.point("production", versions[0])
    assert "challenger" in named()[versions[1]]
    registry.point("production", versions[1])
    assert "challenger" not in named()[versions[1]]


def gone(registry: Registry, version: str, name: str) -> None:
    """Lose one file of a version, as an impatient hand in the artefacts' folder would."""
    found = registry._client.get_model_version(MODEL, version)
    run = registry._client.get_run(found.run_id)
    logged = registry._client.get_logged_model(found.source.removeprefix("models:/"))
    for uri in (run.info.artifact_uri, logged.artifact_location):
        Path(uri.removeprefix("file://"), name).unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["card.json", "model.onnx"])
def test_a_version_with_a_file_lost_is_of_no_use(registry: Registry, name: str) -> None:
    version = trained(registry, 0.98)
    (found,) = [v for v in registry.versions() if v.version == version]
    assert registry.missing(found) == ()
    gone(registry, version, name)
    assert registry.missing(found) == (name,)
    ask = registry.card if name == "card.json" else registry.onnx
    with pytest.raises(StateError) as caught:
        ask(version)
    assert caught.value.code == "state.incomplete_version"
    assert caught.value.message == (
        f"version {version} is of no use: its {name} is not in the MLflow store"
    )
    assert caught.value.hint == (
        "cryptocast models lists the others; cryptocast train makes a new one"
    )


def test_a_version_whose_run_was_deleted_is_listed_without_its_figures(registry: Registry) -> None:
    version = trained(registry, 0.98)
    registry._client.delete_run(registry._client.get_model_version(MODEL, version).run_id)
    (found,) = [v for v in registry.versions() if v.version == version]
    assert (found.kind, dict(found.metrics)) == ("lstm", {})


def test_an_experiment_that_was_deleted_comes_back(registry: Registry, folder: Path) -> None:
    other = Registry(registry._store.uri, "cryptocast ETH", folder / "mlartifacts")
    other._client.delete_experiment(other._store.experiment)
    again = Registry(registry._store.uri, "cryptocast ETH", folder / "mlartifacts")
    assert again._store.experiment == other._store.experiment
    with again.runs.begin("train lstm"):
        pass


def test_reading_a_version_leaves_nothing_behind(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = trained(registry, 0.97)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    registry.card(version)
    registry.onnx(version)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_card_is_told(registry: Registry) -> None:
    version = trained(registry, 0.98)
    found = registry._client.get_model_version(MODEL, version)
    uri = registry._client.get_run(found.run_id).info.artifact_uri
    for content in (b'{"kind": "ls', b"\xff\xfe"):
        Path(uri.removeprefix("file://"), "card.json").write_bytes(content)
        with pytest.raises(RegistryError) as caught:
            registry.card(version)
        assert caught.value.code == "registry.damaged"
        assert caught.value.message == f"the card of version {version} is damaged"


def test_a_version_of_an_older_release_which_is_a_graph_alone_can_be_used(
    registry: Registry,
) -> None:
    with registry.runs.begin("train") as run_id, registry._store.chosen():
        registry.runs.log_card(run_id, CARD)
        with mlflow.start_run(run_id, nested=True):
            model = onnx.load_from_string(graph(7.0))
            requirements = ["onnxruntime==1.27.0"]
            info = mlflow.onnx.log_model(model, name="model", pip_requirements=requirements)
    version = registry.register(run_id, info.model_uri, "lstm", "", {})
    (found,) = [v for v in registry.versions() if v.version == version]
    assert registry.missing(found) == ()
    assert registry.card(version)["kind"] == "lstm"
    answer = Forecaster(registry.onnx(version))(np.zeros((1, 16, len(FEATURES))))[0]
    np.testing.assert_array_equal(answer, (QUANTILES * 7).astype(np.float32))


def test_a_number_that_is_taken_is_passed_over_and_never_comes_again(tmp_path: Path) -> None:
    store = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", "taken", tmp_path / "mlartifacts")
    with store.runs.begin("train") as run_id:
        uri = store.runs.log_model(run_id, servable(graph()))
    made = [store.register(run_id, uri, "lstm", "", {}, taken=t) for t in ({"1", "2", "9"}, ())]
    assert made == ["3", "4"]
    assert [v.version for v in store.versions()] == ["4", "3"]


def test_a_model_belongs_to_who_made_it_and_a_store_may_hold_several(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"

    def opened(model: str, owner: str) -> Registry:
        return Registry(uri, "shared", None, model=model, owner=lambda: owner)

    first, second = opened("cryptocast", "a"), opened("cryptocast-2", "b")
    assert [trained(r, 0.9) for r in (first, first, second)] == ["1", "2", "1"]
    for store in (first, second):
        store.point("production", "1")
    first.point("production", "2")
    assert [len(store.versions()) for store in (first, second)] == [2, 1]
    assert second.versions()[0].aliases == ("production",)
    assert opened("cryptocast", "a").versions()[0].aliases == ("production",)
    with pytest.raises(RegistryError) as caught:
        opened("cryptocast", "b")
    assert (caught.value.code, caught.value.exit_code) == ("registry.taken", 4)
    assert caught.value.message == (
        f"the model 'cryptocast' in the MLflow store {uri} is another workspace's"
    )
    with first.runs.pipeline("init") as one, second.runs.pipeline("init") as other:
        assert one != other
    with second.runs.pipeline("init") as again:
        assert again == other


def test_names_hold_no_slash_but_what_an_older_program_named_is_found_again(
    registry: Registry, folder: Path
) -> None:
    client = registry._client

    def opened(market: str) -> Registry:
        store = folder / "mlflow.db", folder / "mlartifacts"
        return Registry(f"sqlite:///{store[0]}", f"cryptocast {market}", store[1])

    fresh = opened("sim:ETH/EUR:5m")
    experiment = client.get_experiment(fresh._store.experiment)
    assert experiment.name == "cryptocast sim:ETH-EUR:5m"
    assert opened("sim:ETH/EUR:5m")._store.experiment == experiment.experiment_id
    with fresh.runs.pipeline("init sim:ETH/EUR:5m") as run_id:
        assert client.get_run(run_id).info.run_name == "init sim:ETH-EUR:5m"
    with fresh.runs.pipeline("init sim:ETH/EUR:5m") as again:
        assert again == run_id
    older = client.create_experiment("cryptocast sim:BTC/EUR:5m")
    kept = opened("sim:BTC/EUR:5m")
    assert kept._store.experiment == older
    tags = {"stage": "pipeline"}
    begun = client.create_run(older, run_name="init sim:BTC/EUR:5m", tags=tags).info.run_id
    with kept.runs.pipeline("init sim:BTC/EUR:5m") as run_id:
        assert run_id == begun


def test_variables_of_mlflow_are_in_the_environment_only_while_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "from outside")
    environ = {"MLFLOW_TRACKING_USERNAME": "from outside", "MLFLOW_TRACKING_TOKEN": "hunter2"}
    store = Registry(
        f"sqlite:///{tmp_path / 'mlflow.db'}", "x", tmp_path / "mlartifacts", environ=environ
    )
    assert "MLFLOW_TRACKING_TOKEN" not in os.environ
    with store._translated(), store._translated():
        assert os.environ["MLFLOW_TRACKING_TOKEN"] == "hunter2"
        assert os.environ["MLFLOW_TRACKING_USERNAME"] == "from outside"
    assert "MLFLOW_TRACKING_TOKEN" not in os.environ
