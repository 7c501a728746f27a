"""What starts a tick after each close if no loop runs. Each module of this folder is one scheduler.

A scheduler has `when(plan)` (how often, in its own words), `texts(plan)` (what it reads, and
where that belongs), `install(plan)` and `remove(workspace)`, which return whether anything
changed, and `installed(workspace)`. None of them locks: the tick itself is safe when it runs twice.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from cryptocast import plugins
from cryptocast.errors import UsageError
from cryptocast.values import INTERVAL_SECONDS

_DAY_MINUTES = 1440
_LOCAL = ("cron", "systemd", "launchd")  # those that can be asked without a server
_PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Plan:
    """A tick of a workspace just after each close of its candles."""

    workspace: Path  # absolute
    command: tuple[str, ...]  # its executable is absolute
    log: Path
    interval: str  # of the candles
    offsets: frozenset[int]  # of local time from UTC over the year, in seconds
    delay_seconds: float = 10.0  # after the close, for schedulers that know seconds
    monitor_minutes: float = 60.0  # how often it is asked whether the model declined

    def local_times(self) -> tuple[list[int], list[int]]:
        """Return the minutes and the hours, by local time, at which candles close.

        Some closes fall on other hours in summer than in winter (a candle of 6 h), and the
        hours of both are in the list: a tick that comes too often changes nothing.
        """
        every = INTERVAL_SECONDS[self.interval] // 60
        closes = {
            (close + offset // 60) % _DAY_MINUTES
            for close in range(0, _DAY_MINUTES, every)
            for offset in self.offsets
        }
        return sorted({c % 60 for c in closes}), sorted({c // 60 for c in closes})


@dataclass(frozen=True, slots=True)
class Text:
    """A text that a scheduler reads, and where it belongs: `crontab`, or a file."""

    place: str
    text: str


def get(kind: str) -> ModuleType:
    """Return the scheduler of that name. Raises ConfigError that lists the known ones."""
    return plugins.load(plugins.SCHEDULERS, kind)


def checked(workspace: Path) -> Path:
    """Return the folder if a scheduler's line can name it.

    Raises UsageError for control characters and for a name that is not UTF-8.
    """
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", str(workspace)):
        raise UsageError(
            f"{str(workspace)!r} cannot be scheduled: no scheduler's line holds such a path",
            hint="rename the folder, or cryptocast serve-loop",
        )
    return workspace


def installed(workspace: Path) -> str | None:
    """Return the kind of the scheduler on this machine that has a workspace's ticks, or None."""
    for kind in _LOCAL:
        with suppress(UsageError):  # there is no such scheduler here
            if get(kind).installed(workspace):
                return kind
    return None


def mark(workspace: Path) -> str:
    """Return the comment that tells a workspace's own lines from all others.

    It is quoted, because then no path's mark is the end of another's.
    """
    return f"# cryptocast: {shlex.quote(str(workspace))}"


def unique_name(workspace: Path) -> str:
    """Return a name that no other workspace has, fit for every scheduler and file system."""
    word = re.sub(r"[^a-z0-9]+", "-", workspace.name.lower()).strip("-")[:32]
    digest = hashlib.sha256(str(workspace).encode()).hexdigest()[:8]
    return "-".join(part for part in ("cryptocast", word, digest) if part)


def call(*command: str, stdin: str | None = None, hint: str, empty: str | None = None) -> str:
    """Run a program and return its stdout; `hint` says how to do without it.

    If it fails with the words `empty` on stderr, it only has nothing to show. Bytes that are
    not UTF-8 come back as they went. Raises UsageError if the program is not in PATH, or
    refuses.
    """
    program = shutil.which(command[0])
    if program is None:
        raise UsageError(
            f"there is no program '{command[0]}' on this machine",
            code="usage.scheduler",
            hint=hint,
        )
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, and no shell
            [program, *command[1:]],
            input=(stdin or "").encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
            env={**os.environ, "LC_ALL": "C"},  # its messages are compared
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{' '.join(command)} failed: {type(error).__name__}",
            code="usage.scheduler",
            hint=hint,
        ) from error
    complaint = done.stderr.decode(errors="replace").strip()
    if done.returncode == 0:
        return done.stdout.decode(errors="surrogateescape")
    if empty is not None and empty in complaint:
        return ""
    raise UsageError(
        f"{' '.join(command)} failed: {complaint.partition(chr(10))[0] or done.returncode}",
        code="usage.scheduler",
        hint=hint,
    )
