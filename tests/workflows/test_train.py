"""train and train --repeat; a disk that fills meanwhile."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast.bundles import Forecaster
from cryptocast.cli.root.hints import as_typed
from cryptocast.models import _lightning, lstm
from cryptocast.models.baselines import random_walk
from cryptocast.registry import Registry
from cryptocast.registry.runs import Runs
from cryptocast.seams import TrainingRun
from cryptocast.values import FEATURES, Epoch, Fitted
from support.commands import AS_OF, NEXT, candles, good, run, start_loaded, write


def at(folder: Path) -> tuple[str | Path, ...]:
    return ("-w", folder, "--as-of", AS_OF)


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    return {v["version"]: v for v in good("models", *at(folder))["versions"]}


def serving(folder: Path, moment: str) -> dict[str, Any]:
    (told,) = good("forecast", "--once", "-w", folder, "--as-of", moment)["forecasts"]
    return dict(told["model"])


def card_file(folder: Path, version: str) -> Path:
    run_id = listed(folder)[version]["run_id"]
    (file,) = folder.glob(f"mlartifacts/**/{run_id}/artifacts/card.json")
    return file


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "mlflow.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def answers(folder: Path, version: str) -> np.ndarray[Any, Any]:
    """What the graph that was logged says to the same windows."""
    ((source,),) = query(folder, f"SELECT source FROM model_versions WHERE version = {version}")
    (file,) = folder.glob(f"mlartifacts/**/{source.removeprefix('models:/')}/artifacts/model.onnx")
    windows = np.random.default_rng(0).normal(size=(50, 64, len(FEATURES)))
    return Forecaster(file.read_bytes())(windows)


def test_a_card_tells_all_that_a_training_was_made_of(workspace: Path) -> None:
    card = json.loads(card_file(workspace, "2").read_text())
    known = {
        "kind": "lstm",
        "markets": ["file:BTC/EUR:5m"],
        "lookback": 64,
        "horizon": 24,
        "seed": 0,
        "max_stale_bars": 3,
        "data_start": 1_716_768_000,  # 2024-05-27T00:00:00Z
        "data_end": 1_717_279_200,  # 2024-06-01T22:00:00Z
        "features": list(FEATURES),
    }
    assert {name: card[name] for name in known} == known
    assert card["data_end"] - card["validation_start"] == 288 * 300
    assert card["params"]["hidden"] == 8
    assert card["packages"]["torch"]
    assert len(card["fingerprint"]) == 16
    assert "commit" in card  # None where the code is installed rather than checked out


@pytest.mark.parametrize("kind", ["lstm", "random_walk"])
def test_a_training_that_is_repeated_gives_the_same_answers(workspace: Path, kind: str) -> None:
    first = good("train", "--model", kind, "--seed", "7", *at(workspace))
    # A later now, more candles and other settings than then: the card rules.
    later = ("-w", workspace, "--as-of", "2024-06-03T12:00:00Z")
    good("fetch", *later)
    settings = workspace / "cryptocast.toml"
    text = settings.read_text()
    for name, value in (("days", 3), ("lookback", 48), ("max_stale_bars", 9)):
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} = ")]
        text = text.replace(line, f"{name} = {value}")
    settings.write_text(text)
    again = good("train", "--repeat", first["version"], *later)
    assert (again["identical"], again["largest_difference"], again["changed"]) == (True, 0.0, [])
    assert (again["repeated"], again["kind"]) == (first["version"], kind)
    assert again["validation_crps_bp"] == first["validation_crps_bp"]
    before, made = (listed(workspace)[number["version"]] for number in (first, again))
    assert made["tags"]["repeat_of"] == first["version"]
    assert made["data_fingerprint"] == before["data_fingerprint"]
    assert (made["aliases"], before["aliases"]) == ([], ["challenger"])
    np.testing.assert_array_equal(
        answers(workspace, again["version"]), answers(workspace, first["version"])
    )


def test_a_repetition_that_differs_says_by_how_much_and_what_has_changed(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = random_walk.Model.fit

    def off(self: random_walk.Model, *parts: Any, **named: Any) -> Fitted:
        levels = tuple(level * 0.99 for level in named.pop("levels"))
        return fit(self, *parts, levels=levels, **named)

    monkeypatch.setattr(random_walk.Model, "fit", off)
    file = card_file(workspace, "1")
    card = json.loads(file.read_text())
    card["packages"]["numpy"] = "1.0"
    file.write_text(json.dumps(card))
    done = run("train", "--repeat", "1", *at(workspace))
    assert done.code == 0, done.err
    assert "\nIts forecasts are not those of version 1: they differ by up to 0." in done.out
    assert "sigma (changed since: numpy 1.0 -> " in " ".join(done.out.split())


def test_a_version_whose_candles_are_others_now_is_not_repeated(workspace: Path) -> None:
    whole = candles("BTC/EUR")
    whole.close[1000] *= 1.0001
    file = write(workspace / "changed.parquet", whole)
    first, end = "2024-05-27T00:00:00Z", "2024-06-01T22:00:00Z"
    good(
        *("fetch", "--source", "file", "--path", file, "--market", "file:BTC/EUR:5m"),
        *("--start", first, "--end", end, *at(workspace)),
    )
    before = listed(workspace)
    done = run("train", "--repeat", "2", *at(workspace), "--json")
    assert (done.code, done.error["code"]) == (3, "state.other_data")
    assert done.error["message"].startswith(
        f"the stored candles from {first} to {end} are not those that version 2 learned from "
        "(fingerprint "
    )
    hint = f"cryptocast fetch --start {first} --end {end} brings missing ones"
    assert done.error["hint"] == as_typed(hint)
    assert listed(workspace) == before


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("validation_start", None, "its card does not say how the candles were split"),
        ("features", ["gone"], "it reads other features than this cryptocast computes"),
    ],
)
def test_a_version_of_another_cryptocast_is_not_repeated(
    workspace: Path, name: str, value: object, why: str
) -> None:
    file = card_file(workspace, "2")
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    done = run("train", "--repeat", "2", *at(workspace), "--json")
    assert (done.code, done.error["code"]) == (3, "state.other_code")
    assert done.error["message"] == f"version 2 cannot be repeated: {why}"
    assert done.error["hint"] == as_typed("cryptocast train makes a version that can be")


def test_what_a_card_rules_is_not_asked_for_beside_it(workspace: Path) -> None:
    for option in (("--model", "lstm"), ("--params", "best"), ("--seed", "0")):
        done = run("train", "--repeat", "2", *option, *at(workspace), "--json")
        assert (done.code, done.error["message"]) == (
            2,
            f"{option[0]} cannot be combined with --repeat",
        )
    done = run("train", "--repeat", "99", *at(workspace), "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_version")


# A process that is far on in a training, says so, and is killed there.
FAR = """
import dataclasses, sys, time
from support import commands
from cryptocast import cli
from cryptocast.models import _lightning, lstm
_lightning._SAVE_SECONDS = -1.0
fit = lstm.Model.fit
def halting(self, *parts, **named):
    def halt(epoch, most):
        if epoch.number == 4:
            print("here", flush=True)
            time.sleep(3600)
    run = dataclasses.replace(named.pop("run"), on_epoch=halt)
    return fit(self, *parts, **named, run=run)
lstm.Model.fit = halting
sys.exit(cli.run(sys.argv[1:]))
"""


def test_a_training_that_is_killed_goes_on_where_it_was_and_ends_the_same(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = workspace / "six.json"
    params.write_text(json.dumps({"hidden": 8, "epochs": 6, "patience": 6}))
    train = ("train", "--params", params, "--seed", "3", *at(workspace))
    child = start_loaded(*train, script=FAR)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n", child.communicate()[1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (left,) = (workspace / "checkpoints").iterdir()
    assert list(listed(workspace)) == ["2", "1"]

    seen: list[int] = []
    fit = lstm.Model.fit

    def watched(self: lstm.Model, *parts: Any, run: TrainingRun, **named: Any) -> Fitted:
        def watch(epoch: Epoch, most: int) -> None:
            seen.append(epoch.number)
            assert run.on_epoch is not None
            run.on_epoch(epoch, most)

        return fit(self, *parts, run=dataclasses.replace(run, on_epoch=watch), **named)

    monkeypatch.setattr(lstm.Model, "fit", watched)
    # Another seed is another training: it begins at its own beginning, and leaves this one be.
    good("train", "--params", params, "--seed", "4", *at(workspace))
    assert (seen, left.exists()) == ([1, 2, 3, 4, 5, 6], True)
    seen.clear()
    resumed = good(*train)
    assert (seen, resumed["epochs"]) == ([4, 5, 6], 6)
    assert not (workspace / "checkpoints").exists()
    whole = good("train", "--repeat", resumed["version"], *at(workspace))
    assert seen == [4, 5, 6, 1, 2, 3, 4, 5, 6]
    assert (whole["identical"], whole["largest_difference"]) == (True, 0.0)


def test_a_training_that_could_not_be_kept_is_not_made_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lightning, "_SAVE_SECONDS", -1.0)
    params = workspace / "four.json"
    params.write_text(json.dumps({"hidden": 8, "epochs": 4, "patience": 4}))
    train = ("train", "--params", params, *at(workspace))
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_model_artifacts", full)
        assert run(*train).code == 4
    with monkeypatch.context() as patch:
        patch.setattr(_lightning._Module, "training_step", None)  # no step is made
        assert good(*train)["epochs"] == 4


def test_what_a_training_left_long_ago_is_removed(workspace: Path) -> None:
    folder = workspace / "checkpoints"
    folder.mkdir()
    for name, days in (("old.npz", 2), (".draft.npz.1", 2), ("new.npz", 0.5)):
        (folder / name).touch()
        written = time.time() - days * 86_400
        os.utime(folder / name, (written, written))
    good("train", "--model", "random_walk", *at(workspace))
    assert [file.name for file in folder.iterdir()] == ["new.npz"]


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "where",
    [
        "mlflow.MlflowClient.log_inputs",
        "mlflow.MlflowClient.log_batch",
        "mlflow.MlflowClient.log_dict",  # the card
        "onnx.save_model",
        "mlflow.MlflowClient.log_model_artifacts",
        "mlflow.MlflowClient.create_model_version",
    ],
)
def test_a_disk_that_fills_while_a_version_is_logged_leaves_none(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before, model = listed(workspace), serving(workspace, NEXT)
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        done = run("train", "--model", "random_walk", *at(workspace), "--quiet")
    assert (done.code, done.out) == (4, "")
    assert done.err == (
        f"error: the MLflow store sqlite:///{workspace / 'mlflow.db'} cannot grow: the disk is "
        "full (free some space; nothing was registered, and what serves goes on)\n"
    )
    assert listed(workspace) == before
    ((status,),) = query(workspace, "SELECT status FROM runs ORDER BY start_time DESC LIMIT 1")
    assert status == ("FINISHED" if where.endswith("create_model_version") else "FAILED")
    assert serving(workspace, "2024-06-03T00:10:00Z") == model
    # With space again the next one is whole.
    number = good("train", "--model", "random_walk", *at(workspace))["version"]
    assert listed(workspace)[number]["usable"] is True


def test_a_disk_that_is_full_stops_a_training_at_its_start(workspace: Path) -> None:
    before, model = listed(workspace), serving(workspace, NEXT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # every write beyond that fails
    try:
        done = run("train", "--model", "random_walk", *at(workspace), "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (done.code, done.error["code"]) == (4, "registry.full")
    assert done.error["message"].endswith(" cannot be written: the disk is full or failing")
    assert listed(workspace) == before
    assert serving(workspace, "2024-06-03T00:10:00Z") == model


def test_without_the_alias_a_version_is_whole_all_the_same(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.set_registered_model_alias", full)
        assert run("train", "--model", "random_walk", *at(workspace)).code == 4
    assert listed(workspace)["3"]["usable"] is True


def test_a_version_is_registered_after_its_card_and_graph_are_kept(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    order: tuple[tuple[type, str], ...] = (
        (Runs, "log_card"),
        (Runs, "log_model"),
        (Registry, "register"),
        (Registry, "point"),
    )
    for owner, name in order:
        real = getattr(owner, name)

        def noted(self: Any, *a: Any, _real: Any = real, _name: str = name, **k: Any) -> Any:
            done.append(_name)
            return _real(self, *a, **k)

        monkeypatch.setattr(owner, name, noted)
    good("train", "--model", "random_walk", *at(workspace))
    assert done == ["log_card", "log_model", "register", "point"]
