"""Deployments on a Prefect server, for the workers of a work pool of processes.

`serve-flows` serves the same flows by itself; on a server, one of the two has a workspace.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptocast.errors import UsageError
from cryptocast.schedulers import Plan, Text, call, mark, unique_name
from cryptocast.values import INTERVAL_SECONDS

POOL = "cryptocast"
"""The work pool that the deployments are put into."""

_HINT = "pip install 'cryptocast[prefect]', prefect server start, and set PREFECT_API_URL"
_PATIENCE_SECONDS = 120.0  # Prefect's program takes seconds to start


@dataclass(frozen=True, slots=True)
class FlowSchedule:
    """When a flow runs: at `offset_seconds` after the epoch and every so often from there."""

    flow: str
    every_seconds: float | None  # None: only when somebody starts it
    offset_seconds: float
    parameters: dict[str, Any]

    def full_name(self, workspace: Path) -> str:
        """Return the flow's and the deployment's name, as Prefect's commands take them."""
        return f"cryptocast-{self.flow}/{deployment_name(workspace)}"


def deployment_name(workspace: Path) -> str:
    """Return the name that the deployments of a workspace have on a server."""
    return unique_name(workspace).removeprefix("cryptocast-")


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


def install(plan: Plan) -> bool:
    """Make the work pool if it is missing, and apply the deployments to it.

    Raises UsageError if `serve-flows` has registered them: a deployment of a pool would take
    them over.
    """
    existing = _deployed(plan.workspace)
    if existing is not None and existing.get("work_pool_name") is None:
        raise _served(plan.workspace)
    _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(texts(plan)[0].text, encoding="utf-8")
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(file))
    return True


def remove(workspace: Path) -> bool:
    """Delete the deployments. Raises UsageError if `serve-flows` has registered them."""
    existing = _deployed(workspace)
    if existing is None:
        return False
    if existing.get("work_pool_name") is None:
        raise _served(workspace)
    name = deployment_name(workspace)
    for flow in ("produce", "retrain", "initialize"):
        _prefect("deployment", "delete", f"cryptocast-{flow}/{name}")
    return True


def _lines(plan: Plan, flow: FlowSchedule) -> Iterator[str]:
    """Yield the lines of one deployment; a text in JSON's quotes is one in YAML's, too."""
    yield f"- name: {json.dumps(deployment_name(plan.workspace))}\n"
    yield f"  entrypoint: cryptocast.flows.{flow.flow}.{flow.flow}\n"
    yield f"  parameters: {json.dumps(flow.parameters)}\n"
    yield "  concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}\n"
    yield f"  work_pool: {{name: {POOL}, job_variables: {{env: {{DO_NOT_TRACK: '1'}}}}}}\n"
    yield "  pull: []\n"
    if flow.every_seconds is not None:
        anchor = datetime.fromtimestamp(flow.offset_seconds, UTC).isoformat("T", "milliseconds")
        yield "  schedules:\n"
        yield f"  - interval: {flow.every_seconds:g}\n"
        yield f"    anchor_date: '{anchor.removesuffix('+00:00')}Z'\n"
        yield "    timezone: UTC\n"


def _deployed(workspace: Path) -> dict[str, Any] | None:
    """Return what the server knows of the flow that forecasts here, or None."""
    name = f"cryptocast-produce/{deployment_name(workspace)}"
    text = _prefect("deployment", "inspect", name, "--output", "json", empty="not found")
    return dict(json.loads(text)) if text else None


def _served(workspace: Path) -> UsageError:
    """Return the error for deployments that `serve-flows` has registered."""
    name = deployment_name(workspace)
    return UsageError(
        f"the flows of {workspace} are served by serve-flows",
        code="usage.served",
        hint=f"stop it, then: prefect deployment delete cryptocast-produce/{name}",
    )


def _prefect(*words: str, empty: str | None = None) -> str:
    """Run Prefect's program, the one of this installation if there is one."""
    own = Path(sys.executable).parent / "prefect"
    program = str(own) if own.is_file() else "prefect"
    return call(program, *words, hint=_HINT, empty=empty, patience_seconds=_PATIENCE_SECONDS)
