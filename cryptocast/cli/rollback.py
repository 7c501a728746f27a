"""cryptocast rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

NAME = "rollback"
EXAMPLE = 'cryptocast rollback --reason "coverage fell after the last promotion"'


def command(
    run: Run,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="Only of this market, repeatable; needed where several versions serve."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in `deployments`.")] = None,
) -> Answer:
    """Put the production version before this one back; twice gives back the first."""
    from cryptocast.cli._shared import decision_data, decision_lines
    from cryptocast.workflows.rollback import rollback

    with run.open() as ws:
        decisions = rollback(ws, symbols=tuple(symbol or ()), reason=reason)
    told = [decision_data(decision) for decision in decisions]
    return Answer(
        {"decision": told[0], "decisions": told},
        lambda console: console.print("\n".join(decision_lines(decisions))),
    )
