"""serve-loop: a tick just after each close, until stopped."""

from __future__ import annotations

import errno
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from cryptocast.errors import CryptocastError, UsageError
from cryptocast.values import Market, iso
from cryptocast.workflows.forecast import tick
from cryptocast.workflows.serving.health import Pulse, log_file
from cryptocast.workflows.serving.housekeeping import Housekeeping
from cryptocast.workflows.serving.tick import TickReport
from cryptocast.workflows.serving.trouble import Calm
from cryptocast.workspace import Workspace

RECHECK_SECONDS = 30.0
"""So often a sleeping loop looks at the wall clock anew: it may have been set."""

BUGS_IN_A_ROW = 12
"""The same bug at so many ticks (an hour of 5 minutes) ends the loop: a new process may heal it."""

_REMEMBERED_ORIGINS = 4096


@dataclass(frozen=True, slots=True)
class LoopTick:
    """One turn of the loop: a report, or the error that a later tick may heal."""

    at: float
    report: TickReport | None
    error: CryptocastError | None
    told: tuple[str, ...]  # what a person should be told of it; lasting trouble ever more rarely
    next_at: float | None  # when the next tick is due; None after the last


class Stopped(KeyboardInterrupt):
    """Raised inside a tick, or a sleep, that is broken off because the loop is to stop."""


class Stop:
    """How a signal stops the loop at once: `ask` is the handler, in the main thread.

    Inside `interruptible()` it raises Stopped, so that neither a source nor a lock is waited
    for any longer, and the store rolls back; outside, it is remembered to the next entry.
    """

    def __init__(self) -> None:
        self.asked = False
        self._may_raise = False

    def ask(self, *_: object) -> None:
        """Stop. Raised once only: a second signal must not break the rolling back."""
        first, self.asked = not self.asked, True
        if first and self._may_raise:
            raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What may be broken off."""
        self._may_raise = True
        try:
            if self.asked:
                raise Stopped
            yield
        finally:
            self._may_raise = False


class Bug(CryptocastError):
    """An exception that nobody foresaw; its traceback goes into the log."""

    hint = "a bug; its traceback is in logs/serve-loop.log"

    def __init__(self, cause: Exception) -> None:
        told = " ".join(f"{type(cause).__name__}: {cause}".split())
        super().__init__(told, code=f"bug.{type(cause).__name__}")
        self.cause = cause


class Schedule:
    """Which origin is ticked when: on the wall clock's grid, each at most once.

    It follows from the present and from what was ticked, never from the tick before; so it
    doesn't drift, and a clock that is set ahead or back shifts or repeats nothing.
    """

    def __init__(self, market: Market, delay_seconds: float) -> None:
        if delay_seconds >= market.interval_seconds:
            raise UsageError(
                f"a delay of {delay_seconds:g} s is as long as the interval {market.interval}",
                code="usage.delay",
                hint="a few seconds are enough: --delay 10",
            )
        self._market = market
        self._delay = delay_seconds
        self._tried: int | None = None
        self._served: deque[int] = deque(maxlen=_REMEMBERED_ORIGINS)

    def due(self, now: float) -> float:
        """The moment of the next tick; `now` or before where one is due, as at the start.

        An origin that failed is tried again only where the clock comes by a second time: a
        clock that ran ahead has tried origins whose time is yet to come.
        """
        if self._tried is None:
            return now
        origin = self._market.floor(now)
        while origin == self._tried or origin in self._served:
            origin += self._market.interval_seconds
        return origin + self._delay

    def tried(self, origin: int) -> None:
        """There was a tick at this origin."""
        self._tried = origin

    def served(self, origin: int) -> None:
        """This origin has its forecast."""
        if origin not in self._served:
            self._served.append(origin)


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
    BUGS_IN_A_ROW ticks. Any other error is told, and the next tick tries again. The newest
    state is in the workspace's `logs/health.json`.
    """
    delay = ws.settings.loop.delay_seconds if delay_seconds is None else delay_seconds
    loop = _Loop(ws, Schedule(ws.markets()[0], delay))
    beside = Housekeeping(ws, report_every_minutes=report_every_minutes)
    loop.pulse.begin()
    ticks = 0
    try:
        while max_ticks is None or ticks < max_ticks:
            with stop.interruptible():
                loop.sleep()
                at = ws.clock.now()
                came = loop.attempt(at)
                ws.store.rest()  # what a tick took is not held for the minutes between
            ticks += 1
            turn = loop.turn(at, came, last=ticks == max_ticks)
            yield replace(turn, told=(*turn.told, *beside.after_tick()))
    except KeyboardInterrupt:  # Stopped, or what DuckDB makes of it
        if not stop.asked:
            raise
    finally:
        beside.stop()
        loop.pulse.end()


class _Loop:
    """What the loop remembers from one tick to the next."""

    def __init__(self, ws: Workspace, schedule: Schedule) -> None:
        self._ws = ws
        self._market = ws.markets()[0]  # all have one interval
        self._schedule = schedule
        self._calm = Calm()
        self._ticks = self._failed = 0
        self._bugs: list[str] = []  # the newest codes in a row, all of them the same
        self._told_of_another = False
        self.pulse = Pulse(ws)

    def sleep(self) -> None:
        """Until the next tick is due by the wall clock, whatever happens to that meanwhile."""
        clock = self._ws.clock
        while (due := self._schedule.due(now := clock.now())) > now:
            self.pulse.beat()
            clock.sleep_until(min(due, now + RECHECK_SECONDS))

    def attempt(self, at: float) -> TickReport | CryptocastError:
        """One tick, or the error that a later one may heal."""
        self._ticks += 1
        self._schedule.tried(self._market.floor(at))
        try:
            return tick(self._ws)
        except CryptocastError as error:
            if error.exit_code == 2:
                raise
            return error
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, type(error).__name__)
            return CryptocastError(
                f"{type(error).__name__}: {error}",
                code=f"os.{name.lower()}",
                hint="check the disk, the folder and the limits of this machine",
            )
        except Exception as error:
            return Bug(error)

    def turn(self, at: float, came: TickReport | CryptocastError, *, last: bool) -> LoopTick:
        """What came of a tick, in the health file and for whoever listens."""
        if isinstance(came, CryptocastError):
            report, error, told = None, came, tuple(self._on_error(came))
        else:
            report, error, told = came, None, tuple(self._on(came))
        self._failed += report is None
        next_at = None if last else self._schedule.due(self._ws.clock.now())
        self.pulse.tell(
            last_tick_at=iso(round(at)),
            origin=iso(self._market.floor(at)),
            status="failed" if report is None else "served" if report.new else "there",
            error_code=None if error is None else error.code,
            consecutive_failures=self._calm.failures,
            ticks=self._ticks,
            failed=self._failed,
            next_tick_at=None if next_at is None else iso(round(next_at)),
        )
        return LoopTick(at, report, error, told, next_at)

    def _on(self, report: TickReport) -> Iterator[str]:
        self._bugs.clear()
        for forecast in report.forecasts:
            self._schedule.served(forecast.origin)
        yield from self._calm.passed(report.warnings)
        foreign = not report.new and self._ticks > 1 and not self._ws.clock.virtual
        if foreign and not self._told_of_another:
            self._told_of_another = True
            yield "another process serves this workspace too; each origin is served once"

    def _on_error(self, error: CryptocastError) -> Iterator[str]:
        if isinstance(error, Bug):
            self._bugs = [*(code for code in self._bugs if code == error.code), error.code]
            if len(self._bugs) == 1:
                _log(self._ws, error.cause)
            if len(self._bugs) >= BUGS_IN_A_ROW:
                raise error.cause
        else:
            self._bugs.clear()
        yield from self._calm.failed(error)


def _log(ws: Workspace, cause: Exception) -> None:
    """Append a bug's traceback to the log."""
    text = "".join(traceback.format_exception(cause))
    with suppress(OSError), log_file(ws).open("a", encoding="utf-8") as log:
        log.write(f"{iso(round(ws.clock.now()))} {text}")
