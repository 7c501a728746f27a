"""When Prefect runs the flows of a workspace, and the `prefect.yaml` that says so.

`flows.deployments` installs and removes them, because only that room imports Prefect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptocast.schedulers import Plan, Text, mark, unique_name
from cryptocast.values import INTERVAL_SECONDS

POOL = "cryptocast"
"""The work pool that the deployments are put into."""

JOB_VARIABLES = {"env": {"DO_NOT_TRACK": "1"}}
"""What the pool's workers give to the processes that they start."""

FLOWS = ("produce", "retrain", "initialize")


@dataclass(frozen=True, slots=True)
class FlowSchedule:
    """When a flow runs: at `offset_seconds` after the epoch and every so often from there."""

    flow: str
    every_seconds: float | None  # None: only when somebody starts it
    offset_seconds: float
    parameters: dict[str, Any]


def deployment_name(workspace: Path) -> str:
    """Return the name that the deployments of a workspace have on a server."""
    return unique_name(workspace).removeprefix("cryptocast-")


def full_name(flow: str, workspace: Path) -> str:
    """Return the flow's and the deployment's name, as Prefect's commands take them."""
    return f"cryptocast-{flow}/{deployment_name(workspace)}"


def flow_schedules(plan: Plan) -> tuple[FlowSchedule, ...]:
    """Return the flows of a workspace: ticks and renewals with a rhythm, `initialize` last."""
    workspace = {"workspace": str(plan.workspace)}
    every = float(INTERVAL_SECONDS[plan.interval])
    # Renewals begin in the middle between two ticks, so that they don't wait for each other.
    between = plan.delay_seconds + every / 2
    return (
        FlowSchedule("produce", every, plan.delay_seconds, workspace),
        FlowSchedule(
            "retrain", plan.monitor_minutes * 60, between, {**workspace, "if_needed": True}
        ),
        FlowSchedule("initialize", None, 0.0, workspace),
    )


def when(plan: Plan) -> str:
    """Return in words how often the flow that forecasts runs."""
    return f"every {plan.interval}, {plan.delay_seconds:g} s after the close"


def texts(plan: Plan) -> tuple[Text, ...]:
    """Return the `prefect.yaml` that `prefect deploy --all` reads."""
    deployments = "".join(line for flow in flow_schedules(plan) for line in _lines(plan, flow))
    return (Text("prefect.yaml", f"{mark(plan.workspace)}\ndeployments:\n{deployments}"),)


def _lines(plan: Plan, flow: FlowSchedule) -> Iterator[str]:
    """Yield the lines of one deployment; a text in JSON's quotes is one in YAML's, too."""
    yield f"- name: {json.dumps(deployment_name(plan.workspace))}\n"
    yield f"  entrypoint: cryptocast.flows.pipelines.{flow.flow}\n"
    yield f"  parameters: {json.dumps(flow.parameters)}\n"
    yield "  concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}\n"
    yield f"  work_pool: {{name: {POOL}, job_variables: {json.dumps(JOB_VARIABLES)}}}\n"
    yield "  pull: []\n"
    if flow.every_seconds is not None:
        anchor = datetime.fromtimestamp(flow.offset_seconds, UTC).isoformat("T", "milliseconds")
        yield "  schedules:\n"
        yield f"  - interval: {flow.every_seconds:g}\n"
        yield f"    anchor_date: '{anchor.removesuffix('+00:00')}Z'\n"
        yield "    timezone: UTC\n"
