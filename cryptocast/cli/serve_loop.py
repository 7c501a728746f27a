"""cryptocast serve-loop."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.root.options import Run

if TYPE_CHECKING:
    from cryptocast.workflows.serve_loop import Stop
    from cryptocast.workspace import Workspace

NAME = "serve-loop"
EXAMPLE = "cryptocast serve-loop --delay 10"

GRACE_SECONDS = 0.6
"""How long the main thread has to end by itself; the last words have half of it again."""

_LAST_PORT = 65535
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_ReportEvery = Annotated[
    float | None,
    typer.Option(min=1, help="Write the report anew every N minutes. Default: never."),
]
_Api = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT", help="Serve HTTP there too, as cryptocast api does. Default: no."
    ),
]


def command(
    run: Run,
    delay: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds after each close. Default: [loop] delay_seconds (10)."),
    ] = None,
    max_ticks: Annotated[
        int | None, typer.Option(min=1, help="Stop after N ticks. Default: never.")
    ] = None,
    report_every: _ReportEvery = None,
    api: _Api = None,
) -> None:
    """Make a tick just after each close, until stopped (Ctrl-C or SIGTERM: exit 0).

    On a terminal, one screen is redrawn; elsewhere each tick prints a line, with --json a
    document and at the end one with the summary. Lasting trouble is reported less and less
    often. With --as-of the loop jumps from tick to tick on the virtual clock, so it needs
    --max-ticks.
    """
    from cryptocast.cli.screens.loop import LoopOutput
    from cryptocast.errors import UsageError
    from cryptocast.workflows.serve_loop import serve_loop

    if run.as_of is not None and max_ticks is None:
        raise UsageError("serve-loop on a virtual clock would never end", hint="add --max-ticks 12")
    output = LoopOutput(run)
    with stopped_by_signals(output.end) as stop:
        with run.open() as ws, _api(ws, api, quiet=run.quiet), output.shown():
            for turn in serve_loop(
                ws,
                stop,
                delay_seconds=delay,
                max_ticks=max_ticks,
                report_every_minutes=report_every,
            ):
                output.tick(turn)
        output.end()


@contextmanager
def _api(ws: Workspace, address: str | None, *, quiet: bool) -> Iterator[None]:
    """Serve HTTP beside the loop for as long as the block lasts, if an address is given."""
    if address is None:
        yield
        return
    from cryptocast.cli.api import LOOPBACK, opened
    from cryptocast.errors import UsageError

    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > _LAST_PORT:
        raise UsageError(f"--api {address} names no port", hint="--api 8777, or --api 0.0.0.0:8777")
    with opened(ws, host.strip("[]") or LOOPBACK, int(port)) as service:
        if not quiet:
            print(f"served at {service.url}", file=sys.stderr, flush=True)
        yield


@contextmanager
def stopped_by_signals(last_words: Callable[[], None]) -> Iterator[Stop]:
    """Yield a Stop that SIGTERM, SIGINT and SIGHUP trigger within a second; for the main thread.

    SIGHUP comes when the terminal closes; under `nohup` it is ignored as before.

    Python runs a signal handler between two steps of the main thread, so one that is inside a
    name look-up, or a long call into a library, doesn't hear it. In that case a thread calls
    `last_words` and ends the process with exit code 0: that is safe for the database, as
    `kill -9` is.
    """
    from cryptocast.workflows.serve_loop import Stop

    stop, over = Stop(), Event()
    for name in _SIGNALS:
        if name is not signal.SIGHUP or signal.getsignal(name) is not signal.SIG_IGN:
            signal.signal(name, stop.ask)
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    guard = Thread(target=_guard, args=(reading, over, last_words), daemon=True)
    guard.start()
    try:
        yield stop
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        writing.close()
        guard.join()
        reading.close()


def _guard(signals: socket.socket, over: Event, last_words: Callable[[], None]) -> None:
    """Wait for the byte that Python writes at once for a signal; an empty read is the end."""
    while number := signals.recv(1):
        if number[0] in _SIGNALS and not over.wait(GRACE_SECONDS):
            # They may block: the reader of our output may have stopped reading.
            speaker = Thread(target=last_words, daemon=True)
            speaker.start()
            speaker.join(GRACE_SECONDS / 2)
            os._exit(0)
