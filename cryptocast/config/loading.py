"""Settings: defaults < `cryptocast.toml` < `CRYPTOCAST_<SECTION>__<KEY>` < options, validated."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import ValidationError

from cryptocast.config.learning import PlainSecret, Section
from cryptocast.config.settings import TABLES, Settings
from cryptocast.errors import ConfigError, UsageError, without_secrets
from cryptocast.values import parse_path

FILE_NAME = "cryptocast.toml"
ENVIRONMENT_PREFIX = "CRYPTOCAST_"
NOT_SETTINGS = frozenset({"CRYPTOCAST_WORKSPACE", "CRYPTOCAST_API_TOKEN"})
_MAY_HOLD_SECRETS = frozenset(
    {
        "source.api_key",
        "source.base_url",
        "source.fallback",
        "notify.receiver",
        "mlflow.tracking_uri",
        "engine.address",
        "mlflow.artifacts",
        "tune.storage",
    }
)
_INSTEAD = {  # of a secret in a setting
    "api_key": "for example env:COINCAP_API_KEY",
    "url": "for example env:WEBHOOK_URL",
    "tracking_uri": "for example env:TRACKING_SERVER",
    "address": "write host and port alone",
    "artifacts": "for example env:ARTIFACTS",
    "storage": "for example env:STUDIES",
    "base_url": "write scheme, host and path alone; a key goes into api_key, as env:NAME",
}

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
        return Settings.model_validate(merged), origins
    except ValidationError as error:
        raise _translate(error, origins, file) from None
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
        if section not in Settings.model_fields:
            raise unknown(section, list(Settings.model_fields), str(file))
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
        if not separator or section not in Settings.model_fields:
            known = [f"{ENVIRONMENT_PREFIX}{s.upper()}__" for s in Settings.model_fields]
            raise unknown(name, known, "the environment")
        values[f"{section}.{key}"] = _decode(section, key, text)
    return values


def keys() -> list[str]:
    """Return the full key of every setting."""
    sections = Settings.model_fields.items()
    return [f"{section}.{key}" for section, field in sections for key in _fields(field.annotation)]


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


def _fields(section: Any) -> Mapping[str, Any]:
    return cast(type[Section], section).model_fields


def _decode(section: str, key: str, text: str) -> Any:
    """Read a variable's text as the setting's type: JSON unless that is a string."""
    field = _fields(Settings.model_fields[section].annotation).get(key)
    if field is not None and field.annotation is str:
        return text
    try:
        value = json.loads(text)
    except ValueError:  # also numbers of thousands of digits
        return text
    # A folder may be called 2024: where text is allowed too, only a list or table is read as JSON.
    takes_text = field is not None and str in get_args(field.annotation)
    return text if takes_text and not isinstance(value, list | dict) else value


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


def unknown(name: str, known: list[str], where: str) -> ConfigError:
    """Return the error for a name that is not among the known ones, with the nearest of them."""
    close = difflib.get_close_matches(name, known, 1, 0.5)
    guess = f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(known)
    return ConfigError(f"unknown setting '{name}' in {where}", code="config.unknown", hint=guess)


def _translate(
    error: ValidationError, origins: Mapping[str, Origin], file: Path | None
) -> ConfigError:
    """Return pydantic's first error as one of ours."""
    # A misspelt key explains why another is missing.
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    parts = [str(p) for p in first["loc"]]
    key = ".".join(parts[:2])
    origin = origins.get(key, "default")
    where = {
        "file": str(file),
        "environment": f"{ENVIRONMENT_PREFIX}{key.upper().replace('.', '__')}",
        "option": "the command line",
    }.get(origin, "the defaults")
    if first["type"] == "extra_forbidden":
        nested = len(parts) > 2
        model = TABLES[parts[1]] if nested else Settings.model_fields[parts[0]].annotation
        before = key if nested else parts[0]
        known = [f"{before}.{name}" for name in _fields(model)]
        return unknown(f"{before}.{parts[-1]}", known, where)
    if len(parts) > 2 and not parts[-1].isdigit():
        key = f"{key}.{parts[-1]}"
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, PlainSecret):
        hint = _INSTEAD[parts[-1]]
        return ConfigError(f"{key} in {where} {cause}", code="config.secret", hint=hint)
    wish = str(cause) if cause is not None else re.sub(r"^\w+ should", "must", first["msg"])
    # A value in a place where secrets do not belong may be one: it is not repeated.
    value = json.dumps(first["input"], default=str)
    secret = cause is None and key.startswith(tuple(_MAY_HOLD_SECRETS))
    shown = key if secret or without_secrets(value) != value else f"{key} = {value}"
    if first["type"] == "missing":
        return ConfigError(f"{key} in {where} is missing", hint=f"write {parts[-1]} = ...")
    return ConfigError(
        f"{shown} in {where} is not allowed",
        hint=wish.replace("tuple", "array").replace("dictionary", "table"),
    )
