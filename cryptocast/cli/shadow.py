"""cryptocast shadow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

NAME = "shadow"
EXAMPLE = "cryptocast shadow 4"


def command(
    run: Run,
    version: Annotated[
        str | None, typer.Argument(help="The version; left out: tell which one it is.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="No version shadows any more.")] = False,
) -> Answer:
    """Let a challenger forecast beside production at every tick, unserved.

    Its sets lie in the ledger with served = false, to be compared with what was served.
    """
    from cryptocast.errors import UsageError
    from cryptocast.workflows.shadow import shadow

    if stop and version is not None:
        raise UsageError("--stop takes no version", hint="cryptocast shadow --stop")
    with run.open() as ws:
        report = shadow(ws, version, stop=stop)
    data = {"version": report.version, "before": report.before}

    def show(console: Console) -> None:
        if report.version is None:
            console.print("no version shadows production")
        else:
            console.print(f"version {report.version} shadows production from the next tick on")

    return Answer(data, show)
