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
    reason: Annotated[str | None, typer.Option(help="Why; kept in `deployments`.")] = None,
) -> Answer:
    """Put the production version before this one back; twice gives back the first."""
    from cryptocast.cli._shared import decision_data, decision_line
    from cryptocast.workflows.promote import rollback

    with run.open() as ws:
        decision = rollback(ws, reason=reason)
    return Answer(
        {"decision": decision_data(decision)},
        lambda console: console.print(decision_line(decision)),
    )
