"""cryptocast rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from cryptocast.cli.promote import decision_document, show_decisions
from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer

NAME = "rollback"
EXAMPLE = 'cryptocast rollback --reason "coverage fell after the last promotion"'


def command(
    run: Run,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="Only this market; repeatable. Needed if several versions serve."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="The reason; kept in the table `deployments`.")
    ] = None,
) -> Answer:
    """Make the previous production version production again; twice undoes it."""
    from cryptocast.workflows.rollback import rollback

    with run.open() as ws:
        decisions = rollback(ws, symbols=tuple(symbol or ()), reason=reason)
    documents = [decision_document(decision) for decision in decisions]
    return Answer(
        {"decision": documents[0], "decisions": documents},
        lambda console: show_decisions(console, decisions),
    )
