"""What each receiver knows already, from the events of kind `alert`.

An attempt is two rows: one that claims it before anything is sent, so that only one of two
processes sends, and one that says how it went. A claim that nobody settled was made by a process
that was killed: after a while it counts as failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptocast.documents import document
from cryptocast.notify import Outcome
from cryptocast.store import Writer
from cryptocast.values import Event
from cryptocast.workflows.watching.news import News

ALERT = "alert"
"""The kind of the events."""

_SETTLED_SECONDS = 120.0  # longer than any attempt takes
_LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(slots=True)
class Memory:
    """The states that one receiver knows, and how it has done lately; moments are the system's."""

    known: dict[str, dict[str, str]] = field(default_factory=dict)  # kind -> subject -> state
    failures: int = 0  # in a row
    attempted_at: float = 0.0
    claimed: bool = False

    def waits(self, system_now: float, interval_seconds: float) -> bool:
        """Return whether the receiver is left alone: another process is at it, or it failed.

        After each failure in a row it is left alone twice as long, for an hour at most.
        """
        since = system_now - self.attempted_at
        if self.claimed:
            return since < _SETTLED_SECONDS
        return self.failures > 0 and since < pause_seconds(self.failures, interval_seconds)

    def learn(self, states: Mapping[str, Mapping[str, str]]) -> None:
        """Record the states that this receiver now knows, by kind and subject."""
        for kind, entries in states.items():
            self.known.setdefault(kind, {}).update(entries)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to tell a receiver something."""

    receiver: str
    at: float  # by the workspace's clock
    system_at: float  # by the system's


def pause_seconds(failures: int, interval_seconds: float) -> float:
    """Return how long a receiver is left alone after this many failures in a row.

    The pause is not a whole number of ticks, so that the next tick is never a little too early.
    """
    whole = interval_seconds * 2.0 ** min(failures - 1, 10)
    return min(whole, _LONGEST_PAUSE_SECONDS) - interval_seconds / 2


def recall(events: Sequence[Event]) -> dict[str, Memory]:
    """Return the memory of each receiver that was ever tried."""
    memories: dict[str, Memory] = {}
    for event in events:
        detail = event.detail
        memory = memories.setdefault(str(detail["receiver"]), Memory())
        memory.claimed = detail["outcome"] == "claimed"
        memory.attempted_at = float(detail["system_at"])
        memory.failures = int(detail.get("failures") or 0)
        memory.learn(detail.get("states") or {})
    return memories


def claim(writer: Writer, attempt: Attempt, memory: Memory) -> None:
    """Keep other processes from sending the same news."""
    _put(writer, attempt, {"outcome": "claimed", "failures": memory.failures})


def settle(
    writer: Writer, attempt: Attempt, memory: Memory, offered: Sequence[News], outcome: Outcome
) -> int:
    """Keep what a receiver took of the offered news, and the error that ended it.

    Returns how often in a row the receiver has failed.
    """
    taken, left = [], outcome.sent
    for each in offered:
        if each.alert is not None:
            if left == 0:
                break
            left -= 1
        taken.append(each)
    states: dict[str, dict[str, str]] = {}
    for each in taken:
        states.setdefault(each.kind, {}).update(each.states)
    failures = 0 if outcome.error is None else memory.failures + 1
    detail = {
        "outcome": "sent" if outcome.error is None else "failed",
        "failures": failures,
        "error": None if outcome.error is None else outcome.error.message,
        "states": states,
        "alerts": [
            document(each.alert, without=("at", "workspace", "markets"))
            for each in taken
            if each.alert is not None
        ],
    }
    _put(writer, attempt, detail)
    return failures


def _put(writer: Writer, attempt: Attempt, detail: Mapping[str, Any]) -> None:
    sender = {"receiver": attempt.receiver, "system_at": attempt.system_at}
    writer.put_event(attempt.at, ALERT, None, {**sender, **detail})
