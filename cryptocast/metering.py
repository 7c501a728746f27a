"""Pay the calls of metered sources from the month's budget, which the store keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from cryptocast.errors import SourceError
from cryptocast.store import Store
from cryptocast.values import DAY_SECONDS, INTERVAL_SECONDS, Market, iso

QUIET_SECONDS = DAY_SECONDS
"""How long a source is not asked after it refused for want of credits: refusals may cost too."""

_LONGEST_MONTH_SECONDS = 31 * DAY_SECONDS


class Budget:
    """A Meter over the store's credits; months are in UTC, by the system's clock.

    A call is booked before it is made, so that a killed process can only leave too much counted.
    """

    def __init__(self, store: Store, monthly_credits: int) -> None:
        self._store = store
        self._monthly = monthly_credits
        self._lock = threading.Lock()

    def book(self, source: str, credits: int) -> None:
        """Pay for a call before it is made.

        Raises SourceError (`source.quota`) if the budget is spent, or if the source refused for
        want of credits in the last 24 hours.
        """
        now = time.time()
        with self._lock, self._store.write() as writer:
            spent = writer.credits([source], now)[source]
            if spent.refused_at is not None and now - spent.refused_at < QUIET_SECONDS:
                raise SourceError(
                    f"{source} said at {iso(int(spent.refused_at))} that its plan is used up, "
                    f"and is not asked again before {iso(int(spent.refused_at) + QUIET_SECONDS)}",
                    code="source.quota",
                    hint="with a larger plan cryptocast doctor asks at once; or add a "
                    "[[source.fallback]]",
                )
            if spent.credits + credits > self._monthly:
                raise SourceError(
                    f"{source} has cost {spent.credits:,} of {self._monthly:,} credits this "
                    f"month, and this call would cost about {credits}",
                    code="source.quota",
                    hint="set [source] monthly_credits to what your plan pays for, or add a "
                    "[[source.fallback]]",
                )
            writer.add_credits(source, now, 1, credits)

    def settle(self, source: str, booked: int, spent: int) -> None:
        """Replace the credits that were booked for a call by those that it cost."""
        if booked != spent:
            with self._lock, self._store.write() as writer:
                writer.add_credits(source, time.time(), 0, spent - booked)

    def refused(self, source: str) -> None:
        """Note that the source says its plan is used up: it is left alone for a day."""
        now = time.time()
        with self._lock, self._store.write() as writer:
            writer.put_refusal(source, now, now)

    def recall(self, source: str, key: str) -> str | None:
        """Return what an earlier call noted under that key, or None."""
        with self._lock, self._store.read() as reader:
            return reader.note(source, key)

    def note(self, source: str, key: str, value: str) -> None:
        """Keep a value that a call learned under a key, for later processes."""
        with self._lock, self._store.write() as writer:
            writer.put_note(source, key, value)

    def lift(self, source: str) -> None:
        """Forget a refusal, so that the source is asked again."""
        with self._lock, self._store.write() as writer:
            writer.put_refusal(source, time.time(), None)


def calls_a_tick(markets: Iterable[Market]) -> int:
    """Return how many calls a tick makes for markets of a metered source: two for a derived one."""
    return sum(1 if market.quote == "USD" else 2 for market in markets)


def monthly_cost(calls: int, interval: str) -> int:
    """Return the credits that a tick every interval costs in the longest month.

    A call for a tick's few candles costs no more than 1.
    """
    return calls * (_LONGEST_MONTH_SECONDS // INTERVAL_SECONDS[interval])


def fitting_interval(calls: int, monthly_credits: int) -> str | None:
    """Return the shortest interval between ticks that the budget pays for, or None."""
    fits = (name for name in INTERVAL_SECONDS if monthly_cost(calls, name) <= monthly_credits)
    return next(fits, None)


def loop_cost(calls: int, interval: str, monthly_credits: int) -> str:
    """Return in words what a loop costs per month, and how often the plan lets it tick."""
    cost = monthly_cost(calls, interval)
    price = f"a tick every {interval} costs {cost:,} credits a month"
    if cost <= monthly_credits:
        return price
    fitting = fitting_interval(calls, monthly_credits)
    affordable = "not even one a day" if fitting is None else f"one every {fitting}"
    return f"{price}; {monthly_credits:,} pay for {affordable}"
