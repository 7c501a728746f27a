"""Telling every receiver what it does not know yet, each thing once.

What a receiver took is kept in the store, so neither a restart nor cron sends it again; what it
did not take is sent later, if it is still true. A receiver that hangs or is dead costs
`[notify] timeout_seconds` at most, and is tried ever more rarely.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cryptocast.config import NotifySettings, ReceiverSettings
from cryptocast.errors import CryptocastError, StateError
from cryptocast.notify import Outcome, Parcel, deliver, open_notifier
from cryptocast.values import Alert
from cryptocast.workflows.watching.facts import AlertFacts, alert_facts
from cryptocast.workflows.watching.memory import ALERT, Attempt, Memory, claim, recall, settle
from cryptocast.workflows.watching.news import News, news
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Receipt:
    """The alerts that one receiver took."""

    receiver: str
    alerts: tuple[Alert, ...]
    error: CryptocastError | None = None  # what ended the delivery early
    failures: int = 0  # in a row

    @property
    def reason(self) -> str:
        """The error with its hint, or an empty text."""
        if self.error is None:
            return ""
        return self.error.message + (f" ({self.error.hint})" if self.error.hint else "")


def send_alerts(ws: Workspace) -> list[str]:
    """Tell the receivers what is new, and return a warning for each of them that failed.

    Never raises a CryptocastError. It ends within `[notify] timeout_seconds`, besides the time
    spent waiting for the store. If no receiver is configured, nothing is read.
    """
    if not ws.settings.notify.receiver:
        return []
    try:
        receipts = tell(ws)
    except CryptocastError as error:
        return [f"no alerts were sent: {error.message} ({error.hint})"]
    return [
        f"{receipt.receiver} did not take an alert: {receipt.reason}"
        + (f"; {receipt.failures} times in a row" if receipt.failures > 1 else "")
        for receipt in receipts
        if receipt.error is not None
    ]


def tell(ws: Workspace) -> list[Receipt]:
    """Send what is new to all receivers at once; those with nothing new are left out.

    A receiver that has failed lately, or that another process is just telling, is left alone.
    Raises StoreError.
    """
    rule = ws.settings.notify
    with ws.store.read() as reader:
        facts = alert_facts(ws, reader)
        if not _news_by_receiver(facts, rule, recall(reader.events(ALERT))):
            return []
    with ws.store.write() as writer:
        memories = recall(writer.events(ALERT))  # another process may have been quicker
        pending = _news_by_receiver(facts, rule, memories)
        for name in pending:
            memories.setdefault(name, Memory())
            claim(writer, Attempt(name, facts.now, time.time()), memories[name])
    alerts = {
        name: [n.alert for n in each if n.alert is not None] for name, each in pending.items()
    }
    outcomes = send(ws, alerts)
    receipts = []
    with ws.store.write() as writer:
        for name, each in pending.items():
            outcome, attempt = outcomes[name], Attempt(name, facts.now, time.time())
            failures = settle(writer, attempt, memories[name], each, outcome)
            sent = tuple(alerts[name][: outcome.sent])
            receipts.append(Receipt(name, sent, outcome.error, failures))
    return [receipt for receipt in receipts if receipt.alerts or receipt.error is not None]


def receivers_by_name(rule: NotifySettings) -> dict[str, ReceiverSettings]:
    """Return the receivers by the names that people see: their kind, the second `webhook 2`."""
    receivers: dict[str, ReceiverSettings] = {}
    for receiver in rule.receiver:
        number = 1 + sum(r.name == receiver.name for r in receivers.values())
        receivers[receiver.name if number == 1 else f"{receiver.name} {number}"] = receiver
    return receivers


def send(ws: Workspace, alerts: Mapping[str, Sequence[Alert]]) -> dict[str, Outcome]:
    """Send alerts to receivers by name, all at once, within `[notify] timeout_seconds`."""
    timeout, receivers = ws.settings.notify.timeout_seconds, receivers_by_name(ws.settings.notify)
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


def _news_by_receiver(
    facts: AlertFacts, rule: NotifySettings, memories: Mapping[str, Memory]
) -> dict[str, list[News]]:
    """Return what there is to tell each receiver that is not left alone."""
    interval = facts.markets[0].interval_seconds
    pending = {}
    for name, receiver in receivers_by_name(rule).items():
        memory = memories.get(name, Memory())
        if not memory.waits(time.time(), interval):
            pending[name] = news(facts, memory.known, receiver.alerts)
    return {name: each for name, each in pending.items() if each}


def send_test(ws: Workspace) -> list[Receipt]:
    """Send a test message to every receiver. Raises StateError if there is none."""
    receivers = receivers_by_name(ws.settings.notify)
    if not receivers:
        raise StateError(
            "no receiver is configured",
            code="state.no_receiver",
            hint='write [[notify.receiver]] and below it name = "console" into cryptocast.toml',
        )
    text = "a test message: whoever reads this will be told when something happens"
    alert = Alert(ws.clock.now(), "test", "news", "hello from cryptocast", text, ws.folder.name)
    outcomes = send(ws, {name: [alert] for name in receivers})
    return [Receipt(name, (alert,) * out.sent, out.error) for name, out in outcomes.items()]
