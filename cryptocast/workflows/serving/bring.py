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

AT_ONCE = 8
"""The threads that ask a source."""

_LOOK_SECONDS = 0.5
_QUIET_SECONDS = 5.0  # so long nothing comes before it is said what is waited for
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
class _End:
    """The end of an errand, and the error that it came early by."""

    market: Market
    error: Exception | None


_Delivery = _CleanPage | _End
_Arrivals = SimpleQueue[tuple[_Delivery, Event]]
"""Each delivery with the event that says it is stored."""


def bring(
    ws: Workspace, errands: Sequence[Errand], *, provenance: str, deadline: float = math.inf
) -> dict[Market, Brought]:
    """Run errands and store what they bring; return the result of each.

    Bars that a well-formed answer lacks are noted. If a source fails, the errand of that market
    alone ends, with its `error`; a StoreError ends all. `deadline` is on the monotonic clock: it
    holds whatever a source does, which is then left to its thread.
    """
    asked_at = time.time()
    results = {errand.market: Brought() for errand in errands}
    total = sum(end - start for errand in errands for start, end in errand.ranges)
    done = 0
    run = partial(_run, clock=ws.clock, deadline=deadline)
    # A source that keeps its own time has the better error.
    for batch in _batches(errands, run, deadline + _LOOK_SECONDS, ws.progress.waiting):
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
        for end in batch:
            if isinstance(end, _End) and end.error is not None:
                if not isinstance(end.error, CryptocastError):
                    raise end.error
                results[end.market].error = end.error
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
    errands: Sequence[Errand],
    run: Callable[[Errand], Iterator[_Delivery]],
    deadline: float,
    waiting: Callable[[str], None],
) -> Iterator[list[_Delivery]]:
    """Yield what the errands bring; asking for the next batch says that this one is stored.

    An errand that is not over at the deadline is left to its thread, and ends with an error.
    """
    arrivals: _Arrivals = SimpleQueue()
    stop = Event()
    todo: dict[int, deque[Errand]] = {}
    for errand in errands:
        todo.setdefault(id(errand.source), deque()).append(errand)
    for of_one_source in todo.values():  # one that is slow keeps no other waiting
        for _ in range(min(AT_ONCE, len(of_one_source))):
            # Daemons: an interruption does not wait for an answer that is under way.
            Thread(target=_work, args=(of_one_source, run, arrivals, stop), daemon=True).start()
    going = {errand.market: errand for errand in errands}
    try:
        while going:
            arrived = _arrived(arrivals, min(deadline, time.monotonic() + _QUIET_SECONDS))
            if not arrived and time.monotonic() >= deadline:
                yield [_End(market, _left_alone(errand)) for market, errand in going.items()]
                return
            if not arrived:
                waiting(", ".join(market.id for market in going))
                continue
            yield [delivery for delivery, _ in arrived]
            for delivery, stored in arrived:
                stored.set()
                if isinstance(delivery, _End):
                    del going[delivery.market]
    finally:
        stop.set()


def _arrived(arrivals: _Arrivals, until: float) -> list[tuple[_Delivery, Event]]:
    """Wait for the next delivery, at most until then; return it with those behind it."""
    arrived = []
    with suppress(Empty):
        arrived.append(arrivals.get(timeout=max(until - time.monotonic(), 0.0)))
        while True:
            arrived.append(arrivals.get_nowait())
    return arrived


def _left_alone(errand: Errand) -> SourceError:
    return SourceError(
        f"{errand.source.name} did not finish its answer in time",
        code="source.timeout",
        hint="the next tick asks again; [[source.fallback]] names another source",
        retry=True,
    )


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
                while not stored.wait(_LOOK_SECONDS):
                    if stop.is_set():
                        return


def _run(errand: Errand, clock: Clock, deadline: float) -> Iterator[_Delivery]:
    """Yield the pages of an errand, and last how it ended."""
    error: Exception | None = None
    try:
        for start, end in errand.ranges:
            for page in errand.source.pages(errand.market, start, end, deadline=deadline):
                yield _cleaned(errand, page, clock)
    except Exception as fault:
        error = fault
    yield _End(errand.market, error)


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
