"""cryptocast audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.doctor import MARKS, checks_code
from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, line

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.values import Check

NAME = "audit"
EXAMPLE = "cryptocast audit --placebos 8"
_INDENT = " " * 9


def command(
    run: Run,
    version: Annotated[
        str | None,
        typer.Option(help="The version. Default: the one that serves."),
    ] = None,
    placebos: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of random walks to fit it on.")
    ] = 4,
) -> Answer:
    """Check that a model is honest: no look-ahead, and no skill where none is possible.

    Change every candle after an origin and compare the forecasts. Run the whole pipeline on
    random walks. Measure the skill again one candle later. Raise the alarm if the direction is
    right too often. Exit 6 if a check fails; nothing is written.
    """
    from cryptocast.documents import document
    from cryptocast.workflows.audit import audit

    with run.open() as ws:
        report = audit(ws, version=version, placebos=placebos)

    def show(console: Console) -> None:
        console.print(f"Audit of version {report.version} ({report.kind})", markup=False)
        for check in report.checks:
            _show_check(console, check)

    data = {
        "version": report.version,
        "model": report.kind,
        "checks": [document(check, without=("gaps",)) for check in report.checks],
        **report.figures,
    }
    return Answer(data, show, exit_code=checks_code(report.checks))


def _show_check(console: Console, check: Check) -> None:
    import textwrap

    text = f"{MARKS[check.status]}  {check.name}: {check.detail}"
    console.print(textwrap.fill(text, console.width, subsequent_indent=_INDENT), markup=False)
    if check.hint:
        line(console, f"{_INDENT}-> {check.hint}")
