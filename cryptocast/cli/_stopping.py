"""SIGTERM and SIGINT end a loop within a second, whatever it is waiting for."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptocast.workflows.serve_loop import Stop

GRACE_SECONDS = 0.6
"""So long the main thread has to end by itself; the last words have half of it again."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(last_words: Callable[[], None]) -> Iterator[Stop]:
    """A Stop that the signals ask; for the main thread.

    Python runs a handler between two steps of the main thread, so one that stands in a name
    look-up, or in a long call into a library, doesn't hear it. Then a thread says
    `last_words` and ends the process with exit code 0: the database is safe from that, as it
    is from `kill -9`.
    """
    from cryptocast.workflows.serve_loop import Stop

    stop, over = Stop(), Event()
    for name in _SIGNALS:
        signal.signal(name, stop.ask)
    heard, noted = socket.socketpair()
    noted.setblocking(False)
    before = signal.set_wakeup_fd(noted.fileno(), warn_on_full_buffer=False)
    guard = Thread(target=_guard, args=(heard, over, last_words), daemon=True)
    guard.start()
    try:
        yield stop
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        noted.close()
        guard.join()
        heard.close()


def _guard(heard: socket.socket, over: Event, last_words: Callable[[], None]) -> None:
    """Wait for the byte that Python writes at once for a signal; an empty answer is the end."""
    while number := heard.recv(1):
        if number[0] in _SIGNALS and not over.wait(GRACE_SECONDS):
            # They may block: who reads our output may have stopped reading.
            speaker = Thread(target=last_words, daemon=True)
            speaker.start()
            speaker.join(GRACE_SECONDS / 2)
            os._exit(0)
