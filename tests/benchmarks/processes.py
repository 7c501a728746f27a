"""Whole processes, timed: seconds on the wall and the most memory that each one held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process took and printed."""

    seconds: float
    mebibytes: float
    stdout: str
    cpu: float = 0.0  # seconds of all its threads, which hardly depend on how busy the machine is


@dataclass(frozen=True, slots=True)
class Summary:
    """Several runs of one process."""

    seconds: tuple[float, ...]
    mebibytes: float  # of the hungriest run

    @property
    def median(self) -> float:
        """Seconds of the middle run."""
        return median(self.seconds)

    def times(self, other: Summary) -> float:
        """How many times as long as the other: the median of the ratios of each round.

        Another job that starts half-way slows both of a round, and leaves their ratio.
        """
        return median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))

    def __str__(self) -> str:
        return f"{self.median:.3f} s (min {min(self.seconds):.3f})"


def environment(threads: int | None = None) -> dict[str, str]:
    """Ours without settings of cryptocast; `threads` for the mathematics, else their defaults.

    Bytecode is written and used, as after any first run of an installed program.
    """
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CRYPTOCAST_")
        and name not in ("MLFLOW_TRACKING_URI", "PYTHONDONTWRITEBYTECODE")
    }
    if threads is not None:
        mine |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return mine


def run(command: Sequence[str], folder: Path) -> Usage:
    """Run a process to its end. Raises SystemExit with what it said where it fails.

    Peak memory is that of the child alone as long as it is above our own: Linux hands a
    child the peak of the process that started it. So whoever calls this must stay small.
    """
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=said
        ) as process:
            assert process.stdout is not None
            stdout = process.stdout.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read().decode()}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # bytes there, KiB elsewhere
    cpu = usage.ru_utime + usage.ru_stime
    return Usage(seconds, usage.ru_maxrss / unit, stdout, cpu)


def once(usage: Usage) -> Summary:
    """A single run of a process that takes too long for more."""
    return Summary((usage.seconds,), usage.mebibytes)


def interleaved(actions: Mapping[str, Callable[[int], Usage]], rounds: int) -> dict[str, Summary]:
    """Every action once a round, so that noise of the machine falls on all; a first round warms."""
    seen: dict[str, list[Usage]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            usage = action(number)
            if number:
                seen[name].append(usage)
    return {
        name: Summary(tuple(u.seconds for u in runs), max(u.mebibytes for u in runs))
        for name, runs in seen.items()
    }


class Worker:
    """A process that answers a line of JSON with a line of JSON; the first one says it is ready."""

    def __init__(self, command: Sequence[str], folder: Path, threads: int) -> None:
        self._said = (folder / f"{Path(command[1]).stem}.log").open("w+")
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.ready = self._answer()

    def ask(self, **question: Any) -> dict[str, Any]:
        """Send a question and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):  # libraries print what they like
                answer: dict[str, Any] = json.loads(line)
                return answer
        self._said.seek(0)
        raise SystemExit(f"a worker died:\n{self._said.read()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._said.close()
