"""Answers, tables and progress as a person sees them. Answers go to stdout, talk to stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptocast.cli.root.hints import as_typed
from cryptocast.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table

    from cryptocast.errors import CryptocastError

_PIPE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command: the document for `--json`, and a way to show it to a person.

    `exit_code` is 6 if the result is a refusal or a failed check; the document is complete
    all the same.
    """

    data: Mapping[str, Any]
    show: Callable[[Console], None]
    warnings: Sequence[str] = ()
    exit_code: int = 0

    def give(self, command: str, *, as_json: bool, quiet: bool) -> None:
        """Print one JSON document, or tables and text. Warnings go to stderr either way."""
        for warning in self.warnings:
            warn(warning)
        if as_json:
            print_document(command, self.data)
        elif not quiet:
            from rich.console import Console

            # Nothing is cut off at 80 columns in a file or a pipe, unless COLUMNS asks for it.
            named = os.environ.get("COLUMNS", "").isdecimal()
            width = None if sys.stdout.isatty() or named else _PIPE_WIDTH
            self.show(Console(width=width, highlight=False))


def warn(text: str) -> None:
    """Print one line of warning on stderr."""
    print(f"warning: {printable(as_typed(text))}", file=sys.stderr)


def failure_warnings(failed: Mapping[str, CryptocastError]) -> list[str]:
    """Return a line for each market that got no model."""
    return [f"{market}: {error.message} ({error.hint})" for market, error in failed.items()]


def failure_code(failed: Mapping[str, CryptocastError]) -> int:
    """Return the exit code if some markets failed and others did not: that of the first."""
    return next((error.exit_code for error in failed.values()), 0)


def print_document(command: str, data: Mapping[str, Any]) -> None:
    """Print the one JSON document of a command on stdout; a number that is not finite is null."""
    from cryptocast.documents import plain

    print(json.dumps({"command": command, "ok": True, "data": plain(data)}), flush=True)


def sentences(*texts: str) -> Callable[[Console], None]:
    """Return a `show` that prints these texts, one per line, wrapped between words."""

    def show(console: Console) -> None:
        for text in texts:
            console.print(printable(as_typed(text)), markup=False)

    return show


def line(console: Console, text: str) -> None:
    """Print text that is never wrapped, so that paths and commands in it can be copied."""
    console.print(printable(as_typed(text)), soft_wrap=True, markup=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table whose first column is text and whose other columns are figures."""
    from rich import box
    from rich.table import Table

    new = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for i, column in enumerate(columns):
        new.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        new.add_row(*map(printable, row))
    return new


class Checklist:
    """A `seams.Progress` on stderr: a live checklist on a terminal, elsewhere a line per stage."""

    def __init__(self) -> None:
        self._live: RichProgress | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._detail = ""
        self._started = 0.0
        self._waiting = ""

    def stage(self, name: str) -> None:
        """Tick off the previous stage and begin this one."""
        self._finish()
        self._name, self._detail, self._started = name, "", time.monotonic()
        if sys.stderr.isatty():
            self._task = self._bar().add_task(name, total=None, left="", detail="")

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Move the bar of the present stage."""
        self._detail = detail or self._detail
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=done, total=total, left="left", detail=detail)

    def waiting(self, what: str) -> None:
        """Print what is waited for, once while it stays the same."""
        if what != self._waiting:
            self._waiting = what
            print(f"waiting for {what}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Tick off the last stage and leave the terminal as it was."""
        self._finish()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _finish(self) -> None:
        """Print a line about the present stage, above the bar if there is one."""
        if not self._name:
            return
        mark = "✓" if sys.exc_info()[0] is None else "x"
        seconds = time.monotonic() - self._started
        detail = f"  {self._detail}" if self._detail else ""
        text = f"{mark} {self._name}  {seconds:.1f} s{detail}"
        if self._live is None:
            print(text, file=sys.stderr)
        else:
            if self._task is not None:
                self._live.remove_task(self._task)
            self._live.console.print(text)
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
                TimeRemainingColumn,
            )

            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("elapsed"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[detail]}"),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
            self._live.start()
        return self._live
