"""Settings: defaults < `cryptocast.toml` < `CRYPTOCAST_<SECTION>__<KEY>` < options, validated."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from cryptocast.config.checking import checked, unknown
from cryptocast.config.settings import SECTIONS, TABLES, Settings
from cryptocast.errors import ConfigError, UsageError
from cryptocast.values import parse_path

FILE_NAME = "cryptocast.toml"
ENVIRONMENT_PREFIX = "CRYPTOCAST_"
NOT_SETTINGS = frozenset({"CRYPTOCAST_WORKSPACE", "CRYPTOCAST_API_TOKEN"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # also that of env:NAME

_CENTURY = {"_days": 36_500, "_hours": 876_000, "_minutes": 5e7, "_seconds": 3e9}

Origin = Literal["default", "file", "environment", "option"]


def load(
    file: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    *,
    cwd: Path | None = None,
) -> tuple[Settings, dict[str, Origin]]:
    """Read, merge and validate the settings.

    `options` are dotted keys (`data.days`) with values that are not None. Returns the
    settings, and for each dotted key that is set anywhere, where its value came from.
    Raises ConfigError that names the key, the value and what is allowed.
    """
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, Origin] = {}

    def put(key: str, value: Any, origin: Origin) -> None:
        _demand_sane(key, value)
        section, _, name = key.partition(".")
        merged.setdefault(section, {})[name] = value
        origins[key] = origin

    try:
        for key, value in _from_file(file).items():
            put(key, value if file is None else _located(key, value, file.parent), "file")
        for key, value in _from_environment(environ).items():
            put(key, _located(key, value, cwd), "environment")
        for key, value in (options or {}).items():
            put(key, _located(key, value, cwd), "option")
        places = {key: _place(key, origin, file) for key, origin in origins.items()}
        sections: dict[str, Any] = {
            name: checked(name, values, places) for name, values in merged.items()
        }
        return Settings(**sections), origins
    except RecursionError:
        raise ConfigError(
            "the settings are nested too deeply", hint="look for brackets without end"
        ) from None


def read_text(file: Path) -> str:
    """Return a configuration file's text. Raises ConfigError if it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError):
            hint = "check the path that --config or the workspace names"
            raise _unreadable(file, str(error.strerror), hint) from None
        raise _unreadable(file, "it is not UTF-8 text", "save it as UTF-8") from None
    if "\0" in text:
        raise _unreadable(file, "it holds a NUL character", "save it as UTF-8")
    return text


def _unreadable(file: Path, reason: str, hint: str) -> ConfigError:
    return ConfigError(
        f"cannot read the configuration {file}: {reason}", code="config.file", hint=hint
    )


def _demand_sane(key: str, value: Any) -> None:
    """Raise ConfigError for a NUL character, and for a length of time of over a century."""
    if "\\u0000" in json.dumps(value, default=str):
        raise ConfigError(f"{key} holds a NUL character", hint="write it anew")
    most = next((most for unit, most in _CENTURY.items() if key.endswith(unit)), None)
    if most is not None and isinstance(value, int | float) and most < value < math.inf:
        raise ConfigError(
            f"{key} = {value} is not allowed", hint=f"must be less than or equal to {most}"
        )


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        document = tomllib.loads(read_text(file))
    except ValueError as error:  # also numbers of thousands of digits
        raise ConfigError(
            f"{file} is not valid TOML: {error}", code="config.toml", hint="mend that line"
        ) from None
    flat: dict[str, Any] = {}
    for section, content in document.items():
        if section not in SECTIONS:
            raise unknown(section, list(SECTIONS), str(file))
        if not isinstance(content, dict):
            raise ConfigError(
                f"{section} in {file} is a value where a table belongs",
                hint=f"write it as [{section}]",
            )
        flat.update({f"{section}.{key}": value for key, value in content.items()})
    return flat


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        section, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator or section not in SECTIONS:
            known = [f"{ENVIRONMENT_PREFIX}{s.upper()}__" for s in SECTIONS]
            raise unknown(name, known, "the environment")
        values[f"{section}.{key}"] = _decode(section, key, text)
    return values


def keys() -> list[str]:
    """Return the full key of every setting."""
    return [f"{section}.{key}" for section in SECTIONS for key in SECTIONS[section].__annotations__]


def parse_value(key: str, text: str) -> Any:
    """Read what a person typed for a setting: JSON unless the setting is text; `null` is None.

    Raises ConfigError for an unknown key, and for an array of tables, which no line can hold.
    """
    section, _, name = key.partition(".")
    if key not in keys():
        raise unknown(key, keys(), "the settings")
    if name in TABLES:
        raise ConfigError(
            f"{key} is an array of tables", hint=f"write [[{key}]] into {FILE_NAME} by hand"
        )
    return _decode(section, name, text)


def _decode(section: str, key: str, text: str) -> Any:
    """Read a variable's text as the setting's type: JSON unless that is a string."""
    kind = getattr(SECTIONS[section].__annotations__.get(key), "__origin__", None)
    if kind is str:
        return text
    try:
        value = json.loads(text)
    except ValueError:  # also numbers of thousands of digits
        return text
    # A folder may be called 2024: where text is allowed too, only a list or table is read as JSON.
    return text if str in get_args(kind) and not isinstance(value, list | dict) else value


def _located(key: str, value: Any, folder: Path | None) -> Any:
    """Return the value with relative paths seen from the folder; other values stay as they are."""
    try:
        return _placed(key, value, folder)
    except UsageError as error:
        raise ConfigError(f"{key}: {error.message}", hint=error.hint) from None


def _placed(key: str, value: Any, folder: Path | None) -> Any:
    if key in ("source.path", "metrics.file", "model.base"):
        return _absolute(value, folder)
    if key == "mlflow.artifacts" and isinstance(value, str) and not _SCHEME.match(value):
        return _absolute(value, folder)
    if key == "notify.receiver" and isinstance(value, list | tuple):
        return [
            {**entry, "path": _absolute(entry["path"], folder)}
            if isinstance(entry, dict) and "path" in entry
            else entry
            for entry in value
        ]
    return value


def _absolute(value: Any, folder: Path | None) -> Any:
    if isinstance(value, str):
        # abspath, not resolve: a glob's stars and a link's name stay as they were written.
        return os.path.abspath((folder or Path.cwd()) / parse_path(value))  # noqa: PTH100
    if isinstance(value, list | tuple):
        return [_absolute(v, folder) for v in value]
    return value


def _place(key: str, origin: Origin, file: Path | None) -> str:
    """Return where a value was written, in words."""
    if origin == "environment":
        return f"{ENVIRONMENT_PREFIX}{key.upper().replace('.', '__')}"
    return str(file) if origin == "file" else "the command line"
