"""cryptocast notify."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.root.options import Run
from cryptocast.cli.root.output import Answer, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cryptocast.workflows.watching.alerts import Receipt

NAME = "notify"
EXAMPLE = "cryptocast notify --test"


def command(
    run: Run,
    test: Annotated[
        bool, typer.Option("--test", help="Send each receiver a test message instead.")
    ] = False,
) -> Answer:
    """Send the receivers of [notify] what is new, as each tick does; everything once.

    Run from a cron line of its own, it also reports when ticks have stopped. Exit 4 if a
    receiver failed.
    """
    from cryptocast.errors import NotifyError
    from cryptocast.workflows.watching.alerts import receivers_by_name, send_test, tell

    with run.open() as ws:
        receivers = list(receivers_by_name(ws.settings.notify))
        sent = send_test(ws) if test else tell(ws)
    data = {"test": test, "receivers": receivers, "told": [_document(each) for each in sent]}
    failed = any(each.error is not None for each in sent)
    return Answer(
        data,
        lambda console: _show(console, receivers, sent),
        exit_code=NotifyError.exit_code if failed else 0,
    )


def _document(sent: Receipt) -> dict[str, Any]:
    from cryptocast.documents import document

    return {
        "receiver": sent.receiver,
        "alerts": [
            document(replace(alert, at=round(alert.at)), times=("at",), without=("workspace",))
            for alert in sent.alerts
        ],
        "error": sent.error,
    }


def _show(console: Console, receivers: Sequence[str], sent: Sequence[Receipt]) -> None:
    if not receivers:
        line(console, "No receiver: write [[notify.receiver]] into the settings")
    elif not sent:
        line(console, f"Nothing new for {', '.join(receivers)}")
    for each in sent:
        for alert in each.alerts:
            line(console, f"{each.receiver}: sent  {alert.line}")
        if each.error is not None:
            line(console, f"{each.receiver}: FAILED  {each.reason}")
