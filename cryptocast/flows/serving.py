"""Serve the flows of a workspace: register them with the Prefect server and run what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import TerminationSignal
from prefect.runner import Runner
from prefect.states import Cancelled, Crashed

from cryptocast.flows.deployments import deployment, refuse_pooled
from cryptocast.flows.server import answering, api_url, connected
from cryptocast.locks import alone
from cryptocast.schedulers.prefect import deployment_name, flow_schedules, full_name
from cryptocast.workflows.schedule import plan_of
from cryptocast.workspace import Workspace

_LEFT_RUNNING = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_READ_AT_ONCE = 200
_MOST_RUNS = 3  # one run of each flow


@dataclass(frozen=True, slots=True)
class ServedFlow:
    """One flow as the server knows it."""

    deployment: str  # flow and deployment, as `prefect deployment run` takes it
    every_seconds: float | None  # None: it runs only when somebody starts it


@dataclass(frozen=True, slots=True)
class Service:
    """The flows of a workspace, registered and about to be served."""

    server: str  # the address of its API
    flows: tuple[ServedFlow, ...]
    crashed: int  # runs that an earlier process left behind, now marked as crashed
    initializing: bool  # whether the first model is made now, because there is none


def serve_flows(ws: Workspace, announce: Callable[[Service], None]) -> None:
    """Register the flows of a workspace, call `announce`, and run what is due until stopped.

    Runs that an earlier process left behind are marked as crashed first, because they would keep
    their places for minutes; of overdue runs only the newest stays. Raises ConfigError without
    an address of a server, StoreError (`serve-flows.running`) if another process serves this
    workspace, and FlowsError if the server cannot be reached or refuses, or if a work pool has
    these flows.
    """
    server = api_url()
    planned = flow_schedules(plan_of(ws.settings, ws.folder))
    deployments = [deployment(one, ws.folder) for one in planned]
    runner = Runner(name=deployment_name(ws.folder), limit=_MOST_RUNS, pause_on_shutdown=False)
    with alone(ws.folder, "serve-flows"):
        with connected(server) as client:
            refuse_pooled(client, ws.folder)
            ids = asyncio.run(_register(runner, deployments))
            crashed = _crash_leftovers(client, ids)
            cancel_overdue(client, ids)
            with ws.store.read() as reader:
                initializing = not reader.productions().of_markets(ws.markets())
            if initializing:
                client.create_flow_run_from_deployment(ids[-1])
        ws.close()
        flows = tuple(
            ServedFlow(full_name(one.flow, ws.folder), one.every_seconds) for one in planned
        )
        announce(Service(server, flows, crashed, initializing))
        with answering(server), suppress(KeyboardInterrupt, TerminationSignal):
            asyncio.run(runner.start())


async def _register(runner: Runner, deployments: Sequence[RunnerDeployment]) -> list[UUID]:
    """Register the deployments with the server and return their ids, in the same order."""
    return [await runner.aadd_deployment(deployment) for deployment in deployments]


def _crash_leftovers(client: SyncPrefectClient, deployments: Sequence[UUID]) -> int:
    """Mark runs that nobody runs any more as crashed; return how many there were."""
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_LEFT_RUNNING))
        ),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(deployments))),
        limit=_READ_AT_ONCE,
    )
    for run in runs:
        state: State[Any] = Crashed(
            message="The process that ran it is gone; the next run continues."
        )
        client.set_flow_run_state(run.id, state, force=True)
    return len(runs)


def cancel_overdue(client: SyncPrefectClient, deployments: Sequence[UUID]) -> None:
    """Cancel each deployment's overdue runs except the newest, which makes up for the others.

    Runs that somebody started with parameters of his own stay.
    """
    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),  # type: ignore[arg-type]  # pydantic makes it its own kind of time
    )
    for one in deployments:
        runs = client.read_flow_runs(
            flow_run_filter=overdue,
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[one])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=_READ_AT_ONCE,
        )
        usual = client.read_deployment(one).parameters
        for run in [run for run in runs if run.parameters == usual][1:]:
            state: State[Any] = Cancelled(message="A later run makes up for it.")
            client.set_flow_run_state(run.id, state, force=True)
