"""The words that can be typed, and how the file of a word becomes a command.

A file is imported when its word is typed, so that a tick does not pay for thirty commands.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo

from cryptocast.cli.root.hints import remember
from cryptocast.cli.root.options import COMMON, Run, listed

if TYPE_CHECKING:
    from cryptocast.cli.root.output import Answer

T = TypeVar("T")

_GROUPS = {
    "Start": ("init", "guide", "config"),
    "Data": ("fetch", "export", "query"),
    "Learning": (
        *("tune", "train", "evaluate", "models", "promote", "rollback"),
        *("retrain", "audit", "pretrain"),
    ),
    "Serving": (
        *("forecast", "simulate", "serve-loop", "serve-flows", "schedule", "replay"),
        *("shadow", "api"),
    ),
    "Watching": ("status", "monitor", "report", "notify"),
    "Keeping": ("doctor", "backup", "prune"),
}

WORDS = {word: group for group, words in _GROUPS.items() for word in words}
"""Every command, in the order of `cryptocast --help`, with the heading that it is listed under."""

_BY_NAME = inspect.Parameter.KEYWORD_ONLY

_METAVARS = {bool: "", int: "N", float: "N", Path: "PATH", str: "TEXT"}
"""The words for a value's type in help. Short ones leave room for the sentences beside them."""


class Commands(TyperGroup):
    """All commands; each is made when it is asked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options that stand before the command."""
        _read_plainly(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Return every word."""
        return list(WORDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """Return the command of a word, or None after loading all, from which typer suggests."""
        for word in [cmd_name] if cmd_name in WORDS else WORDS:
            if word not in self.commands:
                self.commands[word] = command_of(_file_of(word), WORDS[word])
        return self.commands.get(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List the commands by their sentences alone: reading all options would take longer."""
        listing = copy.copy(self)
        listing.commands = {
            word: TyperCommand(word, help=_help_text(_file_of(word).command), rich_help_panel=group)
            for word, group in WORDS.items()
        }
        super(Commands, listing).format_help(ctx, formatter)


def _file_of(word: str) -> ModuleType:
    """Import the command file of a word."""
    return import_module(f"cryptocast.cli.{word.replace('-', '_')}")


_MOST, _MOST_DAYS = 1_000_000_000, 3650


def _demand_bounded(name: str, value: Any) -> None:
    """Raise UsageError for a number that no calendar or clock can hold."""
    most = _MOST_DAYS if name == "days" else _MOST
    if isinstance(value, float) and not abs(value) <= most:
        from cryptocast.errors import UsageError

        option = f"--{name.replace('_', '-')}"
        fault = "is not a number" if math.isnan(value) else "is too much"
        raise UsageError(f"{option} {value:g} {fault}", hint=f"{option} {most} at most")


class _Command(TyperCommand):
    """A command whose help names the choices of its options only when it is shown.

    For some of them all installed packages are searched, which the list of commands and a
    command that runs need not wait for.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options of the command."""
        _read_plainly(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Put the values that the shell completes in the place of `{choices}`."""
        for option in self.params:
            text = getattr(option, "help", None) or ""
            if "{choices}" in text:
                values = [item.value for item in option.shell_complete(ctx, "")]
                option.help = text.replace("{choices}", listed(values))  # type: ignore[attr-defined]  # only options have help
        super().format_help(ctx, formatter)


class _Reader:
    """Read an option's value without pydantic where that is text, a path or nothing.

    Typer reads every value with pydantic, whose import takes a sixth of a tick.
    """

    def __init__(self, by_typer: Callable[[], Any]) -> None:
        self._by_typer = by_typer

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of an option as its function gets it; typer reads all other kinds."""
        kind = param.type_descriptor.annotation
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if kind in (str, Path):
            return kind(value)
        return self._by_typer().coerce(value, param=param, ctx=ctx)


def _read_plainly(options: Sequence[Any]) -> None:
    for option in options:
        reader = _Reader(option.get_runtime_param)
        option.get_runtime_param = lambda reader=reader: reader


def command_of(module: ModuleType, group: str) -> Any:
    """Make a command of a command file: its function `command`, `NAME` and `EXAMPLE`.

    `group` is the heading that `cryptocast --help` lists it under.
    """
    function: Callable[..., Answer | None] = module.command

    @taking_common_options
    @functools.wraps(function)
    def wrapper(**options: Any) -> int:
        run = Run(**{name: options.pop(name) for name in COMMON})
        for name, value in options.items():
            _demand_bounded(name, value)
        remember(run.workspace, run.as_of)
        try:
            answer = function(run, **options)
        finally:
            run.close()
        if answer is None:
            return 0
        answer.give(module.NAME, as_json=run.as_json, quiet=run.quiet)
        return answer.exit_code

    alone = typer.Typer(add_completion=False)
    alone.command(
        module.NAME,
        cls=_Command,
        help=_help_text(function),
        epilog=f"Example: {module.EXAMPLE}",
        rich_help_panel=group,
        context_settings={"help_option_names": ["-h", "--help"]},
    )(wrapper)
    return typer.main.get_command(alone)


def taking_common_options(function: Callable[..., T]) -> Callable[..., T]:
    """Let typer read the options of a function and the common ones, explained for help."""
    hints = get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name], kind=_BY_NAME)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD and hints[parameter.name] is not Run
    ]
    common = [
        inspect.Parameter(name, _BY_NAME, default=default, annotation=annotation)
        for name, (annotation, default) in COMMON.items()
    ]
    signature = inspect.Signature([_explained(parameter) for parameter in own + common])
    function.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it
    function.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return function


def _explained(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter that help explains in the words of its sentence, beside a short type."""
    if get_origin(parameter.annotation) is not Annotated:
        return parameter  # typer's context
    kind, described = get_args(parameter.annotation)
    described = copy.copy(described)
    described.help = _plain(described.help)
    if isinstance(described, ArgumentInfo):
        described.metavar = described.metavar or parameter.name.upper()
    elif described.metavar is None:
        described.metavar = _METAVARS[_scalar(kind)]
    return parameter.replace(kind=_BY_NAME, annotation=Annotated[kind, described])


def _scalar(kind: Any) -> Any:
    """Return the type of a single value: `str` for `list[str] | None`."""
    inner = [part for part in get_args(kind) if part is not type(None)]
    return _scalar(inner[0]) if inner else kind


def _help_text(function: Callable[..., object]) -> str:
    """Return the docstring as the terminal wraps it: without its own line breaks."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return _plain("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))


def _plain(text: str) -> str:
    """Return a text that Rich prints as it is: it would take `[notify]` for a style."""
    return text.replace("[", "\\[")
