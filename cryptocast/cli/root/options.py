"""The options that every command takes, those that several take, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cryptocast.seams import Clock, Progress
    from cryptocast.workspace import Workspace

_MOST_SEED = 2**32 - 1  # the largest that every library accepts


def _small_enough(seed: int | None) -> int | None:
    if seed is not None and seed > _MOST_SEED:
        raise typer.BadParameter(f"{seed} is above {_MOST_SEED}")
    return seed


def completing(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return what completes a value in the shell to one of these names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def listed(names: Iterable[str]) -> str:
    """Return the names that a value is chosen from, as help lists them: `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}"


Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="base|scratch",
        autocompletion=completing(lambda: ("base", "scratch")),
        help="Start from the network trained on other markets, or from scratch. "
        "Default: [model] start (base).",
    ),
]
"""`--from` of `init` and `train`."""


def configurations() -> dict[str, Path]:
    """Return the settings that travel with the program, by name."""
    import cryptocast

    package = Path(cryptocast.__file__).parent
    folder = package / "configs"  # in an installed program; a clone has it beside the package
    files = (folder if folder.is_dir() else package.parent / "configs").glob("*.toml")
    return {file.stem: file for file in sorted(files)}


def configuration(name: str | None) -> Path | None:
    """Return the file that `--config` names, by its path or as one that travels along."""
    if name is None:
        return None
    file = Path(name)
    there = file.exists() and not file.is_dir()  # `make demo` leaves a folder of that name
    return file if there else configurations().get(name, file)


CandleFiles = Annotated[
    Path | None, typer.Option(help="With --source file: a file, folder or glob of candles.")
]
"""`--path` of `init` and `fetch`."""


def _engines() -> tuple[str, ...]:
    """Return the names of engines, without loading any."""
    from cryptocast import plugins

    return plugins.names(plugins.ENGINES)


Engine = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing(_engines),
        help="Where the heavy work runs: {choices}. Default: [engine] kind (here).",
    ),
]
"""`--engine` of the commands with heavy work."""

Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        callback=_small_enough,
        help="The same candles and seed give the same result. Default: 0.",
    ),
]
"""`--seed` of the commands that search or train; None if it was not given."""

Trials = Annotated[
    int | None,
    typer.Option(min=0, help="Trials of the search. Default: [tune] trials (10)."),
]
"""`--trials` of the commands that run a whole pipeline."""

Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", help="Only this market, by symbol or id; repeatable. Default: all."),
]
"""`--symbol` of the commands that can be limited to some markets."""

COMMON: dict[str, tuple[Any, Any]] = {
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
"""The options that every command takes, and that may stand before the command too."""


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
