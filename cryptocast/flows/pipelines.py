"""The pipelines as flows: make a workspace, make one tick, renew the model.

The workflows are imported inside the flows' bodies, because the process that waits for scheduled
runs imports this module too, and would otherwise hold MLflow in memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State

from cryptocast.clock import SystemClock, VirtualClock
from cryptocast.errors import CryptocastError
from cryptocast.flows import states
from cryptocast.flows.artifacts import show_forecasts, show_renewals
from cryptocast.flows.steps import TaskSteps
from cryptocast.seams import Clock
from cryptocast.values import parse_path, parse_time
from cryptocast.workspace import Workspace

if TYPE_CHECKING:
    from cryptocast.workflows.learning.renewals import Renewals
    from cryptocast.workflows.serving.fetching import FetchReport


@flow(name="cryptocast-initialize", persist_result=False)
def initialize(
    workspace: str,
    config: str | None = None,
    source: str | None = None,
    path: str | None = None,
    symbols: list[str] | None = None,
    days: float | None = None,
    trials: int | None = None,
    seed: int | None = None,
    as_of: str | None = None,
) -> State[Any]:
    """Make a workspace with a promoted model: fetch, split, tune, train, evaluate, promote.

    A run that was interrupted is continued by the next one. Paths are absolute.
    """
    from cryptocast.workflows.init import InitOptions, init

    settings = {
        "source.name": source,
        "source.path": path,
        "data.days": days,
        "tune.trials": trials,
    }
    steps = TaskSteps()
    try:
        report = init(
            _folder(workspace),
            InitOptions(
                Path(config) if config is not None else None,
                {key: value for key, value in settings.items() if value is not None},
                tuple(symbols or ()),
                seed,
            ),
            environ=os.environ,
            clock=_clock(as_of),
            progress=steps,
            steps=steps,
        )
    except CryptocastError as error:
        return states.failed(error)
    if report.candles is None or report.pipeline is None:
        return states.initialized_before(report)
    return _renewed(report.folder, report.candles, report.pipeline, {}, steps)


@flow(name="cryptocast-produce", persist_result=False)
def produce(
    workspace: str,
    symbols: list[str] | None = None,
    fetch: bool = True,
    as_of: str | None = None,
) -> State[Any]:
    """Make one tick at the present moment, however late the run starts.

    Repeated for the same origin it changes nothing.
    """
    from cryptocast.workflows.forecast import tick

    steps = TaskSteps()
    try:
        with _opened(workspace, as_of, steps) as ws:
            report = tick(ws, fetch=fetch, symbols=tuple(symbols or ()))
    except CryptocastError as error:
        return states.failed(error)
    steps.warn(report.warnings)
    show_forecasts(ws.folder, report.forecasts, steps)
    return states.served(report)


@flow(name="cryptocast-retrain", persist_result=False)
def retrain(
    workspace: str,
    if_needed: bool = False,
    flush: bool = False,
    seed: int = 0,
    as_of: str | None = None,
) -> State[Any]:
    """Renew the model from the newest candles; production stays if nothing is better.

    With `if_needed` only if the monitor says that the model declined and no cool-down holds; with
    `flush` old candles and resolved forecasts are archived first.
    """
    from cryptocast.workflows.retrain import retrain as renew

    steps = TaskSteps()
    try:
        with _opened(workspace, as_of, steps) as ws:
            report = renew(ws, seed=seed, clear=flush, if_needed=if_needed)
    except CryptocastError as error:
        return states.failed(error)
    if report.candles is None or report.pipeline is None:
        return states.not_needed(report.reason)
    return _renewed(ws.folder, report.candles, report.pipeline, report.findings, steps)


def _folder(workspace: str) -> Path:
    """Return the folder that a flow's parameter names."""
    return parse_path(workspace).resolve()


def _clock(as_of: str | None) -> Clock:
    """Return the virtual clock of a time, or the system's. Raises UsageError for no time."""
    return SystemClock() if as_of is None else VirtualClock(parse_time(as_of))


def _opened(workspace: str, as_of: str | None, steps: TaskSteps) -> Workspace:
    """Return the workspace that the parameter names, with its steps as tasks."""
    return Workspace.open(_folder(workspace), clock=_clock(as_of), progress=steps, steps=steps)


def _renewed(
    folder: Path,
    candles: FetchReport,
    renewals: Renewals,
    findings: Mapping[str, str | None],
    steps: TaskSteps,
) -> State[Any]:
    """Show what came of a pipeline that made models, log its warnings and return its state."""
    from cryptocast.workflows.fetch import warnings_of

    show_renewals(folder, renewals, findings, steps)
    failures = [
        f"{f.decision.market}: {f.error.message} ({f.error.hint})" for f in renewals.failures
    ]
    steps.warn(dict.fromkeys([*warnings_of(candles), *failures]))  # each of them once
    return states.renewed(renewals)
