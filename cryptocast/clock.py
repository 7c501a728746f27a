"""Time comes from a clock that is passed: the system's, or a virtual one for `--as-of`."""

from __future__ import annotations

import time
from threading import Event


class SystemClock:
    """The machine's clock."""

    virtual = False

    def now(self) -> float:
        """The present, in Unix seconds."""
        return time.time()

    def sleep_until(self, moment: float, stop: Event | None = None) -> None:
        """Sleep until `moment`; wake early when `stop` is set.

        The wall clock is read again at least every 30 s, so that a clock step or a
        suspended machine delays a wake-up by no more than that.
        """
        waiter = stop or Event()
        while (left := moment - self.now()) > 0:
            if waiter.wait(min(left, 30.0)):
                return


class VirtualClock:
    """A clock that stands still at a moment, and leaps when it is asked to sleep."""

    virtual = True

    def __init__(self, as_of: float) -> None:
        self._now = float(as_of)

    def now(self) -> float:
        """The virtual present, in Unix seconds."""
        return self._now

    def sleep_until(self, moment: float, stop: Event | None = None) -> None:  # noqa: ARG002 - same shape as SystemClock's
        """Leap to `moment` at once."""
        self._now = max(self._now, float(moment))
