"""Say what came of a pipeline that made models: its warnings and the state of its flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed

from cryptocast.flows.steps import TaskSteps, failed

if TYPE_CHECKING:
    from cryptocast.workflows.learning.renewals import Renewals
    from cryptocast.workflows.serving.fetching import FetchReport

_NAMED = 3


def renewed(candles: FetchReport, renewals: Renewals, steps: TaskSteps) -> State[Any]:
    """Log the warnings of a pipeline and return its state: Promoted, Kept, or the first failure.

    A market that failed fails the run, as it does the command; what the others got is kept.
    """
    from cryptocast.workflows.fetch import warnings_of

    errors = {failure.decision.market: failure.error for failure in renewals.failures}
    failures = [f"{market}: {error.message} ({error.hint})" for market, error in errors.items()]
    steps.warn(dict.fromkeys([*warnings_of(candles), *failures]))  # each of them once
    if errors:
        return failed(next(iter(errors.values())))
    decisions = renewals.decisions
    promoted = any(decision.promoted for decision in decisions)
    texts = [
        f"version {decision.version} ({decision.model}) {_verb(decision.promoted)}: "
        f"{decision.reason}"
        for decision in decisions[:_NAMED]
    ]
    return Completed(name="Promoted" if promoted else "Kept", message="; ".join(texts))


def _verb(promoted: bool) -> str:
    return "is promoted" if promoted else "stays"
