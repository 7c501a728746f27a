"""Alerts on stderr, a line each."""

from __future__ import annotations

import sys

from cryptocast.errors import NotifyError
from cryptocast.notify._receiver import Receiver
from cryptocast.values import Alert

NEEDS_URL = False


class Notifier:
    """Prints; whoever reads the log of cron or of the service sees it."""

    def __init__(self, _: Receiver) -> None:
        """Need nothing."""

    def send(self, alert: Alert) -> None:
        """Print one line. Raises NotifyError where nobody can read it."""
        try:
            print(f"alert: {alert.line}", file=sys.stderr, flush=True)
        except (OSError, ValueError) as error:
            raise NotifyError(f"stderr cannot be written ({type(error).__name__})") from None
