"""status --watch: the screen, read anew where the store has changed, and drawn every second."""

from __future__ import annotations

import dataclasses
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cryptocast.cli._status_screen import is_plain, screen
from cryptocast.errors import StoreError
from cryptocast.workflows.status import status

if TYPE_CHECKING:
    from cryptocast.workspace import Workspace

_REFRESH_SECONDS = 1.0
_REREAD_SECONDS = 30.0
_WATCHED = (Path("cryptocast.duckdb"), Path("logs") / "health.json")


def watch(ws: Workspace, symbols: tuple[str, ...]) -> None:
    """Draw until Ctrl-C. Who writes to the store waits for a read only where it has changed.

    Raises what the first look raises; after that a busy store is told on the screen.
    """
    console = Console(highlight=False)
    view = _View(ws, symbols)
    with (
        suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(view.drawn(console), refresh=True)
            time.sleep(_REFRESH_SECONDS)
            view.look()


class _View:
    """The newest report, and of which files it was made."""

    def __init__(self, ws: Workspace, symbols: tuple[str, ...]) -> None:
        self._ws = ws
        self._symbols = symbols
        self._state, self._read_at = self._files(), time.monotonic()
        self._report = status(ws, symbols=symbols)
        self._trouble = ""

    def look(self) -> None:
        """Read the store where there may be something new."""
        state, now = self._files(), time.monotonic()
        if state == self._state and now - self._read_at < _REREAD_SECONDS:
            return
        self._state, self._read_at = state, now
        try:
            self._report = status(self._ws, symbols=self._symbols)
            self._trouble = ""
        except StoreError as error:
            self._trouble = error.message

    def drawn(self, console: Console) -> Group:
        """The screen at this second, cut at the terminal's height."""
        report = dataclasses.replace(self._report, now=self._ws.clock.now())
        height = console.height - 1
        lines = screen(report, width=console.width, height=height, plain=is_plain(console))
        below = Text((self._trouble or "Ctrl-C stops")[: console.width], style="dim")
        return Group(*lines[:height], below)

    def _files(self) -> list[int | None]:
        """When each watched file was last written; None where it is not there."""
        found: list[int | None] = []
        for name in _WATCHED:
            try:
                found.append((self._ws.folder / name).stat().st_mtime_ns)
            except OSError:
                found.append(None)
        return found
