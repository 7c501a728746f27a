"""cryptocast doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

NAME = "doctor"
EXAMPLE = "cryptocast doctor"
_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


def command(run: Run) -> Answer:
    """Check clock, disk, database, sources, key, credits, candles, MLflow and bundles.

    Exit 6 where a check failed. Each source is asked for one page of candles (1 credit at
    CoinCap).
    """
    from cryptocast.cli._shared import gaps_data
    from cryptocast.errors import GateRefused
    from cryptocast.values import FAILED
    from cryptocast.workflows.doctor import doctor

    with run.open() as ws:
        run.progress.stage("check")
        checks = doctor(ws)
    failed = [check.name for check in checks if check.status == FAILED]

    def show(console: Console) -> None:
        for check in checks:
            console.print(
                f"{_MARKS[check.status]}  {check.name}: {check.detail}",
                soft_wrap=True,
                markup=False,
            )
            if check.hint and check.status != "ok":
                console.print(f"         -> {check.hint}", soft_wrap=True, markup=False)

    data = {
        "checks": [
            {"name": c.name, "status": c.status, "detail": c.detail, "hint": c.hint}
            | ({"gaps": gaps_data(c.gaps)} if c.gaps else {})
            for c in checks
        ]
    }
    return Answer(data, show, exit_code=GateRefused.exit_code if failed else 0)
