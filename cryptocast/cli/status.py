"""cryptocast status."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.root.options import Run, Symbols
from cryptocast.cli.root.output import Answer

if TYPE_CHECKING:
    from rich.console import Console

NAME = "status"
EXAMPLE = "cryptocast status --watch"


def command(
    run: Run,
    watch: Annotated[
        bool, typer.Option("--watch", help="Redraw it as it changes, until Ctrl-C.")
    ] = False,
    symbols: Symbols = None,
) -> Answer | None:
    """Show price, forecast, health and problems on one screen.

    One market is drawn as a chart; several are a table, the worst first (--symbol draws one).
    """
    from cryptocast.answers.states import status_document
    from cryptocast.workflows.status import status

    chosen = tuple(symbols or ())
    if watch:
        _watch(run, chosen)
        return None
    with run.open() as ws:
        report = status(ws, symbols=chosen)

    def show(console: Console) -> None:
        from cryptocast.cli.screens.status import is_plain, screen

        height = console.height if sys.stdout.isatty() else None
        for line in screen(report, width=console.width, height=height, plain=is_plain(console)):
            console.print(line, no_wrap=True, crop=False)

    return Answer(status_document(report), show)


def _watch(run: Run, symbols: tuple[str, ...]) -> None:
    from cryptocast.cli.screens.status import watch
    from cryptocast.errors import UsageError

    if run.as_json or run.quiet or not sys.stdout.isatty():
        raise UsageError(
            "--watch draws on a terminal", hint="for a script: cryptocast status --json"
        )
    with run.open() as ws:
        watch(ws, symbols)
