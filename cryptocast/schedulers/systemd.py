"""A service and a timer of the user's own systemd."""

from __future__ import annotations

import os
from pathlib import Path

from cryptocast.drafts import swapping
from cryptocast.errors import UsageError
from cryptocast.schedulers import Plan, Text, call, mark, unique_name
from cryptocast.values import INTERVAL_SECONDS, parse_path

_HINT = "cryptocast schedule --kind cron --install, or cryptocast serve-loop"

# A tick gives up on sources after 60 s and on a busy store after 30; one that hangs would
# keep the timer from starting the next.
_SERVICE = """\
{mark}
[Unit]
Description=A forecast of {workspace} by cryptocast

[Service]
Type=oneshot
ExecStart=:{command}
StandardOutput=append:{log}
StandardError=inherit
TimeoutStartSec=300
"""
# systemd's usual accuracy, a minute, would make forecasts late.
_TIMER = """\
{mark}
[Unit]
Description=Forecasts of {workspace} by cryptocast, after each close

[Timer]
OnCalendar={when}
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def when(plan: Plan) -> str:
    """Return the calendar expression, in UTC as the candles are: `*-*-* *:00/5:00 UTC`."""
    minutes = INTERVAL_SECONDS[plan.interval] // 60
    if minutes == 1:
        return "*-*-* *:*:00 UTC"
    if minutes < 60:
        return f"*-*-* *:00/{minutes}:00 UTC"
    hours = {1: "*", 24: "00"}.get(minutes // 60, f"00/{minutes // 60}")
    return f"*-*-* {hours}:00:00 UTC"


def texts(plan: Plan) -> tuple[Text, ...]:
    """Return the service and the timer, with the files that they belong into.

    Raises UsageError for a program that systemd does not start: quotes or `\\` in its path.
    """
    if set(plan.command[0]) & set("'\"\\"):
        raise UsageError(f"systemd does not start a program named {plan.command[0]}", hint=_HINT)
    values = {
        "mark": mark(plan.workspace),
        "workspace": _percent(str(plan.workspace)),
        "command": " ".join(_quoted(word) for word in plan.command),
        "log": _percent(str(plan.log)),
        "when": when(plan),
    }
    service, timer = _files(plan.workspace)
    return (
        Text(str(service), _SERVICE.format(**values)),
        Text(str(timer), _TIMER.format(**values)),
    )


def install(plan: Plan) -> bool:
    """Write both files, and let the timer run now and after each boot."""
    _require_systemd()
    changed = False
    for text in texts(plan):
        changed |= _written(Path(text.place), text.text)
    timer = _files(plan.workspace)[1].name
    if changed:
        _systemctl("daemon-reload")
    _systemctl("enable", "--now", timer)
    if changed:
        _systemctl("restart", timer)  # a timer that runs takes over its new times
    return changed


def remove(workspace: Path) -> bool:
    """Stop the timer and delete both files."""
    _require_systemd()
    files = [file for file in _files(workspace) if file.exists()]
    if not files:
        return False
    _systemctl("disable", "--now", _files(workspace)[1].name)
    for file in files:
        file.unlink()
    _systemctl("daemon-reload")
    return True


def installed(workspace: Path) -> bool:
    """Return whether the user has a timer of this workspace."""
    return _files(workspace)[1].exists()


def _files(workspace: Path) -> tuple[Path, Path]:
    """Return the files of the service and of the timer."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folder = parse_path(home) / "systemd" / "user"
    return folder / f"{unique_name(workspace)}.service", folder / f"{unique_name(workspace)}.timer"


def _written(file: Path, text: str) -> bool:
    """Write a file as a whole; return whether it held anything else before."""
    content = text.encode()
    try:
        if file.is_file() and file.read_bytes() == content:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        with swapping(file) as draft:
            draft.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", code="usage.scheduler", hint=_HINT
        ) from error
    return True


def _require_systemd() -> None:
    """Raise UsageError, before anything is written, if the user has no running systemd."""
    _systemctl("show", "--property=Version")


def _systemctl(*words: str) -> None:
    """Run systemctl for the user's own services."""
    call("systemctl", "--user", *words, hint=_HINT)


def _percent(text: str) -> str:
    """Return a text in which systemd expands nothing."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return a word of ExecStart; the colon before the first says that `$` is nothing special."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_percent(escaped)}"'
