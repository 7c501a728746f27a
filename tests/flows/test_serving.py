"""serve-flows: what it registers, what it refuses, and how it starts again after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prefect", reason="Prefect is not installed: pip install 'cryptocast[prefect]'")

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from cryptocast.flows.produce import produce
from cryptocast.schedulers.prefect import deployment_name
from support.commands import AS_OF, HELD, process, query, run, start

WAITS = """
import os, sys
import cryptocast.flows.serving
heavy = ("torch", "lightning", "mlflow", "optuna", "pandas", "matplotlib")
print([name for name in heavy if name in sys.modules], os.environ["DO_NOT_TRACK"])
"""
REFUSED = "http://127.0.0.1:9/api"


class Served:
    """A process that serves the flows of a workspace."""

    def __init__(self, workspace: Path, server: str) -> None:
        # The next scheduled tick is minutes away, so that it does not meet those of the test.
        away = (time.time() + 200) % 300
        environ = {"PREFECT_API_URL": server, "CRYPTOCAST_LOOP__DELAY_SECONDS": f"{away:.0f}"}
        self.child = start("serve-flows", "-w", workspace, "--json", environ=environ)
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line, self.child.communicate()
        self.told: dict[str, Any] = json.loads(line)["data"]

    def children(self) -> list[int]:
        """The processes that run flows now."""
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.child.pid)], capture_output=True, text=True
        )
        return [int(pid) for pid in listed.stdout.split()]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end."""
        self.child.send_signal(number)
        self.child.communicate(timeout=60)
        return self.child.returncode


@contextmanager
def held(workspace: Path) -> Iterator[None]:
    """Somebody holds the store, so that a tick waits."""
    with start(workspace / "cryptocast.duckdb", script=HELD) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate("\n", timeout=30)


def tick(deployment: str, workspace: Path) -> FlowRun:
    """Ask the server for a run of the tick."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(
            found.id, parameters={"workspace": str(workspace), "as_of": AS_OF}
        )


def await_state(flow_run: FlowRun, *names: str) -> str:
    """Wait until a run has one of these states."""
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while (name := client.read_flow_run(flow_run.id).state_name) not in names:
            assert time.monotonic() < deadline, name
            time.sleep(0.2)
    return str(name)


def test_a_killed_process_is_followed_by_one_that_frees_its_place(
    fresh: Path, prefect_server: str
) -> None:
    name = f"cryptocast-produce/{deployment_name(fresh)}"
    first = Served(fresh, prefect_server)
    assert [flow["deployment"] for flow in first.told["flows"]] == [
        name, name.replace("produce", "retrain"), name.replace("produce", "initialize"),
    ]  # fmt: skip
    assert (first.told["crashed"], first.told["initializing"]) == (0, False)
    with held(fresh):
        killed = tick(name, fresh)
        await_state(killed, "Running")
        engines = first.children()
        assert engines
        first.end(signal.SIGKILL)
        for engine in engines:
            os.kill(engine, signal.SIGKILL)
    assert query(fresh, "SELECT count(*) FROM forecasts") == [(0,)]

    second = Served(fresh, prefect_server)
    assert second.told["crashed"] == 1
    assert await_state(killed, "Crashed") == "Crashed"
    refused = run("serve-flows", "-w", fresh, "--json")
    assert (refused.code, refused.error["code"]) == (4, "serve-flows.running")
    assert await_state(tick(name, fresh), "Served") == "Served"
    assert query(fresh, "SELECT count(*) FROM forecasts") == [(24,)]
    with get_client(sync_client=True) as client:
        served = client.read_deployment_by_name(name)
    (schedule,) = served.schedules
    assert schedule.schedule.interval == timedelta(minutes=5)
    assert schedule.schedule.anchor_date < datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    assert served.parameters == {"workspace": str(fresh)}
    assert second.end() == 0
    with get_client(sync_client=True) as client:
        assert not client.read_deployment_by_name(name).paused


def test_without_the_address_of_a_server_nothing_starts(fresh: Path) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        done = run("serve-flows", "-w", fresh, "--json")
    assert (done.code, done.error["code"]) == (2, "config.prefect")
    assert "export PREFECT_API_URL=http://127.0.0.1:4200/api" in done.error["hint"]


def test_a_server_that_is_not_there_is_one_line(fresh: Path) -> None:
    with temporary_settings({PREFECT_API_URL: REFUSED.replace("//", "//me:a-password@")}):
        done = run("serve-flows", "-w", fresh)
    assert done.code == 4
    assert done.err == (
        f"error: the Prefect server at {REFUSED} cannot be reached "
        "(prefect server start, or set PREFECT_API_URL to the server that runs)\n"
    )


def test_the_process_that_waits_for_runs_is_light_and_reports_nothing() -> None:
    assert process(script=WAITS, environ={"PREFECT_HOME": os.devnull}).out == "[] 1\n"


def test_a_virtual_clock_is_refused(fresh: Path) -> None:
    done = run("serve-flows", "-w", fresh, "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (2, "usage")


@pytest.mark.usefixtures("prefect_server")
def test_a_deployment_of_a_work_pool_is_not_taken_over(fresh: Path) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="cryptocast", type="process"))
        client.create_deployment(
            client.create_flow(produce), deployment_name(fresh), work_pool_name="cryptocast"
        )
    done = run("serve-flows", "-w", fresh, "--json")
    assert (done.code, done.error["code"]) == (4, "flows.pooled")
    assert done.error["hint"] == "cryptocast schedule --kind prefect --remove"
