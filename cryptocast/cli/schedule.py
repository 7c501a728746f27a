"""cryptocast schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.schedule import Schedule

NAME = "schedule"
EXAMPLE = "cryptocast schedule --kind systemd"


def command(
    run: Run,
    kind: Annotated[str, typer.Option(help="cron, systemd (of the user) or launchd.")] = "cron",
    install: Annotated[
        bool, typer.Option("--install", help="Give it to cron or systemd; twice is once.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take this workspace's own out again.")
    ] = False,
) -> Answer:
    """Print what makes cron, systemd or launchd tick just after each close of a candle.

    No key is written: secrets stay in the workspace's .env. No lock is needed: a tick that
    runs twice changes nothing.
    """
    from cryptocast.errors import UsageError
    from cryptocast.workflows import schedule as workflow

    if install and remove:
        raise UsageError("--install goes without --remove", hint="cryptocast schedule --install")
    if remove:
        folder = run.folder
        removed = workflow.remove(folder, kind)
        told = "removed from" if removed else "was not in"
        data: dict[str, Any] = {"kind": kind, "action": "remove", "changed": removed}
        return Answer(data, lambda console: _line(console, f"{folder} {told} {kind}"))
    with run.open() as ws:
        found = workflow.install(ws, kind) if install else workflow.schedule(ws, kind)
    warnings = [v.warning for v in found.variables if v.warning is not None]
    if not found.log.parent.is_dir():
        warnings.append(f"{found.log.parent} is missing: make that folder first")
    data = {
        "kind": kind,
        "action": "install" if install else "print",
        "changed": found.changed,
        "when": found.when,
        "command": list(found.command),
        "log": str(found.log),
        "texts": [{"place": t.place, "text": t.text} for t in found.texts],
        "variables": [{"name": v.name, "found": v.found} for v in found.variables],
    }
    show = _installed if install else _printed
    return Answer(data, lambda console: show(console, found), warnings)


def _printed(console: Console, found: Schedule) -> None:
    """The texts as they are, to be put into a file: what Rich prints has no tabs."""
    blocks = [text.text for text in found.texts]
    if len(found.texts) > 1:
        blocks = [f"# {text.place}\n{text.text}" for text in found.texts]
    console.file.write("\n".join(blocks))


def _installed(console: Console, found: Schedule) -> None:
    told = "installed in" if found.changed else "is in"
    places = ", ".join(text.place for text in found.texts)
    _line(console, f"{told} {found.kind} ({found.when}): {places}")
    if found.kind == "systemd":
        _line(console, "It runs while you are logged in; always: loginctl enable-linger")


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
