"""processes: worker processes on this machine, one pool for the life of the engine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import cryptocast
from cryptocast.config import EngineSettings
from cryptocast.engines._work import import_all, in_order, work
from cryptocast.errors import EngineError
from cryptocast.seams import Later

P = TypeVar("P")
S = TypeVar("S")
R = TypeVar("R")

_MOST_SHARED = 2  # the pieces of as many maps may be under way
_MOST_DEATHS = 3  # of workers in a row, before a piece counts as deadly


class Engine:
    """A pool of spawned processes: forked ones would inherit threads and locks of libraries.

    What the pieces share is written to a private file once, and read once by each worker.
    """

    def __init__(self, settings: EngineSettings) -> None:
        """Start nothing yet; by default there are as many workers as this process has cores."""
        self.workers = settings.workers or _cores()
        self._pool: ProcessPoolExecutor | None = None
        self._folder: Path | None = None
        self._shared: deque[tuple[Any, Path]] = deque()

    def map(
        self, function: Callable[[P, S], R], pieces: Iterable[P | Later], shared: S
    ) -> Iterator[R]:
        """Yield the results, in the order of the pieces; one whose worker died is done again.

        Raises EngineError (`engine.worker`) if workers die again and again.
        """
        file, deaths = self._file_of(shared), 0

        def submit(piece: P) -> tuple[P, Future[Any]]:
            with contextlib.suppress(BrokenProcessPool):
                return piece, self._started().submit(_work, function, piece, file)
            self._stop()
            return piece, self._started().submit(_work, function, piece, file)

        def result(waiting: deque[tuple[P, Future[Any]]]) -> Any:
            nonlocal deaths
            while True:
                try:
                    done = waiting[0][1].result()
                except BrokenProcessPool:
                    deaths += 1
                    if deaths > _MOST_DEATHS:
                        raise _deadly() from None
                    self._stop()
                    again = [submit(piece) for piece, _ in waiting]
                    waiting.clear()
                    waiting.extend(again)
                else:
                    deaths = 0
                    waiting.popleft()
                    return done

        return in_order(pieces, submit, result, 2 * self.workers)

    def prepare(self, modules: Sequence[str]) -> None:
        """Let each worker import the modules."""
        with contextlib.suppress(BrokenProcessPool):
            for _ in range(self.workers):
                self._started().submit(import_all, modules)

    def close(self) -> None:
        """End the workers, also those that are still at work, and remove what they shared."""
        self._stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
        self._shared.clear()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, _begin)
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            # Public as `kill_workers` from Python 3.14 on.
            processes = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()
            self._pool = None

    def _file_of(self, shared: Any) -> Path:
        """Return the file that holds what pieces share; searches share one value for hours."""
        for value, path in self._shared:
            if value is shared:
                return path
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="cryptocast-"))
        descriptor, name = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(descriptor, "wb") as file:
            pickle.dump(shared, file, pickle.HIGHEST_PROTOCOL)
        self._shared.append((shared, Path(name)))
        if len(self._shared) > _MOST_SHARED:
            self._shared.popleft()[1].unlink()
        return Path(name)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _deadly() -> EngineError:
    return EngineError(
        f"a worker process was killed, and {_MOST_DEATHS} others that did its piece again",
        code="engine.worker",
        hint="is the memory used up? take fewer: [engine] workers in cryptocast.toml",
    )


def _begin() -> None:
    """Leave Ctrl-C to the driver, and end with it, however it ends."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each core has a worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = multiprocessing.parent_process()
    assert driver is not None  # noqa: S101 - a spawned process has one
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()


def _end_with(driver: BaseProcess) -> None:
    driver.join()
    os._exit(1)


def _work(function: Callable[[Any, Any], Any], piece: Any, file: Path) -> Any:
    return work(cryptocast.__version__, function, piece, _read(file))


@lru_cache(maxsize=_MOST_SHARED)
def _read(file: Path) -> Any:
    return pickle.loads(file.read_bytes())  # noqa: S301 - only this user can write its folder
