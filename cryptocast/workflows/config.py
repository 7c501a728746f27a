"""config: each setting, its value and where it came from; and how one is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import to_builtins

from cryptocast import config as settings_of
from cryptocast.drafts import replacing
from cryptocast.workspace import Workspace

MLFLOW_VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own variable, which overrides the setting."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `value` is plain data, as JSON has it; a secret is only ever named."""

    key: str  # dotted
    value: Any
    origin: settings_of.Origin
    place: str | None  # the file, or the variable
    secrets: Mapping[str, bool]  # each `env:NAME` in the value, and whether it is set
    meaning: str


def config(ws: Workspace, key: str | None = None) -> tuple[Setting, ...]:
    """Return the settings in the order of the file: all, those of a section, or one.

    Raises ConfigError for an unknown key.
    """
    settings, origins = settings_of.load(ws.file, ws.secrets.environ)
    every = []
    for section, kind in settings_of.SECTIONS.items():
        values = to_builtins(getattr(settings, section))
        for name, described in kind.__annotations__.items():
            dotted = f"{section}.{name}"
            value = _told(values[name])
            origin = origins.get(dotted, "default")
            place = {
                "file": str(ws.file),
                "environment": f"{settings_of.ENVIRONMENT_PREFIX}{section}__{name}".upper(),
            }.get(origin)
            if dotted == "mlflow.tracking_uri" and ws.secrets.environ.get(MLFLOW_VARIABLE):
                # Its text may hold a password.
                value, origin, place = f"env:{MLFLOW_VARIABLE}", "environment", MLFLOW_VARIABLE
            secrets = {n: ws.secrets.resolve(n) is not None for n in _references(value)}
            every.append(Setting(dotted, value, origin, place, secrets, described.__metadata__[-1]))
    if key is None:
        return tuple(every)
    chosen = tuple(s for s in every if key in (s.key, s.key.partition(".")[0]))
    if not chosen:
        sections = list(settings_of.SECTIONS)
        raise settings_of.unknown(key, [*sections, *(s.key for s in every)], "the settings")
    return chosen


def change(ws: Workspace, key: str, value: Any) -> Setting:
    """Write a setting into the file, and return what now holds; None: its default again.

    The value is that of the workspace's settings, where it has been checked. Comments stay.
    """
    import tomlkit  # late: an installation that only serves shows settings without it

    section, _, name = key.partition(".")
    text = settings_of.read_text(ws.file)
    if value is not None:
        # `init` writes a setting without a value as a comment: its place is there.
        place = rf"(?ms)^(\[{section}\]\n(?:(?!^\[).)*?)^# {name} =$"
        text = re.sub(place, rf"\g<1>{name} = 0", text)
    document = tomlkit.parse(text)
    table = document.setdefault(section, tomlkit.table())
    if value is None:
        table.pop(name, None)
    else:
        checked = to_builtins(getattr(ws.settings, section))[name]
        table[name] = value if value == checked else checked  # a path is absolute now
    with replacing(ws.file) as draft:
        draft.write_text(tomlkit.dumps(document), encoding="utf-8")
    (setting,) = config(ws, key)
    return setting


def _told(value: Any) -> Any:
    """Return a value without what is not set in its tables."""
    if isinstance(value, tuple):
        return [_told(entry) for entry in value]
    if isinstance(value, Mapping):
        return {name: entry for name, entry in value.items() if entry is not None}
    return value


def _references(value: Any) -> list[str]:
    """Return every `env:NAME` in a value."""
    if isinstance(value, Mapping):
        return [name for entry in value.values() for name in _references(entry)]
    if isinstance(value, list):
        return [name for entry in value for name in _references(entry)]
    return [value] if isinstance(value, str) and value.startswith("env:") else []
