"""How answers, tables and progress look. Answers go to stdout, talk to stderr."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table

_PIPE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: plain data for `--json`, and a way to show it to a person.

    `exit_code` is 6 where the finding is a no: the document is whole all the same.
    """

    data: Mapping[str, Any]
    show: Callable[[Console], None]
    warnings: Sequence[str] = ()
    exit_code: int = 0

    def give(self, command: str, *, as_json: bool, quiet: bool) -> None:
        """Print it: one JSON document, or tables. Warnings go to stderr either way."""
        for warning in self.warnings:
            warn(warning)
        if as_json:
            print_document(command, self.data)
        elif not quiet:
            from rich.console import Console

            # Into a file or pipe nothing is cut off at 80 columns.
            width = None if sys.stdout.isatty() else _PIPE_WIDTH
            self.show(Console(width=width, highlight=False))


def warn(text: str) -> None:
    """One line of warning on stderr."""
    print(f"warning: {text}", file=sys.stderr)


def print_document(command: str, data: Mapping[str, Any]) -> None:
    """The one JSON document of a command on stdout; a number that is none is null."""
    print(json.dumps({"command": command, "ok": True, "data": plain(data)}), flush=True)


def plain(value: Any) -> Any:
    """Values as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column is text and whose other columns are figures."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def price(value: float) -> str:
    """A price with as many decimals as its size asks for."""
    decimals = 2 if value >= 100 else 4 if value >= 1 else 8
    return f"{value:,.{decimals}f}"


def percent(value: float | None, decimals: int = 1) -> str:
    """A share, or a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:+.{decimals}%}"


def number(value: float | None, decimals: int = 2) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def size(size_bytes: int) -> str:
    """A size in decimal units, as file managers show it."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= length:
            return f"{size_bytes / length:,.1f} {unit}"
    return f"{size_bytes} B"


class Checklist:
    """A `seams.Progress` on stderr: a live checklist on a terminal, a line a stage elsewhere."""

    def __init__(self) -> None:
        self._live: RichProgress | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._detail = ""
        self._started = 0.0

    def stage(self, name: str) -> None:
        """Tick off the stage before, begin this one."""
        self._finish()
        self._name, self._detail, self._started = name, "", time.monotonic()
        if sys.stderr.isatty():
            self._task = self._bar().add_task(name, total=None, detail="")

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Move the bar of the stage."""
        self._detail = detail or self._detail
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=done, total=total, detail=detail)

    def _line(self, text: str) -> None:
        """Print a line that stays, above the bar where there is one."""
        if self._live is not None:
            self._live.console.print(text)
        else:
            print(text, file=sys.stderr)

    def close(self) -> None:
        """Tick off the last stage and leave the terminal as it was."""
        self._finish()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _finish(self) -> None:
        if not self._name:
            return
        failed = sys.exc_info()[0] is not None
        mark = "x" if failed else "✓"
        seconds = time.monotonic() - self._started
        if self._live is not None and self._task is not None:
            self._live.remove_task(self._task)
        detail = f"  {self._detail}" if self._detail else ""
        self._line(f"{mark} {self._name}  {seconds:.1f} s{detail}")
        self._name, self._task = "", None

    def _bar(self) -> RichProgress:
        if self._live is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
            )

            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("{task.fields[detail]}"),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
            self._live.start()
        return self._live
