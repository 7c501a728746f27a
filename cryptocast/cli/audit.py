"""cryptocast audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

NAME = "audit"
EXAMPLE = "cryptocast audit --placebos 8"
_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}
_INDENT = " " * 9


def command(
    run: Run,
    version: Annotated[
        str | None, typer.Option(help="The version; default what serves.", show_default=False)
    ] = None,
    placebos: Annotated[
        int, typer.Option(min=1, max=1000, help="Random walks that it is fitted on.")
    ] = 4,
) -> Answer:
    """Check that a model is honest: no look-ahead, no skill where none can be.

    Every candle after an origin is changed and its forecast compared. The
    whole pipeline is run on random walks. Skill is taken again a candle later.
    A direction that is right too often raises the alarm. Exit 6 where a check
    failed; nothing is written.
    """
    from cryptocast.errors import GateRefused
    from cryptocast.workflows.audit import audit

    with run.open() as ws:
        report = audit(ws, version=version, placebos=placebos)
    failed = any(check.status == "failed" for check in report.checks)

    def show(console: Console) -> None:
        import textwrap

        console.print(f"Audit of version {report.version} ({report.kind})", markup=False)
        for check in report.checks:
            lines = [(_MARKS[check.status], f"{check.name}: {check.detail}")]
            if check.hint:
                lines.append(("       ", f"-> {check.hint}"))
            for mark, text in lines:
                shown = textwrap.fill(
                    text, console.width, initial_indent=f"{mark}  ", subsequent_indent=_INDENT
                )
                console.print(shown, markup=False)

    data = {
        "version": report.version,
        "model": report.kind,
        "checks": [
            {"name": c.name, "status": c.status, "detail": c.detail, "hint": c.hint}
            for c in report.checks
        ],
        **report.figures,
    }
    return Answer(data, show, exit_code=GateRefused.exit_code if failed else 0)
