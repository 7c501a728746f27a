"""serve-loop: a tick just after each close, until stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cryptocast.seams import Progress, Silence
from cryptocast.workflows.forecast import tick
from cryptocast.workflows.serving.housekeeping import Housekeeping, Pulse
from cryptocast.workflows.serving.loop import LoopTick, TickLoop, TickTimes
from cryptocast.workspace import Workspace


class Stopped(KeyboardInterrupt):
    """Raised inside a tick, or a sleep, that is broken off because the loop is to stop."""


class Stop:
    """The way a signal stops the loop at once: `ask` is the handler, in the main thread.

    Inside `interruptible()` it raises Stopped, so that neither a source nor a lock is waited
    for any longer, and the store rolls back; outside, it is remembered to the next entry.
    """

    def __init__(self) -> None:
        self.asked = False
        self._may_raise = False

    def ask(self, *_: object) -> None:
        """Stop. Raises only once: a second signal must not break the rolling back."""
        first, self.asked = not self.asked, True
        if first and self._may_raise:
            raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Allow `ask` to break off the block."""
        self._may_raise = True
        try:
            if self.asked:
                raise Stopped
            yield
        finally:
            self._may_raise = False


class _Waits(Silence):
    """A Progress that shows what a tick waits for, in the health file too, and nothing else."""

    def __init__(self, shown: Progress, pulse: Pulse) -> None:
        self._shown = shown
        self._pulse = pulse

    def waiting(self, what: str) -> None:
        """Say what is waited for."""
        self._shown.waiting(what)
        self._pulse.waiting(what)


def serve_loop(
    ws: Workspace,
    stop: Stop,
    *,
    delay_seconds: float | None = None,
    max_ticks: int | None = None,
    report_every_minutes: float | None = None,
) -> Iterator[LoopTick]:
    """Tick at once, then `delay_seconds` after each close, until `stop` or after `max_ticks`.

    Beside it the monitor runs every `[monitor] every_minutes`, and what else `Housekeeping` does.

    Raises what no later tick heals: UsageError and ConfigError, and a bug that comes at
    `BUGS_IN_A_ROW` ticks. Any other error is a message, and the next tick tries again. The newest
    state is in the workspace's `logs/health.json`.
    """
    delay = ws.settings.loop.delay_seconds if delay_seconds is None else delay_seconds
    times = TickTimes(ws.markets()[0], delay)  # all markets have one interval
    logs = ws.folder / "logs"
    pulse = Pulse(ws.clock, logs)
    loop = TickLoop(ws.clock, times, pulse, logs / "serve-loop.log")
    beside = Housekeeping(
        ws.settings, ws.clock, ws.folder, report_every_minutes=report_every_minutes
    )
    ws.progress = _Waits(ws.progress, pulse)
    pulse.begin()
    ticks = 0
    try:
        while max_ticks is None or ticks < max_ticks:
            with stop.interruptible():
                loop.sleep()
                at = ws.clock.now()
                result = loop.attempt(lambda: tick(ws), at)
                ws.store.rest()  # what a tick took is not held for the minutes between
            ticks += 1
            turn = loop.turn(at, result, last=ticks == max_ticks)
            yield replace(turn, messages=(*turn.messages, *beside.after_tick()))
    except KeyboardInterrupt:  # Stopped, or what DuckDB makes of it
        if not stop.asked:
            raise
    finally:
        beside.stop()
        pulse.end()
