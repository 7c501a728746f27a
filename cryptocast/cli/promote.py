"""cryptocast promote."""

from __future__ import annotations

from typing import Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

NAME = "promote"
EXAMPLE = "cryptocast promote 3"


def command(
    run: Run,
    version: Annotated[str, typer.Argument(help="The version, as `cryptocast models` lists it.")],
    force: Annotated[bool, typer.Option("--force", help="Overrule the gate.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; needed with --force.")] = None,
) -> Answer:
    """Make a version production, if the gate agrees; refused: exit 6.

    Where each market has a model of its own, one that learned from a single market is for it.
    """
    from cryptocast.cli._shared import decision_data, decision_line
    from cryptocast.workflows.promote import promote

    with run.open() as ws:
        decision = promote(ws, version, force=force, reason=reason)
    return Answer(
        {"decision": decision_data(decision)},
        lambda console: console.print(decision_line(decision)),
    )
