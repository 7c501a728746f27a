"""housekeeping: what the loop has done beside its ticks, each in a process of its own.

So a verdict, a new page or a whole retraining costs no tick its time, its memory or its life.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec

from cryptocast.workspace import Workspace

_DECLINED = 6
_PATIENCE_SECONDS = 0.5
_NICE = 10


@dataclass(slots=True)
class _Chore:
    """A command that runs every so often, never twice at once."""

    words: tuple[str, ...]
    every_seconds: float  # infinity: only when it is asked for
    due: float  # by the workspace's clock
    process: subprocess.Popen[bytes] | None = None


class Housekeeping:
    """Runs `monitor`, `report` and `retrain --if-needed` beside the loop, and tells their ends.

    On a virtual clock nothing is run: its loop is over before a process has started. Nor is it
    where polars isn't installed: the serving image has no more than ticks need.
    """

    def __init__(self, ws: Workspace, *, report_every_minutes: float | None = None) -> None:
        """`report_every_minutes` None: no page is written."""
        self._ws = ws
        now = ws.clock.now()
        minutes = ws.settings.monitor.every_minutes
        self._monitor = _Chore(("monitor",), minutes * 60, now + minutes * 60)
        self._retrain = _Chore(("retrain", "--if-needed"), float("inf"), float("inf"))
        self._chores = [self._monitor, self._retrain]
        if report_every_minutes is not None:
            self._chores.append(_Chore(("report",), report_every_minutes * 60, now))

    def after_tick(self) -> Iterator[str]:
        """Start what is due, and tell what ended since the last time."""
        if self._ws.clock.virtual or not _installed("polars"):
            return
        now = self._ws.clock.now()
        for chore in self._chores:
            if chore.process is not None and (code := chore.process.poll()) is not None:
                chore.process = None
                yield from self._ended(chore, code)
        for chore in self._chores:
            if chore.process is None and now >= chore.due:
                chore.due = now + chore.every_seconds
                yield from self._start(chore)

    def stop(self) -> None:
        """End what still runs; an interrupted retraining leaves production as it is."""
        running = [chore.process for chore in self._chores if chore.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_SECONDS)

    def _ended(self, chore: _Chore, code: int) -> Iterator[str]:
        name = chore.words[0]
        if chore is self._monitor and code == _DECLINED:
            yield "the monitor says declined: cryptocast monitor tells why"
            if self._ws.settings.retrain.auto:
                self._retrain.due = 0.0
        elif code:
            yield f"{name} ended with {code}: logs/{name}.log tells why"
        elif chore is self._retrain:
            yield "retrain has ended: logs/retrain.log tells what came of it"

    def _start(self, chore: _Chore) -> Iterator[str]:
        name = chore.words[0]
        if chore is self._retrain:
            yield "retrain has started, beside the loop"
        command = (sys.executable, "-m", "cryptocast", *chore.words, "-w", str(self._ws.folder))
        try:
            with (self._ws.folder / "logs" / f"{name}.log").open("ab") as log:
                chore.process = subprocess.Popen(  # noqa: S603 - our own program
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            with suppress(OSError, AttributeError):  # no such thing on Windows
                os.setpriority(os.PRIO_PROCESS, chore.process.pid, _NICE)
        except OSError as error:
            yield f"{name} could not be started: {error.strerror}"


def _installed(module: str) -> bool:
    with suppress(ImportError):
        return find_spec(module) is not None
    return False
