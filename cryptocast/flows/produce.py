"""produce: one tick as a flow: catch up, forecast every market, store the forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from cryptocast.errors import CryptocastError
from cryptocast.flows.artifacts import show_forecasts
from cryptocast.flows.opening import clock_at, opened
from cryptocast.flows.steps import TaskSteps, failed

if TYPE_CHECKING:
    from cryptocast.workflows.serving.tick import TickReport

_NAMED = 3


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
        with opened(workspace, clock_at(as_of), steps) as ws:
            report = tick(ws, fetch=fetch, symbols=tuple(symbols or ()))
            folder = ws.folder
    except CryptocastError as error:
        return failed(error)
    steps.warn(report.warnings)
    show_forecasts(folder, report.forecasts, steps)
    return Completed(name="Served" if report.new else "There already", message=_message(report))


def _message(report: TickReport) -> str:
    """Return what was forecast, by which version: the first markets."""
    from cryptocast.display import counted, last_price
    from cryptocast.values import iso

    texts = []
    for forecast in report.forecasts[:_NAMED]:
        by = f"version {forecast.model.version} ({forecast.model.kind})"
        by += f", standing in: {forecast.model.fallback}" if forecast.model.fallback else ""
        last = f"{last_price(forecast)} {forecast.market.quote}"
        texts.append(f"{forecast.market.symbol} {last} at {iso(forecast.origin)} by {by}")
    more = len(report.forecasts) - _NAMED
    return "; ".join([*texts, *([f"and {counted(more, 'more market')}"] if more > 0 else [])])
