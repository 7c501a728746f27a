"""What metered sources cost: each call is paid from the month's budget, which the store keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from cryptocast.errors import SourceError
from cryptocast.store import Store
from cryptocast.values import INTERVAL_SECONDS, Market, iso

QUIET_SECONDS = 86_400
"""After a refusal for want of credits nothing is asked for so long: refused calls may cost too."""

_LONGEST_MONTH_SECONDS = 31 * 86_400


class Budget:
    """A Meter over the store's ledger; months are UTC, by the system's clock.

    A call is booked before it is made, so that a kill can only leave too much counted.
    """

    def __init__(self, store: Store, monthly_credits: int) -> None:
        self._store = store
        self._monthly = monthly_credits
        self._lock = threading.Lock()

    def book(self, source: str, credits: int) -> None:
        """Pay for a call before it is made.

        Raises SourceError (`source.quota`) where the budget is spent, or the source has
        refused in the last 24 hours for want of credits.
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
        """Correct what a call was booked for to what its answer cost."""
        if booked != spent:
            with self._lock, self._store.write() as writer:
                writer.add_credits(source, time.time(), 0, spent - booked)

    def refused(self, source: str) -> None:
        """The source says that the plan is used up: it is left alone for a day."""
        now = time.time()
        with self._lock, self._store.write() as writer:
            writer.put_refusal(source, now, now)

    def recall(self, source: str, key: str) -> str | None:
        """What a call of an earlier process found out, and noted under that key."""
        with self._lock, self._store.read() as reader:
            return reader.note(source, key)

    def note(self, source: str, key: str, value: str) -> None:
        """Keep what a call has found out."""
        with self._lock, self._store.write() as writer:
            writer.put_note(source, key, value)

    def lift(self, source: str) -> None:
        """Ask again in spite of a refusal."""
        with self._lock, self._store.write() as writer:
            writer.put_refusal(source, time.time(), None)


def calls_a_tick(markets: Iterable[Market]) -> int:
    """How many calls a tick makes for markets of a metered source: two where it derives them."""
    return sum(1 if market.quote == "USD" else 2 for market in markets)


def monthly_cost(calls: int, interval: str) -> int:
    """Credits of the longest month, for so many calls a tick and a tick every interval.

    A tick's few candles cost no more than 1 a call.
    """
    return calls * (_LONGEST_MONTH_SECONDS // INTERVAL_SECONDS[interval])


def fitting_interval(calls: int, monthly_credits: int) -> str | None:
    """How often a loop may tick at most, so that the budget lasts; None: not even daily."""
    fits = (name for name in INTERVAL_SECONDS if monthly_cost(calls, name) <= monthly_credits)
    return next(fits, None)


def loop_cost(calls: int, interval: str, monthly_credits: int) -> str:
    """What a loop costs a month, and how often the plan lets it tick, in words."""
    cost = monthly_cost(calls, interval)
    told = f"a tick every {interval} costs {cost:,} credits a month"
    if cost <= monthly_credits:
        return told
    fitting = fitting_interval(calls, monthly_credits)
    fits = "not even one a day" if fitting is None else f"one every {fitting}"
    return f"{told}; {monthly_credits:,} pay for {fits}"
