"""schedule: let cron, systemd, launchd or Prefect tick after each close; shown or installed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptocast import schedulers, workspace
from cryptocast.config import Settings
from cryptocast.config.loading import ENVIRONMENT_PREFIX, NOT_SETTINGS
from cryptocast.errors import UsageError
from cryptocast.schedulers import Plan, Text
from cryptocast.workspace import Workspace

LOG = "schedule.log"
DOTENV, SHELL = ".env", "shell"
_KEYED = "coincap"  # the only source with a key
_HTTP_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that a tick depends on; never its value."""

    name: str
    found: str | None  # ".env"; "shell": only in this one; None: nowhere
    warning: str | None  # why a scheduled tick would lack it, and what to do


@dataclass(frozen=True, slots=True)
class Schedule:
    """The way a workspace's ticks are scheduled."""

    kind: str
    when: str  # how often, in the scheduler's own words
    command: tuple[str, ...]
    log: Path
    texts: tuple[Text, ...]
    variables: tuple[Variable, ...]
    changed: bool = False  # whether installing changed anything


def schedule(ws: Workspace, kind: str) -> Schedule:
    """Return what the scheduler must read. Nothing is written.

    Raises ConfigError for an unknown kind, UsageError if its lines cannot hold the folder's
    path.
    """
    scheduler = schedulers.get(kind)
    plan = plan_of(ws.settings, ws.folder)
    return Schedule(
        kind,
        scheduler.when(plan),
        plan.command,
        plan.log,
        scheduler.texts(plan),
        tuple(_variables(ws.settings, ws.folder, kind)),
    )


def install(ws: Workspace, kind: str, put: Callable[[Plan], bool]) -> Schedule:
    """Give the ticks to the scheduler; done twice, they are there once. Lines of others stay.

    `put` does it and returns whether anything changed: for cron, `schedulers.cron.install`.
    Raises what `schedule` and `put` raise, and UsageError if the log's folder cannot be made.
    """
    shown = schedule(ws, kind)
    plan = plan_of(ws.settings, ws.folder)
    try:
        plan.log.parent.mkdir(exist_ok=True)  # neither cron nor systemd makes it
    except OSError as error:
        raise UsageError(
            f"{plan.log.parent} cannot be created: {error.strerror}",
            hint="give the user that runs cryptocast the right to write there",
        ) from error
    return replace(shown, changed=put(plan))


def plan_of(settings: Settings, workspace_folder: Path) -> Plan:
    """Return the tick that the scheduler starts. Raises UsageError for an unfit path."""
    folder = schedulers.checked(workspace_folder)
    # This installation's own program, wherever PATH leads. The link in a virtual environment is
    # not followed: the Python behind it has no packages.
    python = Path(sys.executable)
    script = python.parent / "cryptocast"
    program = (str(script),) if script.is_file() else (str(python), "-m", "cryptocast")
    tick = ("forecast", "--once", "--quiet", "--workspace", str(folder))
    return Plan(
        workspace=folder,
        command=(*program, *tick),
        log=folder / "logs" / LOG,
        interval=settings.markets()[0].interval,
        offsets=frozenset({-time.timezone, -time.altzone}),
        delay_seconds=settings.loop.delay_seconds,
        monitor_minutes=settings.monitor.every_minutes,
    )


def _variables(settings: Settings, folder: Path, kind: str) -> Iterator[Variable]:
    """Yield the variables that a tick here depends on: a scheduler has none of this shell's."""
    kept = workspace.with_dotenv(folder, {})
    sources = {market.source for market in settings.markets()}
    sources |= {fallback.name for fallback in settings.source.fallback}
    needed = [settings.source.api_key.removeprefix("env:")] if _KEYED in sources else []
    overriding = [
        variable
        for variable in sorted(os.environ)
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in NOT_SETTINGS
    ]
    for variable in dict.fromkeys([*needed, *overriding]):
        yield _variable(variable, kept, folder / ".env")
    for variable in sorted(os.environ):
        if variable.upper() in _HTTP_VARIABLES:
            warning = f"{variable} is set in this shell only: set it for {kind} too"
            yield Variable(variable, SHELL, warning)


def _variable(variable: str, kept: Mapping[str, str], file: Path) -> Variable:
    """Return where a variable is set, with a warning if that is not the workspace's `.env`."""
    if kept.get(variable):
        return Variable(variable, DOTENV, None)
    if os.environ.get(variable):
        reason = f"{variable} is set in this shell only, and a scheduled tick does not see it"
        return Variable(variable, SHELL, f"{reason}: write it into {file}")
    return Variable(variable, None, f"{variable} is not set: write it into {file}")
