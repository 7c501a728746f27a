"""The clocks that workflows are given: the system's, or a virtual one for `--as-of`."""

from __future__ import annotations

import time

_LOOK_AGAIN_SECONDS = 5.0


class SystemClock:
    """The machine's clock."""

    virtual = False

    def now(self) -> float:
        """Return the present, in Unix seconds."""
        return time.time()

    def sleep_until(self, moment: float) -> None:
        """Sleep until `moment`.

        It never sleeps longer than `moment` seemed away when it began, by the monotonic
        clock: a wall clock that is set back prolongs nothing (and the caller looks at it
        again). A clock that leaps ahead, or a suspended machine, is noticed within 5 s.
        """
        latest = time.monotonic() + (moment - self.now())
        while (left := min(moment - self.now(), latest - time.monotonic())) > 0:
            time.sleep(min(left, _LOOK_AGAIN_SECONDS))


class VirtualClock:
    """A clock that stands still at a moment, and leaps when it is asked to sleep."""

    virtual = True

    def __init__(self, as_of: float) -> None:
        """Stand still at a moment, in Unix seconds."""
        self._now = float(as_of)

    def now(self) -> float:
        """Return the virtual present, in Unix seconds."""
        return self._now

    def sleep_until(self, moment: float) -> None:
        """Leap to `moment` at once."""
        self._now = max(self._now, float(moment))
