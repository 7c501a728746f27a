"""The options that every command takes, and how a command file becomes a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from cryptocast.cli.root.output import Answer
    from cryptocast.seams import Clock, Progress
    from cryptocast.workspace import Workspace

_MOST_SEED = 2**32 - 1  # the largest that every library accepts

Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="base|scratch",
        help="Start from the network trained on other markets, or from scratch.",
    ),
]
"""`--from` of `init` and `train`."""

CandleFiles = Annotated[
    Path | None, typer.Option(help="With --source file: a file, folder or glob of candles.")
]
"""`--path` of `init` and `fetch`."""

Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=_MOST_SEED,
        show_default="0",
        help="Seed: the same candles and seed give the same result.",
    ),
]
"""`--seed` of the commands that search or train; None if it was not given."""

Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", help="Only this market, by symbol or id; repeatable. Default: all."),
]
"""`--symbol` of the commands that can be limited to some markets."""

_COMMON: dict[str, tuple[Any, Any]] = {
    "workspace": (
        Annotated[
            Path | None,
            typer.Option("--workspace", "-w", help="Folder of the workspace.", show_default=False),
        ],
        None,
    ),
    "as_of": (
        Annotated[
            str | None,
            typer.Option("--as-of", metavar="TIME", help="Pretend that it is this time (UTC)."),
        ],
        None,
    ),
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document.")],
        False,
    ),
    "quiet": (
        Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")],
        False,
    ),
    "verbose": (
        Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")],
        False,
    ),
}


@dataclass(slots=True)
class Run:
    """The common options of one command line, and what follows from them."""

    workspace: Path | None
    as_of: str | None
    as_json: bool
    quiet: bool
    verbose: bool
    _progress: Progress | None = field(default=None)

    @property
    def folder(self) -> Path:
        """The workspace's folder."""
        import os

        from cryptocast.workspace import find

        return find(self.workspace, os.environ, Path.cwd())

    @property
    def clock(self) -> Clock:
        """The system's clock, or the virtual one of `--as-of`."""
        from cryptocast.clock import SystemClock, VirtualClock

        moment = read_time(self.as_of)
        return SystemClock() if moment is None else VirtualClock(moment)

    @property
    def progress(self) -> Progress:
        """A checklist on stderr, or silence."""
        if self._progress is None:
            from cryptocast.cli.root.output import Checklist
            from cryptocast.seams import Silence

            self._progress = Silence() if self.quiet else Checklist()
        return self._progress

    def open(self, options: Mapping[str, Any] | None = None) -> Workspace:
        """Open the workspace; `options` are dotted settings that override it, None left out."""
        from cryptocast.workspace import Workspace

        chosen = {key: value for key, value in (options or {}).items() if value is not None}
        return Workspace.open(self.folder, options=chosen, clock=self.clock, progress=self.progress)

    def close(self) -> None:
        """End the checklist."""
        from cryptocast.cli.root.output import Checklist

        if isinstance(self._progress, Checklist):
            self._progress.close()


def read_time(text: str | None) -> int | None:
    """Return the moment of an option in Unix seconds, or None if it was not given.

    Raise UsageError if the text is not a time.
    """
    from cryptocast.values import parse_time

    return None if text is None else parse_time(text)


def install(app: typer.Typer, module: ModuleType, group: str) -> None:
    """Make a command of a command file: its function `command`, `NAME` and `EXAMPLE`.

    `group` is the heading that `cryptocast --help` lists it under.
    """
    function: Callable[..., Answer | None] = module.command

    @functools.wraps(function)
    def wrapper(**options: Any) -> int:
        run = Run(**{name: options.pop(name) for name in _COMMON})
        try:
            answer = function(run, **options)
        finally:
            run.close()
        if answer is None:
            return 0
        answer.give(module.NAME, as_json=run.as_json, quiet=run.quiet)
        return answer.exit_code

    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    parameters = [p.replace(annotation=hints[p.name]) for p in own]
    for name, (annotation, default) in _COMMON.items():
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotation))
    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # inspect reads it
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    register = app.command(
        module.NAME,
        help=_help_text(function),
        epilog=f"Example: {module.EXAMPLE}",
        rich_help_panel=group,
    )
    register(wrapper)


def _help_text(function: Callable[..., object]) -> str:
    """Return the docstring as the terminal wraps it: without its own line breaks."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return text.replace("[", "\\[")  # Rich would take `[notify]` for a style and print nothing
