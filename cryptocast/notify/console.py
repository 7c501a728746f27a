"""Alerts on stderr, one line each."""

from __future__ import annotations

import sys

from cryptocast.errors import NotifyError
from cryptocast.notify import Receiver
from cryptocast.values import Alert

NEEDS_URL = False


class Notifier:
    """Prints alerts, to be seen in the log of cron or of the service."""

    def __init__(self, _: Receiver) -> None:
        """Take no settings: stderr is all that it needs."""

    def send(self, alert: Alert) -> None:
        """Print one line. Raise NotifyError if stderr cannot be written."""
        try:
            print(f"alert: {alert.line}", file=sys.stderr, flush=True)
        except (OSError, ValueError) as error:
            raise NotifyError(f"stderr cannot be written ({type(error).__name__})") from None
