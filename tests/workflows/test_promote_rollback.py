"""The gate's word, force, and the way back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tomlkit
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from cryptocast.cli.root.hints import as_typed
from cryptocast.errors import StoreError
from cryptocast.store.writer import Writer
from support.commands import AS_OF, NEXT, Made, good, query, run

OTHER = "2024-06-02T00:00:00Z"
ROWS = "SELECT model_version, previous_version, action, reason, scores FROM deployments ORDER BY id"


def settings(folder: Path, section: str, line: str) -> None:
    """Change the settings of a section that is not in the file, or is."""
    document = tomlkit.parse((folder / "cryptocast.toml").read_text(encoding="utf-8"))
    document[section].update(tomlkit.parse(line))
    (folder / "cryptocast.toml").write_text(tomlkit.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("line", ["horizon = 6", "levels = [0.25, 0.5, 0.75]", "lookback = 32"])
def test_where_the_settings_ask_for_something_else_a_version_that_fits_can_be_promoted(
    workspace: Path, line: str
) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    settings(workspace, "model", line)
    if not line.startswith("lookback"):
        assert "it does not fit the settings (settings_mismatch)" in run("doctor", *at).out
        scores = good("evaluate", *at)["scores"]
        assert {row["version"] for row in scores} == {None}
    made = good("train", "--model", "har", "--params", "default", *at)["version"]
    done = run("promote", made, *at, "--json")
    assert done.code in (0, 6), done.err
    against = "production version 2" in f"{done.err}{done.out}"
    assert against == line.startswith("lookback")  # what serves no origin is no opponent
    forced = good("promote", made, *at, "--force", "--reason", "other settings")
    assert forced["decision"]["promoted"]
    (forecast,) = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)["forecasts"]
    assert (forecast["model"]["version"], forecast["model"]["fallback"]) == (made, None)


def aliases(folder: Path) -> dict[str, list[str]]:
    versions = good("models", "-w", folder, "--as-of", AS_OF)["versions"]
    return {v["version"]: v["aliases"] for v in versions if v["aliases"]}


def registered(folder: Path, number: str) -> ModelVersion:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return MlflowClient(uri, uri).get_model_version("cryptocast", number)


def test_a_version_no_better_than_production_is_refused_with_the_reason(workspace: Path) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    good("promote", "1", *at, "--force", "--reason", "x")
    assert good("train", "--model", "random_walk", *at)["version"] == "3"
    before = query(workspace, ROWS)
    done = run("promote", "3", *at, "--json")
    assert done.code == 6
    assert done.error["code"] == "gate.refused"
    assert done.error["message"].startswith(
        "version 3 is not promoted: no better than production version 1: it answers alike "
        "(n = 312 origins)"
    )
    hint = 'cryptocast promote 3 --force --reason "..." overrules the gate'
    assert done.error["hint"] == as_typed(hint)
    assert query(workspace, ROWS) == before
    assert not (workspace / "bundles" / "3").exists()
    told = registered(workspace, "3")
    assert told.tags["gate.verdict"] == "refused"
    assert done.error["message"] == f"version 3 is not promoted: {told.tags['gate.reason']}"
    assert f"Gate: refused: {told.tags['gate.reason']}" in told.description
    assert run("promote", "3", *at).err.startswith("error: version 3 is not promoted: no better")


def test_force_needs_a_reason(workspace: Path) -> None:
    for options in ((), ("--reason", ""), ("--reason", "  ")):
        done = run("promote", "1", "--force", *options, "-w", workspace, "--json")
        assert (done.code, done.error["code"]) == (2, "usage")
        assert done.error["message"] == "--force needs --reason"


def test_force_is_recorded_with_its_reason_and_what_the_gate_said(workspace: Path) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    decision = good("promote", "1", "--force", "--reason", "I like it", *at)["decision"]
    assert decision["promoted"] is True
    version, previous, action, reason, scores = query(workspace, ROWS)[-1]
    assert (version, previous, action) == ("1", "2", "force")
    assert reason == decision["reason"]
    assert reason.startswith("I like it (the gate said: ")
    gate = json.loads(scores)["gate"]
    assert gate == decision["gate"]
    for comparison in gate:
        assert set(comparison) == {
            *("opponent", "skill", "shrunken", "low", "high"),
            *("n", "effective_n", "p_value", "prior", "high_here"),
        }
        assert comparison["low"] <= comparison["skill"] <= comparison["high"]
    assert registered(workspace, "1").tags["gate.forced"] == reason
    assert aliases(workspace) == {"1": ["production"], "2": ["previous"]}


def test_rolling_back_twice_gives_back_the_first(workspace: Path) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    assert good("rollback", *at)["decision"]["version"] == "1"
    assert aliases(workspace) == {"1": ["production"], "2": ["previous"]}
    once = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)
    assert once["forecasts"][0]["model"] == {
        "version": "1",
        "kind": "random_walk",
        "fallback": None,
    }
    assert good("rollback", "--reason", "it was better", *at)["decision"]["version"] == "2"
    assert aliases(workspace) == {"2": ["production"], "1": ["previous"]}
    assert [row[:4] for row in query(workspace, ROWS)[-2:]] == [
        ("1", "2", "rollback", "rolled back from version 2"),
        ("2", "1", "rollback", "it was better"),
    ]


def test_there_is_nothing_to_roll_back_to_after_init(fresh: Path) -> None:
    done = run("rollback", "-w", fresh, "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_previous")


@pytest.mark.parametrize("version", ["99", "newest", "2 ", "²", "9" * 5000, "0", "+2", "2.0"])
def test_an_unknown_version_is_told(workspace: Path, version: str) -> None:
    for command in (("promote", version), ("evaluate", "--version", version)):
        done = run(*command, "-w", workspace, "--as-of", AS_OF, "--json")
        assert done.code == 3, done.err
        assert done.error["code"] == "state.no_version"
        assert done.error["message"] == f"there is no version '{version}'"
        assert done.error["hint"].startswith(as_typed("cryptocast models lists them"))


@pytest.mark.parametrize("name", ["2", "v2", "02", "v002", "٢", "२", "production"])
def test_a_version_is_named_by_its_number_or_an_alias(workspace: Path, name: str) -> None:
    decision = good("promote", name, "-w", workspace, "--as-of", AS_OF)["decision"]
    assert (decision["version"], decision["reason"]) == ("2", "it was already")
    error = run("shadow", name, "-w", workspace, "--as-of", AS_OF, "--json").error
    assert error["message"] == "version 2 is in production already"


def test_a_crash_before_the_row_leaves_the_old_production_serving(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise StoreError("the lights went out")

    options = ("promote", "1", "--force", "--reason", "x", "-w", workspace, "--as-of", AS_OF)
    before = query(workspace, ROWS)
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "put_deployment", crash)
        assert run(*options).code == 4
    assert query(workspace, ROWS) == before
    once = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)
    assert once["forecasts"][0]["model"]["version"] == "2"
    assert good("models", "-w", workspace)["production"] == "2"
    good(*options)
    assert aliases(workspace) == {"1": ["production"], "2": ["previous"]}


def test_the_version_that_serves_may_be_promoted_again(workspace: Path) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    before = query(workspace, ROWS)
    decision = good("promote", "2", *at)["decision"]
    assert (decision["promoted"], decision["reason"]) == (True, "it was already")
    assert query(workspace, ROWS) == before
    assert good("rollback", *at)["decision"]["version"] == "1"


def replaced_store(folder: Path, made: Made) -> None:
    """MLflow's store is that of another workspace, whose versions have the same numbers."""
    for name in ("mlflow.db", "mlartifacts"):
        (folder / name).rename(folder / f"before-{name}")
    other = folder / "other"
    at = ("--path", made.files, "--source", "file", "--trials", "1", "--as-of", OTHER)
    good("init", "-w", other, *at, "--days", "3")
    for name in ("mlflow.db", "mlartifacts"):
        (other / name).rename(folder / name)


def test_another_model_under_a_number_that_was_deployed_is_no_way_around_the_gate(
    workspace: Path, made: Made
) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    before = query(workspace, ROWS)
    replaced_store(workspace, made)
    shutil.rmtree(workspace / "bundles" / "2")  # nor is a bundle that is to be mended
    for command in (
        ("promote", "2"),
        ("promote", "2", "--force", "--reason", "x"),
        ("promote", "1"),
        ("rollback",),
        ("evaluate", "--version", "2"),
    ):
        done = run(*command, *at, "--json")
        number = "1" if command[-1] in ("1", "rollback") else "2"
        assert (done.code, done.error["code"]) == (3, "state.other_model"), command
        assert done.error["message"] == (
            f"version {number} in MLflow is not the model that was deployed as version {number}"
        )
        assert done.error["hint"] == as_typed(
            "the MLflow store was replaced: bring the old one back, or cryptocast train makes a "
            "version with a number of its own"
        )
    assert query(workspace, ROWS) == before
    assert not (workspace / "bundles" / "2").exists()
    # As the hint says. Two versions are in the store, but 1 and 2 were others' numbers too.
    assert good("train", "--model", "random_walk", *at)["version"] == "3"


def test_a_store_that_is_begun_anew_counts_on_from_what_was_deployed(workspace: Path) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    (workspace / "mlflow.db").unlink()
    assert good("train", "--model", "random_walk", *at)["version"] == "3"
    assert [v["version"] for v in good("models", *at)["versions"]] == ["3"]
    done = run("promote", "2", *at, "--json")
    assert (done.code, done.error["message"]) == (3, "there is no version '2'")
    scored = good("evaluate", *at)["scores"]  # what serves is frozen, and scored from there
    assert {row["version"] for row in scored} == {"2", "3", None}
    assert good("retrain", *at)["decision"]["version"] in ("2", "4", "5")
    good("promote", "3", "--force", "--reason", "x", *at)
    (told,) = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)["forecasts"]
    assert told["model"]["version"] == "3"


def test_every_number_of_the_gate_is_a_setting(workspace: Path) -> None:
    at = ("-w", workspace, "--as-of", AS_OF)
    text = (workspace / "cryptocast.toml").read_text()
    demanding = text.replace("least_origins = 24", "least_origins = 400")
    (workspace / "cryptocast.toml").write_text(demanding)
    done = run("promote", "1", *at, "--json")
    assert done.error["message"] == (
        "version 1 is not promoted: only 312 unseen origins to judge by, 400 are needed"
    )
    generous = text.replace("worst_loss = 0.01", "worst_loss = 9.0")
    generous = generous.replace("least_skill = 0.0", "least_skill = -1.0")
    (workspace / "cryptocast.toml").write_text(generous)
    decision = good("promote", "1", *at)["decision"]
    assert decision["reason"].startswith("not decided here: skill -0.47% against production")
    assert registered(workspace, "1").tags["gate.verdict"] == "promoted"
