"""Receivers that hang or die delay nobody beyond a moment that is set before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Thread

from cryptocast.errors import CryptocastError, NotifyError
from cryptocast.seams import Notifier
from cryptocast.values import Alert


@dataclass(frozen=True, slots=True)
class Parcel:
    """Alerts for one receiver, in their order, and how to open it."""

    opened: Callable[[], Notifier]
    alerts: Sequence[Alert]


@dataclass(slots=True)
class Outcome:
    """How many of a receiver's alerts it took, and why not all of them."""

    sent: int = 0
    error: CryptocastError | None = field(default=None)


def deliver(parcels: Mapping[str, Parcel], *, timeout_seconds: float) -> dict[str, Outcome]:
    """Send to all receivers at once; returns after `timeout_seconds` at the latest.

    A receiver that has not answered by then is left to its thread, which keeps no process
    alive, and counts as failed for what it has not taken. Nothing is raised.
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
    found = {}
    for name, thread in threads.items():
        thread.join(max(deadline - time.monotonic(), 0.0))
        # A copy: a thread that is left alone changes its own.
        found[name] = Outcome(outcomes[name].sent, outcomes[name].error)
        if thread.is_alive() and found[name].sent < len(parcels[name].alerts):
            found[name].error = NotifyError(
                f"no answer within {timeout_seconds:g} s", code="notify.timeout"
            )
    return found


def _send(parcel: Parcel, outcome: Outcome) -> None:
    """Open the receiver and send, alert by alert, to the first that fails."""
    try:
        notifier = parcel.opened()
        for alert in parcel.alerts:
            notifier.send(alert)
            outcome.sent += 1
    except CryptocastError as error:
        outcome.error = error
    except Exception as error:
        # A bug of a receiver ends no tick; its text may hold the URL.
        outcome.error = NotifyError(f"it failed with {type(error).__name__}")
