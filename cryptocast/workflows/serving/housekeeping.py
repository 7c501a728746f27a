"""housekeeping: what a loop does beside its ticks.

It shows that it lives (`logs/health.json`, and systemd if that has started us), and runs
chores, each in a process of its own: so a verdict, a new page or a whole retraining costs no
tick its time, its memory or its life.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cryptocast.config import Settings
from cryptocast.drafts import swapping
from cryptocast.seams import Clock
from cryptocast.values import iso

HEALTH_FILE = "health.json"

_DECLINED = 6
_PATIENCE_SECONDS = 0.5
_NICE = 10


def loop_health(logs: Path) -> Mapping[str, Any] | None:
    """Read the health file of `serve-loop` in a folder; None if there is none to be read."""
    with suppress(OSError, ValueError):
        health = json.loads((logs / HEALTH_FILE).read_text(encoding="utf-8"))
        return health if isinstance(health, dict) else None
    return None


def is_alive(health: Mapping[str, Any] | None, since: float) -> bool:
    """Return whether a loop on the system's clock was to tick at that moment or later."""
    if health is None or health.get("virtual") or health.get("state") == "stopped":
        return False
    awaited = health.get("next_tick_at") or health.get("updated_at")
    with suppress(ValueError, TypeError):
        return datetime.fromisoformat(str(awaited)).timestamp() >= since
    return False


class Pulse:
    """Shows that the loop lives, and how its last tick went: in a file, and to systemd.

    It never raises: a file that cannot be written grows old, which says it all. The times of
    a virtual clock would mislead a watchdog, so systemd hears nothing of it, and its file says
    `virtual` and never takes the place of that of a loop that lives.
    """

    def __init__(self, clock: Clock, folder: Path) -> None:
        """Write into `folder`, which need not exist yet."""
        self._clock = clock
        self._folder = folder
        self._facts: dict[str, object] = {
            "pid": os.getpid(),
            "state": "starting",
            "started_at": iso(round(clock.now())),
            **({"virtual": True} if clock.virtual else {}),
        }

    def begin(self) -> None:
        """Note that the loop starts; remove what killed loops left half-written."""
        with suppress(OSError):
            for leftover in self._folder.glob(f".{HEALTH_FILE}.*"):
                leftover.unlink()
        self._write()
        self._notify("READY=1")

    def note(self, **facts: object) -> None:
        """Note the result of a tick that is over."""
        self._facts.pop("waiting_for", None)
        self._facts |= {"state": "running", **facts}
        self._write()
        self.beat()

    def waiting(self, what: str) -> None:
        """Note what a tick waits for."""
        self._facts |= {"state": "waiting", "waiting_for": what}
        self._write()
        self.beat()

    def beat(self) -> None:
        """Tell systemd's watchdog that the loop is awake: some 30 s apart and after each tick."""
        self._notify("WATCHDOG=1")

    def end(self) -> None:
        """Note that the loop ends; leave a file alone that another loop has written since."""
        self._notify("STOPPING=1")
        health = loop_health(self._folder)
        if health is not None and health.get("pid") == os.getpid():
            self._facts |= {"state": "stopped", "next_tick_at": None}
            self._write()

    def _write(self) -> None:
        """Replace the file as a whole: a reader never sees half of it."""
        if self._clock.virtual and is_alive(loop_health(self._folder), time.time()):
            return
        document = self._facts | {"updated_at": iso(round(self._clock.now()))}
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            with swapping(self._folder / HEALTH_FILE) as draft:
                draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    def _notify(self, state: str) -> None:
        """Send one datagram to systemd, as sd_notify(3) describes it."""
        address = os.environ.get("NOTIFY_SOCKET")
        if not address or self._clock.virtual:
            return
        if address.startswith("@"):  # the abstract namespace
            address = "\0" + address[1:]
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), address)


@dataclass(slots=True)
class _Chore:
    """A command that runs at intervals, never twice at once."""

    words: tuple[str, ...]
    every_seconds: float  # infinity: only on demand
    due: float  # by the workspace's clock
    process: subprocess.Popen[bytes] | None = None


class Housekeeping:
    """Runs `monitor`, `report` and `retrain --if-needed` beside the loop, and reports their ends.

    Nothing runs on a virtual clock, whose loop is over before a process has started, nor
    without polars: the serving image has no more than ticks need.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        folder: Path,
        *,
        report_every_minutes: float | None = None,
    ) -> None:
        """Plan the chores of the workspace in `folder`.

        With `report_every_minutes` None no page is written.
        """
        self._clock = clock
        self._folder = folder
        self._retrains = settings.retrain.auto
        now = clock.now()
        minutes = settings.monitor.every_minutes
        self._monitor = _Chore(("monitor",), minutes * 60, now + minutes * 60)
        self._retrain = _Chore(("retrain", "--if-needed"), float("inf"), float("inf"))
        self._chores = [self._monitor, self._retrain]
        if report_every_minutes is not None:
            self._chores.append(_Chore(("report",), report_every_minutes * 60, now))

    def after_tick(self) -> Iterator[str]:
        """Start what is due, and yield what ended since the last time."""
        if self._clock.virtual or not _installed("polars"):
            return
        now = self._clock.now()
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
        """Yield what the end of a chore means; a decline makes a retraining due."""
        name = chore.words[0]
        if chore is self._monitor and code == _DECLINED:
            yield "the monitor found a decline: cryptocast monitor shows why"
            if self._retrains:
                self._retrain.due = 0.0
        elif code:
            yield f"{name} ended with exit code {code}: see logs/{name}.log"
        elif chore is self._retrain:
            yield "retrain has ended: see logs/retrain.log for its result"

    def _start(self, chore: _Chore) -> Iterator[str]:
        """Start a chore at low priority; yield what a person should know of it."""
        name = chore.words[0]
        if chore is self._retrain:
            yield "retrain has started beside the loop"
        command = (sys.executable, "-m", "cryptocast", *chore.words, "-w", str(self._folder))
        try:
            with (self._folder / "logs" / f"{name}.log").open("ab") as log:
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
