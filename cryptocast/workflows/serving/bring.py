"""bring: ask sources for ranges of candles, and keep what they answer.

Markets are asked at once, each by a thread of its own and a page at a time; the caller's
thread stores. The next page is asked for when the one before is stored, so a kill costs a
market no more than one page.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread

import numpy as np

from cryptocast.candles import Normalised, normalise
from cryptocast.errors import CryptocastError, SourceError
from cryptocast.seams import CandleSource
from cryptocast.store import Writer
from cryptocast.values import IntArray, Market, Page, iso
from cryptocast.workspace import Workspace

OVERLAP_BARS = 3
"""So many of the newest stored candles are asked for again with those after them."""

_AT_ONCE = 8
# A bar that a source with a delay lacks so soon after its close may still come.
_SETTLED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What to ask a source for: ranges `[start, end)` of open times, in this order."""

    source: CandleSource
    market: Market
    ranges: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Brought:
    """What came of an errand: rows by what became of them, and the error that ended it early."""

    new: int = 0
    revised: int = 0
    repaired: int = 0
    rejected: int = 0
    example: str | None = None  # of a rejected row
    error: CryptocastError | None = None

    @property
    def refused(self) -> str | None:
        """How many rows were refused, and why the first; None where none was."""
        rows = "row" if self.rejected == 1 else "rows"
        return f"refused {self.rejected} {rows}: {self.example}" if self.rejected else None


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """A page of a market, normalised; a bar that closed by `settled` would be in it."""

    market: Market
    page: Page
    clean: Normalised
    settled: float


@dataclass(frozen=True, slots=True, eq=False)
class _Fault:
    """What ended an errand early."""

    market: Market
    error: Exception


def bring(
    ws: Workspace, errands: Sequence[Errand], *, provenance: str, deadline: float = math.inf
) -> dict[Market, Brought]:
    """Run errands and store what they bring; returns what came of each.

    Bars that a well-formed answer lacks are noted. What fails at a source ends the errand of
    that market alone and is told in its `error`; StoreError ends all. `deadline` is on the
    monotonic clock.
    """
    asked_at = time.time()
    results = {errand.market: Brought() for errand in errands}
    total = sum(end - start for errand in errands for start, end in errand.ranges)
    done = 0
    for batch in _batches(ws, errands, deadline):
        answers = [delivery for delivery in batch if isinstance(delivery, _Answer)]
        if answers:
            with ws.store.write() as writer:
                for answer in answers:
                    _keep(ws, writer, answer, results[answer.market], provenance, asked_at)
        for answer in answers:
            done += answer.page.end - answer.page.start
            ws.progress.advance(min(done, total), total, _reached(answer))
        for fault in batch:
            if isinstance(fault, _Fault):
                if not isinstance(fault.error, CryptocastError):
                    raise fault.error
                results[fault.market].error = fault.error
    return results


def _keep(
    ws: Workspace,
    writer: Writer,
    answer: _Answer,
    result: Brought,
    provenance: str,
    asked_at: float,
) -> None:
    """Store an answer and add it to the result."""
    clean = answer.clean
    stored = writer.put_candles(
        answer.market,
        clean.candles,
        provenance="derived" if answer.page.derived else provenance,
        fetched_at=ws.clock.now(),
    )
    lacking = _lacking(answer)
    if len(lacking) and provenance != "imported":  # a file is no proof of what the venue lacks
        span = writer.spans([answer.market]).get(answer.market)
        # An answer may be an old one: only a later candle shows that it reached so far.
        shown = lacking[lacking < span.last] if span else lacking[:0]
        writer.put_missing(answer.market, shown, asked_at)
    result.new += stored.new
    result.revised += stored.revised
    result.repaired += stored.repaired
    result.rejected += clean.rejected
    result.example = result.example or clean.example


def _batches(
    ws: Workspace, errands: Sequence[Errand], deadline: float
) -> Iterator[list[_Answer | _Fault]]:
    """What the errands bring; asked for the next batch, this one is taken for stored."""
    if len(errands) == 1:
        for delivery in _run(ws, errands[0], deadline):
            yield [delivery]
        return
    arrived: SimpleQueue[tuple[_Answer | _Fault, Event] | None] = SimpleQueue()
    todo = deque(errands)
    stop = Event()

    def work() -> None:
        stored = Event()
        while todo and not stop.is_set():
            with suppress(IndexError):  # another thread was quicker
                for delivery in _run(ws, todo.popleft(), deadline):
                    stored.clear()
                    arrived.put((delivery, stored))
                    stored.wait()
                    if stop.is_set():
                        break
        arrived.put(None)

    working = min(_AT_ONCE, len(errands))
    for _ in range(working):
        # Daemons: whoever interrupts does not wait for an answer that is under way.
        Thread(target=work, daemon=True).start()
    waiting: list[tuple[_Answer | _Fault, Event]] = []
    try:
        while working:
            found = [arrived.get()]
            with suppress(Empty):
                while True:
                    found.append(arrived.get_nowait())
            working -= found.count(None)
            waiting = [entry for entry in found if entry is not None]
            yield [delivery for delivery, _ in waiting]
            for _, stored in waiting:
                stored.set()
    finally:
        stop.set()
        for _, stored in waiting:
            stored.set()


def _run(ws: Workspace, errand: Errand, deadline: float) -> Iterator[_Answer | _Fault]:
    """The answers to an errand; a fault is the last."""
    try:
        for start, end in errand.ranges:
            for page in errand.source.pages(errand.market, start, end, deadline=deadline):
                yield _answer(ws, errand, page)
    except Exception as error:
        yield _Fault(errand.market, error)


def _answer(ws: Workspace, errand: Errand, page: Page) -> _Answer:
    market, now = errand.market, ws.clock.now()
    if page.skew_seconds is not None:
        if not ws.clock.virtual and abs(page.skew_seconds) > market.interval_seconds:
            raise _disagreeing(errand.source.name, page.skew_seconds)
        # Where the server's clock is behind, its running candle must not pass for a closed one.
        now = min(now, time.time() + page.skew_seconds)
    clean = normalise(page.candles, market, now=now, start=page.start, end=page.end)
    settled = min(now, time.time() - _SETTLED_SECONDS) if errand.source.publishes_late else now
    return _Answer(market, page, clean, settled)


def _lacking(answer: _Answer) -> IntArray:
    """The open times of the settled bars that an answer covers and has no row of."""
    interval, clean = answer.market.interval_seconds, answer.clean
    first = -(-answer.page.start // interval) * interval
    end = min(answer.page.end, answer.market.floor(answer.settled))
    # A row that was refused shows that the source has the bar.
    there = np.concatenate([clean.candles.open_time, clean.refused])
    place, off = np.divmod(there - first, interval)
    lacking = np.ones(max(-(-(end - first) // interval), 0), dtype=bool)  # no set: a million bars
    lacking[place[(off == 0) & (place >= 0) & (place < len(lacking))]] = False
    return np.asarray(first + interval * np.flatnonzero(lacking), dtype=np.int64)


def _disagreeing(source: str, skew_seconds: float) -> SourceError:
    ahead = "ahead of" if skew_seconds < 0 else "behind"
    return SourceError(
        f"this machine's clock is {abs(skew_seconds):,.0f} s {ahead} that of {source}",
        code="clock.skew",
        hint="set the clock, for example: sudo timedatectl set-ntp true",
    )


def _reached(answer: _Answer) -> str:
    """How far a market is, in words."""
    times = answer.clean.candles.open_time
    return answer.market.symbol + (f" to {iso(int(times[-1]))}" if len(times) else "")
