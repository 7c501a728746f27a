"""cryptocast shadow."""

from __future__ import annotations

from typing import Annotated

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, sentences

NAME = "shadow"
EXAMPLE = "cryptocast shadow 4"


def command(
    run: Run,
    version: Annotated[
        str | None, typer.Argument(help="The version; without it: show the present one.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the present shadow.")] = False,
) -> Answer:
    """Let a challenger forecast beside production at every tick, unserved.

    Its sets are kept in the ledger with served = false, to be compared with the served ones.
    """
    from cryptocast.documents import document
    from cryptocast.errors import UsageError
    from cryptocast.workflows.shadow import shadow

    if stop and version is not None:
        raise UsageError("--stop takes no version", hint="cryptocast shadow --stop")
    with run.open() as ws:
        report = shadow(ws, version, stop=stop)
    text = "no version shadows production"
    if report.version is not None:
        text = f"version {report.version} shadows production from the next tick on"
    return Answer(document(report), sentences(text))
