"""cryptocast notify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

NAME = "notify"
EXAMPLE = "cryptocast notify --test"


def command(
    run: Run,
    test: Annotated[
        bool, typer.Option("--test", help="Send each receiver a test message instead.")
    ] = False,
) -> Answer:
    """Tell the receivers of [notify] what is new, as each tick does; each thing once.

    From a cron line of its own it also tells when no tick runs any more. Exit 4 where a
    receiver failed.
    """
    from cryptocast.errors import NotifyError
    from cryptocast.values import iso
    from cryptocast.workflows.notify import send_test
    from cryptocast.workflows.watching.alerts import named, tell

    with run.open() as ws:
        receivers = list(named(ws))
        told = send_test(ws) if test else tell(ws)
    data = {
        "test": test,
        "receivers": receivers,
        "told": [
            {
                "receiver": each.receiver,
                "alerts": [
                    {
                        "at": iso(round(a.at)),
                        "kind": a.kind,
                        "state": a.state,
                        "title": a.title,
                        "text": a.text,
                        "markets": list(a.markets),
                    }
                    for a in each.alerts
                ],
                "error": None
                if each.error is None
                else {
                    "code": each.error.code,
                    "message": each.error.message,
                    "hint": each.error.hint,
                },
            }
            for each in told
        ],
    }

    def show(console: Console) -> None:
        if not receivers:
            console.print("No receiver: write [[notify.receiver]] into the settings", markup=False)
        elif not told:
            console.print(f"Nothing new for {', '.join(receivers)}")
        for each in told:
            for alert in each.alerts:
                console.print(f"{each.receiver}: sent  {alert.line}", soft_wrap=True, markup=False)
            if each.error is not None:
                console.print(
                    f"{each.receiver}: FAILED  {each.reason}", soft_wrap=True, markup=False
                )

    failed = any(each.error is not None for each in told)
    return Answer(data, show, exit_code=NotifyError.exit_code if failed else 0)
