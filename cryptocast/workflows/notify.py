"""notify: send every receiver a test message. What is new is sent by `watching.alerts`."""

from __future__ import annotations

from cryptocast.errors import StateError
from cryptocast.values import Alert
from cryptocast.workflows.watching.alerts import Receipt, receivers_by_name, send
from cryptocast.workspace import Workspace


def send_test(ws: Workspace) -> list[Receipt]:
    """Send a test message to every receiver. Raises StateError if there is none."""
    receivers = receivers_by_name(ws.settings.notify)
    if not receivers:
        raise StateError(
            "no receiver is configured",
            code="state.no_receiver",
            hint='write [[notify.receiver]] and below it name = "console" into cryptocast.toml',
        )
    text = "a test message: whoever reads this will be told when something happens"
    alert = Alert(ws.clock.now(), "test", "news", "hello from cryptocast", text, ws.folder.name)
    outcomes = send(ws, {name: [alert] for name in receivers})
    return [Receipt(name, (alert,) * out.sent, out.error) for name, out in outcomes.items()]
