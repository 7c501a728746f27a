"""A property list for macOS. It is printed; putting it in place is two words of the user's."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any, NoReturn

from cryptocast.errors import UsageError
from cryptocast.schedulers._plan import Plan, Text, name

_ALL_HOURS = 24
_ALL_MINUTES = 60


def when(plan: Plan) -> str:
    """In words: how many times an hour or a day."""
    return f"every {plan.interval}"


def texts(plan: Plan) -> tuple[Text, ...]:
    """The property list, with the file that it belongs into."""
    document = {
        "Label": name(plan.workspace),
        "ProgramArguments": list(plan.command),
        "StandardOutPath": str(plan.log),
        "StandardErrorPath": str(plan.log),
        "StartCalendarInterval": _calendar(plan),
    }
    text = plistlib.dumps(document, sort_keys=False).decode()
    return (Text(_place(plan.workspace), text),)


def install(plan: Plan) -> NoReturn:
    """Not done: raises UsageError that says how to do it."""
    file = _place(plan.workspace)
    raise UsageError(
        "launchd's list is printed, not installed",
        hint=f"cryptocast schedule --kind launchd > {file}; launchctl bootstrap gui/$UID {file}",
    )


def remove(workspace: Path) -> NoReturn:
    """Not done: raises UsageError that says how to do it."""
    file = _place(workspace)
    raise UsageError(
        "launchd's list is printed, not removed",
        hint=f"launchctl bootout gui/$UID {file}; rm {file}",
    )


def _place(workspace: Path) -> str:
    return f"~/Library/LaunchAgents/{name(workspace)}.plist"


def _calendar(plan: Plan) -> list[dict[str, Any]]:
    """Local times; a minute or hour that is left out is every one."""
    minutes, hours = plan.local_times()
    minute = [{}] if len(minutes) == _ALL_MINUTES else [{"Minute": m} for m in minutes]
    hour = [{}] if len(hours) == _ALL_HOURS else [{"Hour": h} for h in hours]
    return [{**h, **m} for h in hour for m in minute]
