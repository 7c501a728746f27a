"""Open a workspace for a flow: from plain parameters to a clock, a workspace and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptocast.clock import SystemClock, VirtualClock
from cryptocast.flows.steps import TaskSteps
from cryptocast.seams import Clock
from cryptocast.values import parse_time
from cryptocast.workspace import Workspace


def folder_of(workspace: str) -> Path:
    """Return the folder that a flow's parameter names."""
    return Path(workspace).expanduser().resolve()


def clock_at(as_of: str | None) -> Clock:
    """Return the virtual clock of a time, or the system's if none was given.

    Raises UsageError if the text is not a time.
    """
    return SystemClock() if as_of is None else VirtualClock(parse_time(as_of))


def opened(
    workspace: str, clock: Clock, steps: TaskSteps, options: Mapping[str, Any] | None = None
) -> Workspace:
    """Return the workspace that the parameter names, with its steps as tasks."""
    return Workspace.open(
        folder_of(workspace), options=options, clock=clock, progress=steps, steps=steps
    )
