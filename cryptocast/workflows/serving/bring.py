"""bring: ask sources for ranges of candles, and keep what they answer.

Markets are asked in parallel, each by a thread of its own and a page at a time; the caller's
thread stores. The next page is asked for when the one before is stored, so a kill costs a
market no more than one page.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread

import numpy as np

from cryptocast.candles import Normalised, normalise
from cryptocast.errors import CryptocastError, SourceError
from cryptocast.seams import CandleSource, Clock
from cryptocast.store import Writer
from cryptocast.values import IntArray, Market, Page, iso
from cryptocast.workspace import Workspace

OVERLAP_BARS = 3
"""How many of the newest stored candles are asked for again with those after them."""

_AT_ONCE = 8
# A bar that a source with a delay lacks so soon after its close may still come.
_SETTLED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Errand:
    """The ranges `[start, end)` of open times to ask a source for, in this order."""

    source: CandleSource
    market: Market
    ranges: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Brought:
    """The result of an errand: rows by what became of them, and the error that ended it early."""

    new: int = 0
    revised: int = 0
    repaired: int = 0
    rejected: int = 0
    example: str | None = None  # of a rejected row
    remarks: tuple[str, ...] = ()  # of the source
    error: CryptocastError | None = None

    @property
    def told(self) -> tuple[str, ...]:
        """Warnings: how many rows were refused and why the first was, and what the source says."""
        rows = "row" if self.rejected == 1 else "rows"
        refused = (f"refused {self.rejected} {rows}: {self.example}",) if self.rejected else ()
        return (*refused, *self.remarks)


@dataclass(frozen=True, slots=True, eq=False)
class _CleanPage:
    """A page of a market, normalised; a bar that closed by `settled` would be in it."""

    market: Market
    raw: Page
    clean: Normalised
    settled: float


@dataclass(frozen=True, slots=True, eq=False)
class _Fault:
    """The error that ended an errand early."""

    market: Market
    error: Exception


_Delivery = _CleanPage | _Fault
_Arrivals = SimpleQueue[tuple[_Delivery, Event] | None]
"""Each delivery with the event that says it is stored; None when a thread has ended."""


def bring(
    ws: Workspace, errands: Sequence[Errand], *, provenance: str, deadline: float = math.inf
) -> dict[Market, Brought]:
    """Run errands and store what they bring; return the result of each.

    Bars that a well-formed answer lacks are noted. If a source fails, the errand of that market
    alone ends, with its `error`; a StoreError ends all. `deadline` is on the monotonic clock.
    """
    asked_at = time.time()
    results = {errand.market: Brought() for errand in errands}
    total = sum(end - start for errand in errands for start, end in errand.ranges)
    done = 0
    for batch in _batches(errands, partial(_run, clock=ws.clock, deadline=deadline)):
        pages = [delivery for delivery in batch if isinstance(delivery, _CleanPage)]
        if pages:
            with ws.store.write() as writer:
                for page in pages:
                    _keep_candles(writer, page, results[page.market], provenance, ws.clock.now())
                    if provenance != "imported":  # a file is no proof of what the venue lacks
                        _keep_missing(writer, page, asked_at)
        for page in pages:
            done += page.raw.end - page.raw.start
            ws.progress.advance(min(done, total), total, _reached(page))
        for fault in batch:
            if isinstance(fault, _Fault):
                if not isinstance(fault.error, CryptocastError):
                    raise fault.error
                results[fault.market].error = fault.error
    return results


def _keep_candles(
    writer: Writer, page: _CleanPage, result: Brought, provenance: str, fetched_at: float
) -> None:
    """Store the candles of a page and add them to the result."""
    stored = writer.put_candles(
        page.market,
        page.clean.candles,
        provenance="derived" if page.raw.derived else provenance,
        fetched_at=fetched_at,
    )
    result.new += stored.new
    result.revised += stored.revised
    result.repaired += stored.repaired
    result.rejected += page.clean.rejected
    result.example = result.example or page.clean.example
    result.remarks = tuple(dict.fromkeys((*result.remarks, *page.raw.remarks)))


def _keep_missing(writer: Writer, page: _CleanPage, asked_at: float) -> None:
    """Note the bars that a page covers and lacks."""
    lacking = _lacking(page)
    if len(lacking):
        span = writer.spans([page.market]).get(page.market)
        # An answer may be an old one: only a later candle shows that it reached so far.
        shown = lacking[lacking < span.last] if span else lacking[:0]
        writer.put_missing(page.market, shown, asked_at)


def _batches(
    errands: Sequence[Errand], run: Callable[[Errand], Iterator[_Delivery]]
) -> Iterator[list[_Delivery]]:
    """Yield what the errands bring; asking for the next batch says that this one is stored."""
    if len(errands) == 1:
        for delivery in run(errands[0]):
            yield [delivery]
        return
    arrivals: _Arrivals = SimpleQueue()
    stop = Event()
    working = min(_AT_ONCE, len(errands))
    work = partial(_work, deque(errands), run, arrivals, stop)
    for _ in range(working):
        # Daemons: an interruption does not wait for an answer that is under way.
        Thread(target=work, daemon=True).start()
    waiting: list[tuple[_Delivery, Event]] = []
    try:
        while working:
            arrived = [arrivals.get()]
            with suppress(Empty):
                while True:
                    arrived.append(arrivals.get_nowait())
            working -= arrived.count(None)
            waiting = [entry for entry in arrived if entry is not None]
            yield [delivery for delivery, _ in waiting]
            for _, stored in waiting:
                stored.set()
    finally:
        stop.set()
        for _, stored in waiting:
            stored.set()


def _work(
    todo: deque[Errand],
    run: Callable[[Errand], Iterator[_Delivery]],
    arrivals: _Arrivals,
    stop: Event,
) -> None:
    """Run one errand after the other in this thread; hand over a delivery at a time."""
    stored = Event()
    while todo and not stop.is_set():
        with suppress(IndexError):  # another thread was quicker
            for delivery in run(todo.popleft()):
                stored.clear()
                arrivals.put((delivery, stored))
                stored.wait()
                if stop.is_set():
                    break
    arrivals.put(None)


def _run(errand: Errand, clock: Clock, deadline: float) -> Iterator[_Delivery]:
    """Yield the pages of an errand; a fault is the last delivery."""
    try:
        for start, end in errand.ranges:
            for page in errand.source.pages(errand.market, start, end, deadline=deadline):
                yield _cleaned(errand, page, clock)
    except Exception as error:
        yield _Fault(errand.market, error)


def _cleaned(errand: Errand, page: Page, clock: Clock) -> _CleanPage:
    """Normalise a page. Raise SourceError if the clocks of both sides disagree."""
    market, now = errand.market, clock.now()
    if page.skew_seconds is not None:
        if not clock.virtual and abs(page.skew_seconds) > market.interval_seconds:
            ahead = "ahead of" if page.skew_seconds < 0 else "behind"
            raise SourceError(
                f"this machine's clock is {abs(page.skew_seconds):,.0f} s {ahead} that of "
                f"{errand.source.name}",
                code="clock.skew",
                hint="set the clock, for example: sudo timedatectl set-ntp true",
            )
        # If the server's clock is behind, its running candle must not pass for a closed one.
        now = min(now, time.time() + page.skew_seconds)
    clean = normalise(page.candles, market, now=now, start=page.start, end=page.end)
    settled = min(now, time.time() - _SETTLED_SECONDS) if errand.source.publishes_late else now
    return _CleanPage(market, page, clean, settled)


def _lacking(page: _CleanPage) -> IntArray:
    """Return the open times of the settled bars that a page covers and has no row of."""
    interval, clean = page.market.interval_seconds, page.clean
    first = -(-page.raw.start // interval) * interval
    end = min(page.raw.end, page.market.floor(page.settled))
    # A row that was refused shows that the source has the bar.
    rows = np.concatenate([clean.candles.open_time, clean.refused])
    place, off = np.divmod(rows - first, interval)
    lacking = np.ones(max(-(-(end - first) // interval), 0), dtype=bool)  # no set: a million bars
    lacking[place[(off == 0) & (place >= 0) & (place < len(lacking))]] = False
    return np.asarray(first + interval * np.flatnonzero(lacking), dtype=np.int64)


def _reached(page: _CleanPage) -> str:
    """Return how far a market is, in words."""
    times = page.clean.candles.open_time
    return page.market.symbol + (f" to {iso(int(times[-1]))}" if len(times) else "")
