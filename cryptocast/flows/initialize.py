"""initialize: make an empty folder a workspace with a promoted model, as a flow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from cryptocast.errors import CryptocastError
from cryptocast.flows.artifacts import show_renewals
from cryptocast.flows.opening import clock_at, folder_of
from cryptocast.flows.renewed import renewed
from cryptocast.flows.steps import TaskSteps, failed


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
            folder_of(workspace),
            InitOptions(
                Path(config) if config is not None else None,
                {key: value for key, value in settings.items() if value is not None},
                tuple(symbols or ()),
                seed,
            ),
            environ=os.environ,
            clock=clock_at(as_of),
            progress=steps,
            steps=steps,
        )
    except CryptocastError as error:
        return failed(error)
    if report.candles is None or report.pipeline is None:
        version, kind = report.production
        added = f"; added: {', '.join(report.added)}" if report.added else ""
        serving = f"it is served by version {version} ({kind})" if version else "it has no model"
        return Completed(name="There already", message=f"{serving}{added}")
    show_renewals(report.folder, report.pipeline, {}, steps)
    return renewed(report.candles, report.pipeline, steps)
