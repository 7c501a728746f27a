"""A line in the crontab. It carries the workspace's mark as the comment at its end.

cron goes by local time, and `CRON_TZ` would change the lines of others that follow.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from cryptocast.errors import UsageError
from cryptocast.schedulers import Plan, Text, call, mark

_LONGEST_COMMAND = 998  # bytes; cron cuts off what is longer, or refuses the crontab
_HINT = "cryptocast schedule --kind systemd --install, or cryptocast serve-loop"


def when(plan: Plan) -> str:
    """Return the five fields, such as `*/5 * * * *`."""
    minutes, hours = plan.local_times()
    return f"{_field(minutes, 60)} {_field(hours, 24)} * * *"


def texts(plan: Plan) -> tuple[Text, ...]:
    """Return the line. Raises UsageError if its paths are too long for cron."""
    command = " ".join(shlex.quote(word) for word in plan.command)
    line = f"{command} >> {shlex.quote(str(plan.log))} 2>&1 {mark(plan.workspace)}"
    if len(_escaped(line).encode()) > _LONGEST_COMMAND:
        raise UsageError(
            f"the crontab line of {plan.workspace} would be too long for cron",
            hint="cryptocast schedule --kind systemd",
        )
    return (Text("crontab", f"{when(plan)} {_escaped(line)}\n"),)


def install(plan: Plan) -> bool:
    """Put the line into the user's crontab; it replaces an older one of this workspace."""
    line = texts(plan)[0].text.removesuffix("\n")
    before = _lines()
    own = [number for number, old in enumerate(before) if _is_of(old, plan.workspace)]
    place = own[0] if own else len(before)
    rest = [old for old in before if not _is_of(old, plan.workspace)]
    return _write(before, [*rest[:place], line, *rest[place:]])


def remove(workspace: Path) -> bool:
    """Take the lines of this workspace out of the user's crontab."""
    before = _lines()
    return _write(before, [line for line in before if not _is_of(line, workspace)])


def installed(workspace: Path) -> bool:
    """Return whether the user's crontab has a line of this workspace."""
    return any(_is_of(line, workspace) for line in _lines())


def _lines() -> list[str]:
    """Return the user's crontab, split at line feeds alone, so that every other character stays."""
    text = call("crontab", "-l", hint=_HINT, empty="no crontab for")
    return text.removesuffix("\n").split("\n") if text else []


def _write(before: Sequence[str], after: Sequence[str]) -> bool:
    """Replace the user's crontab if it changed; return whether it did."""
    if list(before) == list(after):
        return False
    call("crontab", "-", stdin="".join(f"{line}\n" for line in after), hint=_HINT)
    return True


def _is_of(line: str, workspace: Path) -> bool:
    """Return whether a line carries the workspace's mark."""
    return line.endswith(" " + _escaped(mark(workspace)))


def _escaped(command: str) -> str:
    r"""Return a shell's words as cron must read them: `%` would end the command.

    Some crons take `\\` for one backslash and others for two, so none may stand before `\`
    or `%`: the quotes that a word with a backslash has are closed after it and opened again.
    """
    return command.replace("\\", "\\''").replace("%", "\\%")


def _field(values: Sequence[int], size: int) -> str:
    """Return a field of cron that matches exactly these values of `range(size)`."""
    step = size // len(values)
    if len(values) == 1 or list(values) != list(range(0, size, step)):
        return ",".join(str(value) for value in values)
    return "*" if step == 1 else f"*/{step}"
