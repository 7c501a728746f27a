"""Serve the flows of a workspace: register them with the Prefect server and run what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    State,
    StateType,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.flows import Flow
from prefect.runner import Runner
from prefect.schedules import Interval, Schedule
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType

from cryptocast.errors import FlowsError
from cryptocast.flows.initialize import initialize
from cryptocast.flows.produce import produce
from cryptocast.flows.retrain import retrain
from cryptocast.flows.server import answering, api_url, require_server
from cryptocast.locks import alone
from cryptocast.schedulers.prefect import FlowSchedule, deployment_name, flow_schedules
from cryptocast.workflows.schedule import plan_of
from cryptocast.workspace import Workspace

_LEFT_RUNNING = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_READ_AT_ONCE = 200
_MOST_RUNS = 3  # one run of each flow
_FLOWS: dict[str, Flow[..., Any]] = {
    "produce": produce,
    "retrain": retrain,
    "initialize": initialize,
}


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
    their places for minutes. Raises ConfigError without an address of a server, StoreError
    (`serve-flows.running`) if another process serves this workspace, and FlowsError if the server
    cannot be reached or refuses, or if a work pool has these flows.
    """
    server = api_url()
    planned = flow_schedules(plan_of(ws.settings, ws.folder))
    deployments = [_deployment(_FLOWS[one.flow], ws.folder, one) for one in planned]
    runner = Runner(name=deployment_name(ws.folder), limit=_MOST_RUNS, pause_on_shutdown=False)
    with alone(ws.folder, "serve-flows"), answering(server):
        with get_client(sync_client=True) as client:
            require_server(client, server)
            for deployment in deployments:
                _refuse_pooled(client, deployment)
        ids = asyncio.run(_register(runner, deployments))
        with get_client(sync_client=True) as client:
            crashed = _crash_leftovers(client, ids)
            initializing = not _has_model(ws)
            if initializing:
                client.create_flow_run_from_deployment(ids[-1])
        ws.close()
        flows = tuple(ServedFlow(one.full_name(ws.folder), one.every_seconds) for one in planned)
        announce(Service(server, flows, crashed, initializing))
        try:
            asyncio.run(runner.start())
        except (KeyboardInterrupt, TerminationSignal):
            return


def _deployment(flow: Flow[..., Any], folder: Path, planned: FlowSchedule) -> RunnerDeployment:
    """Return the deployment of one flow for this workspace; a second run at once is cancelled."""
    return RunnerDeployment.from_flow(
        flow,
        deployment_name(folder),
        schedule=_schedule(planned),
        parameters=planned.parameters,
        description=f"{flow.description}\n\nWorkspace: {folder}",
        tags=["cryptocast"],
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _schedule(planned: FlowSchedule) -> Schedule | None:
    """Return the schedule of a flow, or None; a crontab's fields would know no seconds."""
    if planned.every_seconds is None:
        return None
    anchor = datetime.fromtimestamp(planned.offset_seconds, UTC)
    return Interval(timedelta(seconds=planned.every_seconds), anchor_date=anchor, timezone="UTC")


async def _register(runner: Runner, deployments: Sequence[RunnerDeployment]) -> list[UUID]:
    """Register the deployments with the server and return their ids, in the same order."""
    return [await runner.aadd_deployment(deployment) for deployment in deployments]


def _refuse_pooled(client: SyncPrefectClient, deployment: RunnerDeployment) -> None:
    """Raise FlowsError if a work pool has this deployment: serving would take it over."""
    existing = _existing(client, f"{deployment.flow_name}/{deployment.name}")
    if existing is not None and existing.work_pool_name is not None:
        raise FlowsError(
            f"{deployment.flow_name}/{deployment.name} is deployed to the work pool "
            f"'{existing.work_pool_name}'",
            code="flows.pooled",
            hint="cryptocast schedule --kind prefect --remove",
        )


def _existing(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """Return the deployment of that name, or None."""
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


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


def _has_model(ws: Workspace) -> bool:
    """Return whether any market of the workspace is served by a model."""
    with ws.store.read() as reader:
        return bool(reader.productions().of_markets(ws.markets()))
