"""schedule --kind prefect, with a `prefect` program of the test's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cryptocast.schedulers import prefect
from cryptocast.schedulers.prefect import deployment_name
from support.commands import good, listing, run

PREFECT = """#!/bin/sh
echo "$*" >> "{0}/calls"
case "$*" in
"deployment inspect"*) cat "{0}/deployed" 2> /dev/null || {{ echo "Deployment not found!"; exit 1; }} ;;
*deploy\\ --all*) cp "$5" "{0}/applied"; echo '{{"work_pool_name": "cryptocast"}}' > "{0}/deployed" ;;
"deployment delete"*) rm -f "{0}/deployed" ;;
esac
"""  # noqa: E501 - a script


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what the program keeps."""
    folder = tmp_path / "machine"
    folder.mkdir()
    (folder / "prefect").write_text(PREFECT.format(folder))
    (folder / "prefect").chmod(0o755)
    monkeypatch.setattr(prefect, "sys", SimpleNamespace(executable=str(folder / "python")))
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty workspace whose ticks come 12.5 s after the close."""
    folder = tmp_path / "it's 100%"
    (folder / "logs").mkdir(parents=True)
    (folder / "cryptocast.toml").write_text("[loop]\ndelay_seconds = 12.5\n")
    return folder


def calls(machine: Path) -> list[str]:
    """The command lines since the last look."""
    file = machine / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def deployments(text: str) -> list[dict[str, Any]]:
    """What Prefect reads in a `prefect.yaml`."""
    return list(yaml.safe_load(text)["deployments"])


def test_the_file_is_printed_and_holds_three_deployments(machine: Path, workspace: Path) -> None:
    before = listing(workspace)
    done = run("schedule", "--kind", "prefect", "-w", workspace)
    assert (done.code, listing(workspace), calls(machine)) == (0, before, [])
    ticks, renewals, start = deployments(done.out)
    name = deployment_name(workspace)
    assert [d["name"] for d in (ticks, renewals, start)] == [name] * 3
    assert ticks["entrypoint"] == "cryptocast.flows.produce.produce"
    assert ticks["parameters"] == {"workspace": str(workspace)}
    assert ticks["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert ticks["work_pool"]["name"] == "cryptocast"
    every = {"interval": 300, "anchor_date": "1970-01-01T00:00:12.500Z", "timezone": "UTC"}
    assert ticks["schedules"] == [every]
    assert renewals["parameters"] == {"workspace": str(workspace), "if_needed": True}
    assert renewals["schedules"][0]["interval"] == 3600
    assert "schedules" not in start
    data = good("schedule", "--kind", "prefect", "-w", workspace)
    assert data["when"] == "every 5m, 12.5 s after the close"
    assert data["texts"] == [{"place": "prefect.yaml", "text": done.out}]


def test_the_deployments_are_applied_to_a_pool_and_deleted_again(
    machine: Path, workspace: Path
) -> None:
    options = ("schedule", "--kind", "prefect", "-w", workspace)
    text = run(*options).out
    name = deployment_name(workspace)
    look = f"deployment inspect cryptocast-produce/{name} --output json"
    for _ in range(2):
        assert good(*options, "--install")["changed"] is True
        first, pool, apply = calls(machine)
        assert (first, pool) == (look, "work-pool create cryptocast --type process --overwrite")
        assert apply.startswith("--no-prompt deploy --all --prefect-file ")
        assert (machine / "applied").read_text() == text
    assert good(*options, "--remove")["changed"] is True
    assert calls(machine) == [
        look,
        *(
            f"deployment delete cryptocast-{flow}/{name}"
            for flow in ("produce", "retrain", "initialize")
        ),
    ]
    assert good(*options, "--remove")["changed"] is False


@pytest.mark.parametrize("option", ["--install", "--remove"])
def test_deployments_that_serve_flows_registered_are_left_alone(
    machine: Path, workspace: Path, option: str
) -> None:
    (machine / "deployed").write_text('{"work_pool_name": null}')
    done = run("schedule", "--kind", "prefect", option, "-w", workspace, "--json")
    assert (done.code, done.error["code"]) == (2, "usage.served")
    assert f"cryptocast-produce/{deployment_name(workspace)}" in done.error["hint"]
    assert len(calls(machine)) == 1


def test_without_the_program_it_is_said_how_to_get_it(
    machine: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "prefect").unlink()
    monkeypatch.setenv("PATH", str(machine))
    done = run("schedule", "--kind", "prefect", "--install", "-w", workspace, "--json")
    assert done.error["message"] == "there is no program 'prefect' on this machine"
    assert "pip install 'cryptocast[prefect]'" in done.error["hint"]
