"""Alerts to any service that Apprise supports: mail, Telegram, Slack, Signal and many others."""

from __future__ import annotations

import logging
import threading
from typing import Any

from cryptocast.errors import ConfigError, NotifyError
from cryptocast.notify import Receiver
from cryptocast.values import Alert
from cryptocast.wire import limit_replies

NEEDS_URL = True

limit_replies()

_TYPES = {"problem": "warning", "recovered": "success", "news": "info"}
# These log the URL and what was sent, at one level or another.
_LOGGERS = ("apprise", "urllib3.connectionpool")


class Notifier:
    """Sends one message per alert to every URL in the variable (separated by commas)."""

    def __init__(self, receiver: Receiver) -> None:
        try:
            import apprise  # late: it is an extra, and takes a second to load
        except ImportError:
            raise ConfigError(
                "the receiver 'apprise' needs the package apprise",
                code="config.notify",
                hint="pip install 'cryptocast[apprise]'",
            ) from None
        self._apprise: Any = apprise.Apprise()
        with _silence:
            accepted = self._apprise.add(receiver.url)
        if not accepted:
            raise ConfigError(
                f"{receiver.place} does not hold a URL that Apprise supports",
                code="config.notify",
                hint="write it as github.com/caronc/apprise describes",
            )

    def send(self, alert: Alert) -> None:
        """Send the alert to every URL. Raise NotifyError if one of them did not take it."""
        with _silence:
            taken = self._apprise.notify(
                body=alert.text,
                title=f"{alert.workspace}: {alert.title}",
                notify_type=_TYPES.get(alert.state, "info"),
                body_format="text",  # so that it is escaped for services that show HTML
            )
        if not taken:
            raise NotifyError("it did not take the alert", code="notify.refused")


class _Silence(logging.Filter):
    """Silences loggers while any thread is inside it; sends may overlap in threads."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._inside = 0

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - as logging calls it
        """Return whether a record may pass."""
        return self._inside == 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)  # a logger adds the same filter only once

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


_silence = _Silence()
