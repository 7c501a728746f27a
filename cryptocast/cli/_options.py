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
    from cryptocast.cli._output import Answer
    from cryptocast.seams import Clock, Progress
    from cryptocast.workspace import Workspace

MOST_SEED = 2**32 - 1  # what every library that is seeded takes

Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="base|scratch",
        help="Start at the network that knows other markets, or at nothing.",
    ),
]
"""`--from` of `init` and `train`."""

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
            typer.Option("--as-of", metavar="TIME", help="Take this for now (ISO 8601, UTC)."),
        ],
        None,
    ),
    "as_json": (
        Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")],
        False,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no talk.")], False),
    "verbose": (
        Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")],
        False,
    ),
}


@dataclass(slots=True)
class Run:
    """What the common options ask for."""

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

        if self.as_of is None:
            return SystemClock()
        from cryptocast.values import parse_time

        return VirtualClock(parse_time(self.as_of))

    @property
    def progress(self) -> Progress:
        """A checklist on stderr, or silence."""
        if self._progress is None:
            from cryptocast.cli._output import Checklist
            from cryptocast.seams import Silence

            self._progress = Silence() if self.quiet else Checklist()
        return self._progress

    def open(self, options: Mapping[str, Any] | None = None) -> Workspace:
        """The workspace; `options` are dotted settings that go first, None left out."""
        from cryptocast.workspace import Workspace

        given = {key: value for key, value in (options or {}).items() if value is not None}
        return Workspace.open(self.folder, options=given, clock=self.clock, progress=self.progress)

    def close(self) -> None:
        """End the checklist."""
        from cryptocast.cli._output import Checklist

        if isinstance(self._progress, Checklist):
            self._progress.close()


def install(app: typer.Typer, module: ModuleType) -> None:
    """Make a command of a command file: its function `command`, `NAME` and `EXAMPLE`."""
    function: Callable[..., Answer | None] = module.command

    @functools.wraps(function)
    def wrapper(**given: Any) -> int:
        run = Run(**{name: given.pop(name) for name in _COMMON})
        try:
            answer = function(run, **given)
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
    # Rich would take `[notify]` for a style, and print nothing.
    told = (inspect.getdoc(function) or "").replace("[", "\\[")
    app.command(module.NAME, help=told, epilog=f"Example: {module.EXAMPLE}")(wrapper)
