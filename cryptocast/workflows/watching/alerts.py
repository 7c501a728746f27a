"""Tell every receiver what it does not know yet, each thing once.

What a receiver was told is kept in the store, so neither a restart nor cron tells it again;
what it did not take is told later, if it is still so. One that hangs or is dead costs
`[notify] timeout_seconds` at most, and is tried ever more rarely.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cryptocast.config import ReceiverSettings
from cryptocast.errors import CryptocastError
from cryptocast.notify import Outcome, Parcel, deliver, open_notifier
from cryptocast.values import Alert
from cryptocast.workflows.watching.facts import Facts, look
from cryptocast.workflows.watching.memory import ALERT, Memory, claim, recall, settle
from cryptocast.workflows.watching.news import News, news
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one receiver."""

    receiver: str
    alerts: tuple[Alert, ...]  # that it took
    error: CryptocastError | None = None  # what ended it early
    failures: int = 0  # in a row

    @property
    def reason(self) -> str:
        """The error with what mends it."""
        if self.error is None:
            return ""
        return self.error.message + (f" ({self.error.hint})" if self.error.hint else "")


def send_alerts(ws: Workspace) -> list[str]:
    """Tell receivers what is new; returns what a person should know of those that failed.

    Never raises a CryptocastError. It ends within `[notify] timeout_seconds`, and the time that
    the store is waited for. If no receiver is configured, nothing is read.
    """
    if not ws.settings.notify.receiver:
        return []
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


def tell(ws: Workspace) -> list[Receipt]:
    """Send what is new to all receivers at once; those that there is nothing for left out.

    A receiver that has failed lately, or that another process is just telling, is left alone.
    Raises StoreError.
    """
    with ws.store.read() as reader:
        facts = look(ws, reader)
        if not _unknown(ws, facts, recall(reader.events(ALERT))):
            return []
    with ws.store.write() as writer:
        memories = recall(writer.events(ALERT))  # another process may have been quicker
        found = _unknown(ws, facts, memories)
        for name in found:
            memories.setdefault(name, Memory())
            claim(writer, facts.now, time.time(), name, memories[name])
    alerts = {name: [n.alert for n in each if n.alert is not None] for name, each in found.items()}
    outcomes = send(ws, alerts)
    told = []
    with ws.store.write() as writer:
        for name, each in found.items():
            out, memory = outcomes[name], memories[name]
            failures = settle(writer, facts.now, time.time(), name, memory, each, out)
            told.append(Receipt(name, tuple(alerts[name][: out.sent]), out.error, failures))
    return [each for each in told if each.alerts or each.error is not None]


def named(ws: Workspace) -> dict[str, ReceiverSettings]:
    """The receivers by what a person calls them: their kind, the second `webhook 2`."""
    found: dict[str, ReceiverSettings] = {}
    for receiver in ws.settings.notify.receiver:
        number = 1 + sum(r.name == receiver.name for r in found.values())
        found[receiver.name if number == 1 else f"{receiver.name} {number}"] = receiver
    return found


def send(ws: Workspace, alerts: Mapping[str, Sequence[Alert]]) -> dict[str, Outcome]:
    """Send to receivers by name, all at once, within `[notify] timeout_seconds`."""
    timeout, receivers = ws.settings.notify.timeout_seconds, named(ws)
    parcels = {
        name: Parcel(
            partial(
                open_notifier,
                receivers[name],
                ws.secrets,
                folder=ws.folder,
                timeout_seconds=timeout,
            ),
            each,
        )
        for name, each in alerts.items()
        if each
    }
    nothing = {name: Outcome() for name, each in alerts.items() if not each}
    return nothing | deliver(parcels, timeout_seconds=timeout)


def _unknown(ws: Workspace, facts: Facts, memories: Mapping[str, Memory]) -> dict[str, list[News]]:
    """What there is to tell each receiver that is not left alone."""
    interval = facts.markets[0].interval_seconds
    found = {}
    for name, receiver in named(ws).items():
        memory = memories.get(name, Memory())
        if not memory.waits(time.time(), interval):
            found[name] = news(facts, memory.told, receiver.alerts)
    return {name: each for name, each in found.items() if each}
