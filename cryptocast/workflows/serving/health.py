"""The signs of life of a loop: `logs/health.json`, and systemd where it has started us."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from cryptocast.values import iso
from cryptocast.workspace import Workspace

FILE_NAME = "health.json"


class Pulse:
    """Tells whoever watches that the loop lives, and how its last tick went.

    It never raises: a file that cannot be written grows old, which says it all. A virtual
    clock's times would mislead a watchdog, so nothing is told of it.
    """

    def __init__(self, ws: Workspace) -> None:
        self._clock = ws.clock
        self._folder = ws.folder / "logs"
        self._facts: dict[str, object] = {
            "pid": os.getpid(),
            "state": "starting",
            "started_at": iso(round(ws.clock.now())),
        }

    def begin(self) -> None:
        """The loop starts; what killed loops left half-written goes."""
        with suppress(OSError):
            for leftover in self._folder.glob(f".{FILE_NAME}.*"):
                leftover.unlink()
        self._write()
        self._notify("READY=1")

    def tell(self, **facts: object) -> None:
        """A tick is over: note what came of it."""
        self._facts |= {"state": "running", **facts}
        self._write()
        self.beat()

    def beat(self) -> None:
        """The loop is awake; for systemd's watchdog, some 30 s apart and after each tick."""
        self._notify("WATCHDOG=1")

    def end(self) -> None:
        """The loop ends; a file that another loop has written since is left alone."""
        self._notify("STOPPING=1")
        with suppress(OSError, ValueError):
            if json.loads((self._folder / FILE_NAME).read_bytes())["pid"] == os.getpid():
                self._facts |= {"state": "stopped", "next_tick_at": None}
                self._write()

    def _write(self) -> None:
        """Replace the file whole: a reader never sees half of it."""
        if self._clock.virtual:
            return
        document = self._facts | {"updated_at": iso(round(self._clock.now()))}
        draft = self._folder / f".{FILE_NAME}.{os.getpid()}"
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            draft.replace(self._folder / FILE_NAME)

    def _notify(self, state: str) -> None:
        """One datagram to systemd, as sd_notify(3) describes it."""
        address = os.environ.get("NOTIFY_SOCKET")
        if not address or self._clock.virtual:
            return
        if address.startswith("@"):  # the abstract namespace
            address = "\0" + address[1:]
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), address)


def log_file(ws: Workspace) -> Path:
    """Where a loop keeps the tracebacks of bugs."""
    return ws.folder / "logs" / "serve-loop.log"
