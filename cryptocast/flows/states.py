"""The states that flows and their steps end in: a name and a message that say what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from cryptocast.display import counted, last_price
from cryptocast.errors import CryptocastError
from cryptocast.values import iso

if TYPE_CHECKING:
    from cryptocast.workflows.init import InitReport
    from cryptocast.workflows.learning.renewals import Renewals
    from cryptocast.workflows.serving.tick import TickReport

_NAMED = 3  # markets; a message is one line of a page


def failed(error: CryptocastError) -> State[Any]:
    """Return the Failed state that carries an error; its name is the error's code.

    A caller who unpacks the state gets the same exception.
    """
    hint = f" ({error.hint})" if error.hint else ""
    text = f"{error.code}: {error.message}{hint} [exit {error.exit_code}]"
    return Failed(data=error, name=error.code, message=text)


def served(report: TickReport) -> State[Any]:
    """Return Served, or There already if another process had stored the forecasts."""
    texts = []
    for forecast in report.forecasts[:_NAMED]:
        last = f"{last_price(forecast)} {forecast.market.quote}"
        texts.append(
            f"{forecast.market.symbol} {last} at {iso(forecast.origin)} by {forecast.model}"
        )
    if (more := len(report.forecasts) - _NAMED) > 0:
        texts.append(f"and {counted(more, 'more market')}")
    return Completed(name="Served" if report.new else "There already", message="; ".join(texts))


def initialized_before(report: InitReport) -> State[Any]:
    """Return There already, for a workspace that was finished before."""
    version, kind = report.production
    serving = f"it is served by version {version} ({kind})" if version else "it has no model"
    added = f"; added: {', '.join(report.added)}" if report.added else ""
    return Completed(name="There already", message=f"{serving}{added}")


def not_needed(reason: str) -> State[Any]:
    """Return Not needed, for a renewal that there was no reason for."""
    return Completed(name="Not needed", message=reason)


def renewed(renewals: Renewals) -> State[Any]:
    """Return Promoted, Kept, or the first failure of a pipeline that made models.

    A market that failed fails the run, as it does the command; what the others got is kept.
    """
    if renewals.failures:
        return failed(renewals.failures[0].error)
    decisions = renewals.decisions
    texts = [
        f"version {decision.version} ({decision.model}) "
        f"{'is promoted' if decision.promoted else 'stays'}: {decision.reason}"
        for decision in decisions[:_NAMED]
    ]
    promoted = any(decision.promoted for decision in decisions)
    return Completed(name="Promoted" if promoted else "Kept", message="; ".join(texts))
