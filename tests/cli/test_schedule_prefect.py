"""schedule --kind prefect: the `prefect.yaml`; what contacts a server is tested with the flows."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import yaml

from cryptocast.schedulers.prefect import deployment_name
from cryptocast.workflows.schedule import _HTTP_VARIABLES
from support.commands import good, listing, run


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace whose ticks come 12.5 s after the close, and no proxy."""
    for variable in [name for name in os.environ if name.upper() in _HTTP_VARIABLES]:
        monkeypatch.delenv(variable)
    folder = tmp_path / "it's 100%"
    folder.mkdir()
    (folder / "cryptocast.toml").write_text("[loop]\ndelay_seconds = 12.5\n")
    return folder


def test_the_file_is_printed_and_holds_three_deployments(workspace: Path) -> None:
    before = listing(workspace)
    done = run("schedule", "--kind", "prefect", "-w", workspace)
    assert (done.code, done.err, listing(workspace)) == (0, "", before)
    ticks, renewals, start = yaml.safe_load(done.out)["deployments"]
    name = deployment_name(workspace)
    assert [d["name"] for d in (ticks, renewals, start)] == [name] * 3
    assert ticks["entrypoint"] == "cryptocast.flows.pipelines.produce"
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


@pytest.mark.parametrize(
    "words",
    [("schedule", "--kind", "prefect", "--install"), ("schedule", "--kind", "prefect", "--remove"),
     ("serve-flows",)],
)  # fmt: skip
def test_without_prefect_it_is_said_how_to_get_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run(*words, "-w", workspace, "--json")
    assert (done.code, done.error["code"]) == (2, "usage.not_installed")
    assert done.error["hint"] == "pip install 'cryptocast[prefect]'"
