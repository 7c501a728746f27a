"""retrain: renew the model as a flow, after archiving old candles if asked to."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from cryptocast.errors import CryptocastError
from cryptocast.flows.artifacts import show_renewals
from cryptocast.flows.opening import clock_at, opened
from cryptocast.flows.renewed import renewed
from cryptocast.flows.steps import TaskSteps, failed


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
        with opened(workspace, clock_at(as_of), steps) as ws:
            report = renew(ws, seed=seed, clear=flush, if_needed=if_needed)
            folder = ws.folder
    except CryptocastError as error:
        return failed(error)
    if report.candles is None or report.pipeline is None:
        return Completed(name="Not needed", message=report.reason)
    show_renewals(folder, report.pipeline, report.findings, steps)
    return renewed(report.candles, report.pipeline, steps)
