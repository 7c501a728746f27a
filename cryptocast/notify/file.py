"""Alerts in a file, a line each."""

from __future__ import annotations

from cryptocast.errors import NotifyError
from cryptocast.notify._receiver import Receiver
from cryptocast.values import Alert

NEEDS_URL = False


class Notifier:
    """Appends; the file and its folder are made where they are not there."""

    def __init__(self, receiver: Receiver) -> None:
        self._file = receiver.file

    def send(self, alert: Alert) -> None:
        """Append one line. Raises NotifyError where the file cannot be written."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8", errors="replace") as file:
                file.write(f"{alert.line}\n")
        except OSError as error:
            raise NotifyError(f"{self._file} cannot be written: {error.strerror}") from None
