"""cryptocast schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast import plugins
from cryptocast.cli.root.options import Run, completing
from cryptocast.cli.root.output import Answer, line

if TYPE_CHECKING:
    from types import ModuleType

    from rich.console import Console

    from cryptocast.workflows.schedule import Schedule


def _kinds() -> tuple[str, ...]:
    """Return the schedulers, without loading any."""
    return plugins.names(plugins.SCHEDULERS)


NAME = "schedule"
EXAMPLE = "cryptocast schedule --kind systemd"


def command(
    run: Run,
    kind: Annotated[
        str,
        typer.Option(autocompletion=completing(_kinds), help="The scheduler: {choices}."),
    ] = "cron",
    install: Annotated[
        bool,
        typer.Option(
            "--install", help="Add it there, if it is not launchd; repeating is harmless."
        ),
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove this workspace's entry again.")
    ] = False,
) -> Answer:
    """Print what makes cron, systemd, launchd or Prefect tick just after each close of a candle.

    No key is written: secrets stay in the workspace's .env. No lock is needed: a tick that runs
    twice changes nothing.
    """
    from cryptocast.errors import UsageError
    from cryptocast.workflows import schedule as workflow

    if install and remove:
        raise UsageError(
            "--install and --remove exclude each other", hint="cryptocast schedule --install"
        )
    if remove:
        return _removed(run, kind)
    with run.open() as ws:
        plan = (
            workflow.install(ws, kind, _scheduler(kind).install)
            if install
            else workflow.schedule(ws, kind)
        )
    warnings = [v.warning for v in plan.variables if v.warning is not None]
    if kind != "prefect" and not plan.log.parent.is_dir():  # Prefect keeps the logs itself
        warnings.append(f"{plan.log.parent} is missing: make that folder first")
    show = _show_installed if install else _show_texts
    data = _document(plan, "install" if install else "print")
    return Answer(data, lambda console: show(console, plan), warnings)


def _scheduler(kind: str) -> ModuleType:
    """Return the module that installs and removes what a kind reads."""
    if kind == "prefect":
        from cryptocast.flows import require_prefect

        require_prefect()
        from cryptocast.flows import deployments

        return deployments
    from cryptocast import schedulers

    return schedulers.get(kind)


def _removed(run: Run, kind: str) -> Answer:
    """Take this workspace's entry from the scheduler; the folder may be gone already."""
    from cryptocast import schedulers

    folder = run.folder
    removed = _scheduler(kind).remove(schedulers.checked(folder))
    text = f"{folder} {'removed from' if removed else 'was not in'} {kind}"
    data = {"kind": kind, "action": "remove", "changed": removed}
    return Answer(data, lambda console: line(console, text))


def _document(plan: Schedule, action: str) -> dict[str, Any]:
    return {
        "kind": plan.kind,
        "action": action,
        "changed": plan.changed,
        "when": plan.when,
        "command": plan.command,
        "log": plan.log,
        "texts": plan.texts,
        "variables": [{"name": v.name, "found": v.found} for v in plan.variables],
    }


def _show_texts(console: Console, plan: Schedule) -> None:
    """Write the texts as they are, to be put into a file: Rich would drop their tabs."""
    blocks = [text.text for text in plan.texts]
    if len(plan.texts) > 1:
        blocks = [f"# {text.place}\n{text.text}" for text in plan.texts]
    console.file.write("\n".join(blocks))


def _show_installed(console: Console, plan: Schedule) -> None:
    places = ", ".join(text.place for text in plan.texts)
    state = "installed in" if plan.changed else "is already in"
    line(console, f"{state} {plan.kind} ({plan.when}): {places}")
    if plan.kind == "systemd":
        line(console, "It runs while you are logged in; to run it always: loginctl enable-linger")
    if plan.kind == "prefect":
        line(console, "A worker runs it: prefect worker start --pool cryptocast")
