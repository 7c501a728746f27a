"""The deployments of a workspace's flows on a server: served by `serve-flows`, or in a work pool.

Prefect would let the one take over the other's deployment of the same name, so both refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.schedules import Interval, Schedule
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from cryptocast.errors import FlowsError, UsageError
from cryptocast.flows import pipelines
from cryptocast.flows.server import api_url, connected
from cryptocast.schedulers import Plan
from cryptocast.schedulers.prefect import (
    FLOWS,
    JOB_VARIABLES,
    POOL,
    FlowSchedule,
    deployment_name,
    flow_schedules,
    full_name,
)

_OURS = {
    "description",
    "entrypoint",
    "parameters",
    "concurrency_options",
    "global_concurrency_limit",
    "work_pool_name",
    "job_variables",
    "paused",
    "schedules",
}
"""What a deployment is made of; the rest is the server's own book-keeping."""


def install(plan: Plan) -> bool:
    """Make the work pool if it is missing, and apply the deployments; say whether any changed.

    Raises ConfigError without an address of a server, FlowsError if it cannot be reached or
    refuses, and UsageError (`usage.served`) if `serve-flows` has registered the flows.
    """
    with connected(api_url()) as client:
        before = _pooled(client, plan.workspace)
        template = ProcessWorker.get_default_base_job_template()
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(
                WorkPoolCreate(name=POOL, type="process", base_job_template=template)
            )
        for flow in flow_schedules(plan):
            deployment(flow, plan.workspace, pool=POOL).apply()
        return _contents(_pooled(client, plan.workspace)) != _contents(before)


def remove(workspace: Path) -> bool:
    """Delete the deployments from the work pool; say whether there were any.

    Raises what `install` raises.
    """
    with connected(api_url()) as client:
        pooled = _pooled(client, workspace)
        for one in pooled:
            client.delete_deployment(one.id)
        return bool(pooled)


def deployment(planned: FlowSchedule, folder: Path, pool: str | None = None) -> RunnerDeployment:
    """Return the deployment of one flow for this workspace; a second run at once is cancelled."""
    flow = getattr(pipelines, planned.flow)
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
        work_pool_name=pool,
        job_variables=JOB_VARIABLES if pool is not None else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def refuse_pooled(client: SyncPrefectClient, folder: Path) -> None:
    """Raise FlowsError if a work pool has a deployment of this workspace."""
    for name, existing in _existing(client, folder):
        if existing.work_pool_name is not None:
            raise FlowsError(
                f"{name} is deployed to the work pool '{existing.work_pool_name}'",
                code="flows.pooled",
                hint="cryptocast schedule --kind prefect --remove",
            )


def _pooled(client: SyncPrefectClient, folder: Path) -> list[DeploymentResponse]:
    """Return the workspace's deployments. Raises UsageError if `serve-flows` registered one."""
    existing = dict(_existing(client, folder))
    served = [name for name, one in existing.items() if one.work_pool_name is None]
    if served:
        deletions = "; ".join(f"prefect deployment delete {name}" for name in served)
        raise UsageError(
            f"the flows of {folder} are served by serve-flows",
            code="usage.served",
            hint=f"stop it, then: {deletions}",
        )
    return list(existing.values())


def _existing(client: SyncPrefectClient, folder: Path) -> Iterator[tuple[str, DeploymentResponse]]:
    """Yield the deployments that the server has of this workspace, with their full names."""
    for flow in FLOWS:
        name = full_name(flow, folder)
        with suppress(ObjectNotFound):
            yield name, client.read_deployment_by_name(name)


def _contents(deployments: list[DeploymentResponse]) -> list[dict[str, Any]]:
    """Return what deployments are made of, to be compared: no ids, no times of a change."""
    contents = []
    for one in deployments:
        content = one.model_dump(include=_OURS)
        content["schedules"] = [(s.schedule, s.active) for s in one.schedules]
        contents.append(content)
    return contents


def _schedule(planned: FlowSchedule) -> Schedule | None:
    """Return the schedule of a flow, or None; a crontab's fields would know no seconds."""
    if planned.every_seconds is None:
        return None
    anchor = datetime.fromtimestamp(planned.offset_seconds, UTC)
    return Interval(timedelta(seconds=planned.every_seconds), anchor_date=anchor, timezone="UTC")
