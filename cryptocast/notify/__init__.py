"""Receivers of alerts: each public module here is one kind, named after its file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import cast

from cryptocast import plugins
from cryptocast.config import ReceiverSettings, Secrets
from cryptocast.errors import ConfigError, CryptocastError, NotifyError
from cryptocast.seams import Notifier
from cryptocast.values import Alert

_FILE = Path("logs") / "alerts.log"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Address of a receiver. The URL is a secret, so only the place it came from is shown."""

    url: str = field(repr=False)  # empty if the receiver has none
    place: str | None  # of the URL: env:NAME
    file: Path
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Parcel:
    """Alerts for one receiver, in their order, and how to open that receiver."""

    opened: Callable[[], Notifier]
    alerts: Sequence[Alert]


@dataclass(slots=True)
class Outcome:
    """Number of alerts that a receiver took, and the error if it did not take all of them."""

    sent: int = 0
    error: CryptocastError | None = None


def open_notifier(
    settings: ReceiverSettings, secrets: Secrets, *, folder: Path, timeout_seconds: float
) -> Notifier:
    """Open the receiver that a `[[notify.receiver]]` describes; nothing is sent yet.

    `folder` is the folder of the workspace. Raise ConfigError if no kind has that name, if a
    setting that it needs is missing (`config.notify`), or if the variable of its URL is not set
    (`config.secret`).
    """
    module = plugins.load(plugins.RECEIVERS, settings.name)
    url = ""
    if settings.url is not None:
        url = secrets.resolve(settings.url) or ""
        if not url:
            variable = settings.url.removeprefix("env:")
            raise ConfigError(
                f"notify.receiver.url names {settings.url}, which is not set",
                code="config.secret",
                hint=f"export {variable}=... or put it into .env",
            )
    elif module.NEEDS_URL:
        raise ConfigError(
            f"the receiver '{settings.name}' has no url",
            code="config.notify",
            hint=f'write url = "env:{settings.name.upper()}_URL" below [[notify.receiver]], '
            "and the URL itself into .env",
        )
    file = folder / (settings.path or _FILE)
    receiver = Receiver(url, settings.url, file, timeout_seconds)
    return cast(Notifier, plugins.make(plugins.RECEIVERS, settings.name, Notifier, receiver))


def deliver(parcels: Mapping[str, Parcel], *, timeout_seconds: float) -> dict[str, Outcome]:
    """Send to all receivers at once, and return after `timeout_seconds` at the latest.

    A receiver that has not answered by then is left to its thread, which does not keep the
    process alive, and counts as failed for the alerts that it has not taken. Raise nothing.
    """
    deadline = time.monotonic() + timeout_seconds
    outcomes = {name: Outcome() for name in parcels}
    threads = {
        name: Thread(
            target=_send, args=(parcel, outcomes[name]), name=f"notify {name}", daemon=True
        )
        for name, parcel in parcels.items()
    }
    for thread in threads.values():
        thread.start()
    results = {}
    for name, thread in threads.items():
        thread.join(max(deadline - time.monotonic(), 0.0))
        # A copy, because a thread that is left running still changes its own outcome.
        results[name] = Outcome(outcomes[name].sent, outcomes[name].error)
        if thread.is_alive() and results[name].sent < len(parcels[name].alerts):
            results[name].error = NotifyError(
                f"no answer within {timeout_seconds:g} s", code="notify.timeout"
            )
    return results


def _send(parcel: Parcel, outcome: Outcome) -> None:
    """Open the receiver and send alert by alert, until one fails."""
    try:
        notifier = parcel.opened()
        for alert in parcel.alerts:
            notifier.send(alert)
            outcome.sent += 1
    except CryptocastError as error:
        outcome.error = error
    except Exception as error:
        # A bug in a receiver must not end a tick; the text of the error may hold the URL.
        outcome.error = NotifyError(f"it failed with {type(error).__name__}")
