"""alerts: the tick's side of `notify`. It costs nothing where nobody is to be told."""

from __future__ import annotations

from cryptocast.errors import CryptocastError
from cryptocast.workspace import Workspace


def send_alerts(ws: Workspace) -> list[str]:
    """Tell receivers what is new; returns what a person should know of those that failed.

    Never raises a CryptocastError. It ends within `[notify] timeout_seconds`, and the time that
    the store is waited for. Where no receiver is configured nothing is read or imported.
    """
    if not ws.settings.notify.receiver:
        return []
    from cryptocast.workflows.notify import tell  # late: most workspaces have no receiver

    try:
        told = tell(ws)
    except CryptocastError as error:
        return [f"no alerts were sent: {error.message} ({error.hint})"]
    return [
        f"{each.receiver} did not take an alert: {each.reason}"
        + (f"; {each.failures} times in a row" if each.failures > 1 else "")
        for each in told
        if each.error is not None
    ]
