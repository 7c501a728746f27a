"""Alerts in a file, one line each."""

from __future__ import annotations

from cryptocast.errors import NotifyError
from cryptocast.notify import Receiver
from cryptocast.values import Alert

NEEDS_URL = False


class Notifier:
    """Appends alerts to a file; the file and its folder are created if missing."""

    def __init__(self, receiver: Receiver) -> None:
        self._file = receiver.file

    def send(self, alert: Alert) -> None:
        """Append one line. Raise NotifyError if the file cannot be written."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8", errors="replace") as file:
                file.write(f"{alert.line}\n")
        except OSError as error:
            raise NotifyError(f"{self._file} cannot be written: {error.strerror}") from None
