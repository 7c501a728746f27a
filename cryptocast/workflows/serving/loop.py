"""loop: when a loop ticks, how it outlives errors, and how it repeats lasting trouble."""

from __future__ import annotations

import errno
import re
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import CryptocastError, UsageError
from cryptocast.seams import Clock
from cryptocast.values import Market, iso
from cryptocast.workflows.serving.housekeeping import Pulse
from cryptocast.workflows.serving.tick import TickReport

RECHECK_SECONDS = 30.0
"""How often a sleeping loop looks at the wall clock anew: it may have been set."""

BUGS_IN_A_ROW = 12
"""The same bug at this many ticks (an hour of 5 minutes) ends the loop: a restart may heal it."""

_REMEMBERED_ORIGINS = 4096
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class LoopTick:
    """One turn of the loop: a report, or the error that a later tick may heal."""

    at: float
    report: TickReport | None
    error: CryptocastError | None
    messages: tuple[str, ...]  # for a person; lasting trouble is repeated ever more rarely
    next_at: float | None  # when the next tick is due; None after the last


class Bug(CryptocastError):
    """An unforeseen exception; its traceback goes into the log."""

    hint = "a bug; its traceback is in logs/serve-loop.log"

    def __init__(self, cause: Exception) -> None:
        message = " ".join(f"{type(cause).__name__}: {cause}".split())
        super().__init__(message, code=f"bug.{type(cause).__name__}")
        self.cause = cause


class TickTimes:
    """When each origin is ticked: on the wall clock's grid, each at most once.

    The times follow from the present and from what was ticked, never from the tick before;
    so they don't drift, and a clock that is set ahead or back shifts or repeats nothing.
    """

    def __init__(self, market: Market, delay_seconds: float) -> None:
        """Tick `delay_seconds` after each close. Raises UsageError for an interval or more."""
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
        """Return the moment of the next tick; `now` or before if one is due, as at the start.

        An origin that failed is tried again only if the clock comes by a second time: a
        clock that ran ahead has tried origins whose time is yet to come.
        """
        if self._tried is None:
            return now
        origin = self.origin(now)
        while origin == self._tried or origin in self._served:
            origin += self._market.interval_seconds
        return origin + self._delay

    def origin(self, moment: float) -> int:
        """Return the origin that a tick at this moment forecasts from."""
        return self._market.floor(moment)

    def tried(self, origin: int) -> None:
        """Remember that there was a tick at this origin."""
        self._tried = origin

    def served(self, origin: int) -> None:
        """Remember that this origin has its forecast."""
        if origin not in self._served:
            self._served.append(origin)


class Calm:
    """Repeats trouble that lasts ever more rarely: at its first, second, fourth, eighth ... tick.

    Errors are of one kind by their code, counted until a tick passes; warnings by their
    text without its numbers, counted while they come at every tick.
    """

    def __init__(self) -> None:
        self.failures = 0  # ticks in a row that failed, by whatever error
        self._errors: dict[str, int] = {}
        self._warnings: dict[str, int] = {}

    def failed(self, error: CryptocastError) -> Iterator[str]:
        """Yield the message about a tick that failed, if it is due."""
        self.failures += 1
        count = self._errors[error.code] = self._errors.get(error.code, 0) + 1
        yield from _if_due(f"{error.message} ({error.hint})", count)

    def passed(self, warnings: Sequence[str]) -> Iterator[str]:
        """Yield the messages about a tick that made or found its forecasts."""
        if self.failures:
            yield f"healthy again after {self.failures} tick{'s' * (self.failures > 1)}"
        self.failures = 0
        self._errors.clear()
        counts: dict[str, int] = {}
        for text in warnings:
            kind = _NUMBER.sub("0", text)
            counts[kind] = self._warnings.get(kind, 0) + 1
            yield from _if_due(text, counts[kind])
        self._warnings = counts


def _if_due(text: str, count: int) -> Iterator[str]:
    """Yield the text if `count` is a power of two, with the count if it is repeated."""
    if count & (count - 1) == 0:
        yield text if count == 1 else f"{text}; for {count} ticks now"


class TickLoop:
    """The memory of a loop from one tick to the next."""

    def __init__(self, clock: Clock, times: TickTimes, pulse: Pulse, log: Path) -> None:
        """Tick at these times; tracebacks of bugs go into the file `log`."""
        self._clock = clock
        self._times = times
        self._pulse = pulse
        self._log = log
        self._calm = Calm()
        self._ticks = self._failed = 0
        self._bugs: list[str] = []  # the newest codes in a row, all of them the same
        self._warned_of_another = False

    def sleep(self) -> None:
        """Sleep until the next tick is due by the wall clock, even if that is set meanwhile."""
        while (due := self._times.due(now := self._clock.now())) > now:
            self._pulse.beat()
            self._clock.sleep_until(min(due, now + RECHECK_SECONDS))

    def attempt(self, tick: Callable[[], TickReport], at: float) -> TickReport | CryptocastError:
        """Make one tick; return its report, or the error that a later tick may heal.

        Raises errors of exit code 2: no later tick heals them.
        """
        self._ticks += 1
        self._times.tried(self._times.origin(at))
        try:
            return tick()
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

    def turn(self, at: float, result: TickReport | CryptocastError, *, last: bool) -> LoopTick:
        """Note the result of a tick in the health file, and return it.

        Raises the bug that has come at `BUGS_IN_A_ROW` ticks.
        """
        if isinstance(result, CryptocastError):
            report, error, messages = None, result, tuple(self._on_error(result))
        else:
            report, error, messages = result, None, tuple(self._on_report(result))
        self._failed += report is None
        next_at = None if last else self._times.due(self._clock.now())
        self._pulse.note(
            last_tick_at=iso(round(at)),
            origin=iso(self._times.origin(at)),
            status="failed" if report is None else "served" if report.new else "there",
            error_code=None if error is None else error.code,
            consecutive_failures=self._calm.failures,
            ticks=self._ticks,
            failed=self._failed,
            next_tick_at=None if next_at is None else iso(round(next_at)),
        )
        return LoopTick(at, report, error, messages, next_at)

    def _on_report(self, report: TickReport) -> Iterator[str]:
        """Remember what is served, and yield the messages about it."""
        self._bugs.clear()
        for forecast in report.forecasts:
            self._times.served(forecast.origin)
        yield from self._calm.passed(report.warnings)
        foreign = not report.new and self._ticks > 1 and not self._clock.virtual
        if foreign and not self._warned_of_another:
            self._warned_of_another = True
            yield "another process serves this workspace too; each origin is served once"

    def _on_error(self, error: CryptocastError) -> Iterator[str]:
        """Log a new bug, and yield the message about an error, if it is due."""
        if isinstance(error, Bug):
            self._bugs = [*(code for code in self._bugs if code == error.code), error.code]
            if len(self._bugs) == 1:
                text = "".join(traceback.format_exception(error.cause))
                with suppress(OSError), self._log.open("a", encoding="utf-8") as log:
                    log.write(f"{iso(round(self._clock.now()))} {text}")
            if len(self._bugs) >= BUGS_IN_A_ROW:
                raise error.cause
        else:
            self._bugs.clear()
        yield from self._calm.failed(error)
