"""A property list for macOS. It is printed; the user puts it in place with two commands."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import NoReturn

from cryptocast.errors import UsageError
from cryptocast.schedulers import Plan, Text, unique_name

_ALL_HOURS = 24
_ALL_MINUTES = 60


def when(plan: Plan) -> str:
    """Return in words how often candles close."""
    return f"every {plan.interval}"


def texts(plan: Plan) -> tuple[Text, ...]:
    """Return the property list, with the file that it belongs into."""
    minutes, hours = plan.local_times()
    # A minute or hour that is left out means every one.
    minute = [{}] if len(minutes) == _ALL_MINUTES else [{"Minute": m} for m in minutes]
    hour = [{}] if len(hours) == _ALL_HOURS else [{"Hour": h} for h in hours]
    document = {
        "Label": unique_name(plan.workspace),
        "ProgramArguments": list(plan.command),
        "StandardOutPath": str(plan.log),
        "StandardErrorPath": str(plan.log),
        "StartCalendarInterval": [{**h, **m} for h in hour for m in minute],
    }
    text = plistlib.dumps(document, sort_keys=False).decode()
    return (Text(_place(plan.workspace), text),)


def install(plan: Plan) -> NoReturn:
    """Raise UsageError that says how the user does it."""
    file = _place(plan.workspace)
    raise UsageError(
        "the property list for launchd is printed, not installed",
        hint=f"cryptocast schedule --kind launchd > {file}; launchctl bootstrap gui/$UID {file}",
    )


def remove(workspace: Path) -> NoReturn:
    """Raise UsageError that says how the user does it."""
    file = _place(workspace)
    raise UsageError(
        "the property list for launchd is printed, not removed",
        hint=f"launchctl bootout gui/$UID {file}; rm {file}",
    )


def installed(workspace: Path) -> bool:
    """Return whether the user has put the property list in place."""
    return Path(_place(workspace)).expanduser().exists()


def _place(workspace: Path) -> str:
    """Return the file that launchd reads for this workspace."""
    return f"~/Library/LaunchAgents/{unique_name(workspace)}.plist"
