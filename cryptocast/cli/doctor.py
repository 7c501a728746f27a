"""cryptocast doctor; and how checks are written, by `audit` too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, line

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.values import Check

NAME = "doctor"
EXAMPLE = "cryptocast doctor"
MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


def command(run: Run) -> Answer:
    """Check clock, disk, database, sources, key, credits, candles, MLflow and bundles.

    Exit 6 if a check fails. Each source is asked for one page of candles (1 credit at
    CoinCap).
    """
    from cryptocast.answers.candles import gaps_document
    from cryptocast.documents import document
    from cryptocast.workflows.doctor import doctor

    with run.open() as ws:
        run.progress.stage("check")
        checks = doctor(ws)

    def show(console: Console) -> None:
        for check in checks:
            line(console, f"{MARKS[check.status]}  {check.name}: {check.detail}")
            if check.hint and check.status != "ok":
                line(console, f"         -> {check.hint}")

    documents = [
        document(check, without=("gaps",))
        | ({"gaps": gaps_document(check.gaps)} if check.gaps else {})
        for check in checks
    ]
    return Answer({"checks": documents}, show, exit_code=checks_code(checks))


def checks_code(checks: Iterable[Check]) -> int:
    """Return the exit code: 6 if a check failed."""
    from cryptocast.errors import GateRefused

    return GateRefused.exit_code if any(check.status == "failed" for check in checks) else 0
