"""serve-flows: what it registers, what it refuses, and how it starts again after a kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("prefect", reason="Prefect is not installed: pip install 'cryptocast[prefect]'")

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from cryptocast.cli.root.hints import as_typed
from cryptocast.flows import server, serving
from cryptocast.schedulers.prefect import deployment_name
from support.commands import AS_OF, HELD, NEXT, good, query, run, start

# The command, which says at its end what its process had imported.
SERVING = """
import os, sys
from cryptocast import cli
code = cli.run(sys.argv[1:])
heavy = ("torch", "lightning", "mlflow", "optuna", "pandas", "matplotlib")
print([name for name in heavy if name in sys.modules], os.environ["DO_NOT_TRACK"], code)
"""
LATER = "2024-06-03T00:20:00Z"
SETS = "SELECT mode, count(*) FROM forecast_sets GROUP BY mode ORDER BY mode"
REFUSED = "http://127.0.0.1:9/api"


class Served:
    """A process that serves the flows of a workspace."""

    def __init__(self, workspace: Path, server: str) -> None:
        # The next scheduled tick is minutes away, so that it does not meet those of the test.
        away = (time.time() + 200) % 300
        environ = {"PREFECT_API_URL": server, "CRYPTOCAST_LOOP__DELAY_SECONDS": f"{away:.0f}"}
        words = ("serve-flows", "-w", workspace, "--json")
        self.child = start(*words, script=SERVING, environ=environ)
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

    def end(self, number: int = signal.SIGTERM) -> str:
        """Send a signal, wait for the end, and return what was written."""
        self.child.send_signal(number)
        return self.child.communicate(timeout=60)[0]


@contextmanager
def held(workspace: Path) -> Iterator[None]:
    """Somebody holds the store, so that a tick waits."""
    with start(workspace / "cryptocast.duckdb", script=HELD) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate("\n", timeout=30)


def tick(deployment: str, workspace: Path, at: str, late_minutes: float = 0) -> FlowRun:
    """Ask the server for a run of the tick, which was due that long ago."""
    due = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=late_minutes))
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        parameters = {"workspace": str(workspace), "as_of": at}
        return client.create_flow_run_from_deployment(found.id, parameters=parameters, state=due)


def await_state(flow_run: FlowRun, *names: str) -> str:
    """Wait until a run has one of these states."""
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while (name := client.read_flow_run(flow_run.id).state_name) not in names:
            assert time.monotonic() < deadline, name
            time.sleep(0.2)
    return str(name)


def test_after_a_kill_and_twenty_minutes_one_tick_makes_up_for_what_was_missed(
    fresh: Path, prefect_server: str
) -> None:
    name = f"cryptocast-produce/{deployment_name(fresh)}"
    good("forecast", "--once", "-w", fresh, "--as-of", AS_OF)
    first = Served(fresh, prefect_server)
    assert [flow["deployment"] for flow in first.told["flows"]] == [
        name, name.replace("produce", "retrain"), name.replace("produce", "initialize"),
    ]  # fmt: skip
    assert (first.told["crashed"], first.told["initializing"]) == (0, False)
    with held(fresh):
        killed = tick(name, fresh, NEXT)
        await_state(killed, "Running")
        engines = first.children()
        assert engines
        first.end(signal.SIGKILL)
        for engine in engines:
            os.kill(engine, signal.SIGKILL)
    assert query(fresh, SETS) == [("live", 1)]

    # Nobody serves for 20 minutes: four runs are late, and the next tick sees the newest origin.
    late = [tick(name, fresh, LATER, minutes) for minutes in (20, 15, 10, 5)]
    second = Served(fresh, prefect_server)
    assert second.told["crashed"] == 1
    assert await_state(killed, "Crashed") == "Crashed"
    refused = run("serve-flows", "-w", fresh, "--json")
    assert (refused.code, refused.error["code"]) == (4, "serve-flows.running")
    ended = [await_state(run, "Served", "There already", "Cancelled") for run in late]
    assert ended.count("Served") == 1
    assert query(fresh, SETS) == [("backfill", 3), ("live", 2)]
    with get_client(sync_client=True) as client:
        served = client.read_deployment_by_name(name)
    (schedule,) = served.schedules
    assert schedule.schedule.interval == timedelta(minutes=5)
    assert schedule.schedule.anchor_date < datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    assert served.parameters == {"workspace": str(fresh)}
    # The process that waits for runs is light and reports nothing; it leaves the schedule on.
    assert second.end() == "[] 1 0\n"
    with get_client(sync_client=True) as client:
        assert not client.read_deployment_by_name(name).paused
    for option in ("--install", "--remove"):
        done = run("schedule", "--kind", "prefect", option, "-w", fresh, "--json")
        assert (done.code, done.error["code"]) == (2, "usage.served")
        assert f"prefect deployment delete {name};" in done.error["hint"]


@pytest.mark.usefixtures("prefect_server")
def test_the_deployments_go_into_a_pool_once_and_are_deleted_again(fresh: Path) -> None:
    options = ("schedule", "--kind", "prefect", "-w", fresh)
    assert good(*options, "--install")["changed"] is True
    assert run(*options, "--install").out.startswith("is already in prefect (every 5m, ")
    with get_client(sync_client=True) as client:
        for printed in yaml.safe_load(run(*options).out)["deployments"]:
            flow = printed["entrypoint"].rpartition(".")[2]
            found = client.read_deployment_by_name(f"cryptocast-{flow}/{printed['name']}")
            assert found.entrypoint == printed["entrypoint"]
            assert found.parameters == printed["parameters"]
            assert found.work_pool_name == printed["work_pool"]["name"]
            assert found.job_variables == printed["work_pool"]["job_variables"]
            rhythms = [one.schedule.model_dump(mode="json") for one in found.schedules]
            assert [rhythm["interval"] for rhythm in rhythms] == [
                schedule["interval"] for schedule in printed.get("schedules", [])
            ]
        client.delete_deployment(found.id)
    assert good(*options, "--install")["changed"] is True
    done = run("serve-flows", "-w", fresh, "--json")
    assert (done.code, done.error["code"]) == (4, "flows.pooled")
    assert done.error["hint"] == as_typed("cryptocast schedule --kind prefect --remove")
    assert good(*options, "--remove")["changed"] is True
    assert good(*options, "--remove")["changed"] is False


@pytest.mark.usefixtures("prefect_server")
def test_of_overdue_runs_the_newest_stays_and_those_with_parameters_of_their_own(
    fresh: Path,
) -> None:
    good("schedule", "--kind", "prefect", "--install", "-w", fresh)
    name = f"cryptocast-produce/{deployment_name(fresh)}"
    own = tick(name, fresh, AS_OF, 30)
    with get_client(sync_client=True) as client:
        produce = client.read_deployment_by_name(name).id
        dues = [datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (-15, -10, -5, 5)]
        runs = [
            client.create_flow_run_from_deployment(produce, state=Scheduled(scheduled_time=due))
            for due in dues
        ]
        serving.cancel_overdue(client, [produce])
        states = [client.read_flow_run(run.id).state_name for run in [own, *runs]]
    assert states == ["Scheduled", "Cancelled", "Cancelled", "Scheduled", "Scheduled"]


CONTACTS = [
    ("serve-flows",),
    ("schedule", "--kind", "prefect", "--install"),
    ("schedule", "--kind", "prefect", "--remove"),
]


@pytest.mark.parametrize("words", CONTACTS)
def test_without_the_address_of_a_server_nothing_starts(
    fresh: Path, words: tuple[str, ...]
) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        done = run(*words, "-w", fresh, "--json")
    assert (done.code, done.error["code"]) == (2, "config.prefect")
    assert "export PREFECT_API_URL=http://127.0.0.1:4200/api" in done.error["hint"]


@pytest.mark.parametrize("words", CONTACTS)
def test_a_server_that_is_not_there_is_one_line(fresh: Path, words: tuple[str, ...]) -> None:
    with temporary_settings({PREFECT_API_URL: REFUSED.replace("//", "//me:a-password@")}):
        done = run(*words, "-w", fresh)
    assert (done.code, done.out) == (4, "")
    assert done.err == (
        f"error: the Prefect server at {REFUSED} cannot be reached "
        "(prefect server start, or set PREFECT_API_URL to the server that runs)\n"
    )


def test_a_server_that_says_nothing_is_not_waited_for(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: address}):
            done = run("serve-flows", "-w", fresh, "--json")
    assert (done.code, done.error["code"]) == (4, "flows.unreachable")


def test_a_virtual_clock_is_refused(fresh: Path) -> None:
    done = run("serve-flows", "-w", fresh, "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (2, "usage")
