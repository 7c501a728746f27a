"""Alerts to whatever Apprise knows: mail, Telegram, Slack, Signal and a hundred others."""

from __future__ import annotations

import logging
import threading
from typing import Any

from cryptocast.errors import ConfigError, NotifyError
from cryptocast.notify._receiver import Receiver
from cryptocast.values import Alert

NEEDS_URL = True

_TYPES = {"problem": "warning", "recovered": "success", "news": "info"}
# These tell the URL and what was sent, at one level or another.
_LOGGERS = ("apprise", "urllib3.connectionpool")


class Notifier:
    """One message an alert, to every URL that the variable holds (commas between them)."""

    def __init__(self, receiver: Receiver) -> None:
        try:
            import apprise  # late: an extra, and a second's work
        except ImportError:
            raise ConfigError(
                "the receiver 'apprise' needs the package apprise",
                code="config.notify",
                hint="pip install 'cryptocast[apprise]'",
            ) from None
        self._apprise: Any = apprise.Apprise()
        with _silence:
            known = self._apprise.add(receiver.url)
        if not known:
            raise ConfigError(
                f"what {receiver.place} holds is not a URL that Apprise knows",
                code="config.notify",
                hint="write it as github.com/caronc/apprise describes",
            )

    def send(self, alert: Alert) -> None:
        """Send it to all. Raises NotifyError where one of them did not take it."""
        with _silence:
            taken = self._apprise.notify(
                body=alert.text,
                title=f"{alert.workspace}: {alert.title}",
                notify_type=_TYPES.get(alert.state, "info"),
                body_format="text",  # so that a service that shows HTML gets it escaped
            )
        if not taken:
            raise NotifyError("it did not take the alert", code="notify.refused")


class _Silence(logging.Filter):
    """While anybody is inside it, what it filters logs nothing; sends may overlap in threads."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._inside = 0

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - as logging calls it
        """Whether a record may pass."""
        return self._inside == 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)  # the same filter is added once only

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


_silence = _Silence()
