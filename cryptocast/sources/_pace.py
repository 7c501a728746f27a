"""Limits of requests: how patient one call is, and how fast calls may follow each other."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from dataclasses import dataclass

from cryptocast.seams import Meter


@dataclass(frozen=True, slots=True)
class Patience:
    """Time to wait for one reply, and number of tries.

    After a fault, the call is repeated with capped exponential back-off, at most `tries` requests
    in all. A rate limit without a time is assumed to be per minute: the call waits for the end of
    the server's minute, in case minutes are fixed, and then until a minute after the first
    refusal, in case they slide; so `total_seconds` is a little more than a minute. A caller with
    less time passes a deadline, and gets the error at once.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    tries: int = 4
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 8.0
    minute_seconds: float = 60.0
    total_seconds: float = 75.0


PATIENCE = Patience()


class Waits:
    """The waits between the tries of one call; infinite if no further try helps."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._tries = 0
        self._limited_at: float | None = None

    def after_fault(self, asked_seconds: float | None) -> float:
        """Return the seconds to wait after a fault, at least what the server asked for."""
        patience = self._patience
        self._tries += 1
        if self._tries >= patience.tries:
            return math.inf
        doubled = patience.first_pause_seconds * 2.0 ** (self._tries - 1)
        # Shortened at random, so that many clients do not return at the same moment.
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - it need not be secret
        return max(asked_seconds or 0.0, min(patience.longest_pause_seconds, doubled) * jitter)

    def after_limit(self, skew_seconds: float | None) -> float:
        """Return the seconds to wait for the end of a limit per minute, by the server's clock.

        `skew_seconds` is that clock minus ours.
        """
        pause = self.after_fault(None)
        minute, now = self._patience.minute_seconds, time.monotonic()
        if self._limited_at is None:
            self._limited_at = now
            left = minute - (time.time() + (skew_seconds or 0.0)) % minute
        else:
            left = self._limited_at + minute - now
        return left + pause if left > 0 else math.inf


class Pace:
    """Allows at most `calls` in any `seconds`, over all threads; they may come in one burst."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._seconds = seconds
        self._turns: deque[float] = deque(maxlen=calls)
        self._lock = threading.Lock()

    def wait(self, deadline: float) -> bool:
        """Sleep until the next call is allowed; return False at once if that is past `deadline`."""
        with self._lock:
            now = time.monotonic()
            full = len(self._turns) == self._turns.maxlen
            turn = max(now, self._turns[0] + self._seconds) if full else now
            if turn > deadline:
                return False
            self._turns.append(turn)
        if turn > now:
            time.sleep(turn - now)
        return True


@dataclass(frozen=True, slots=True)
class Limits:
    """Patience of one call, pace of many, and the meter that counts their credits, if any."""

    patience: Patience = PATIENCE
    pace: Pace | None = None
    meter: Meter | None = None
