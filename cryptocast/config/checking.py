"""The values of one section, checked, and a refusal that says what is allowed instead."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import ValidationError, convert

from cryptocast.config.section import PlainSecret, Refused, Section
from cryptocast.config.settings import SECTIONS, TABLES
from cryptocast.errors import ConfigError, without_secrets

_MAY_HOLD_SECRETS = (
    "source.api_key",
    "source.base_url",
    "source.fallback",
    "notify.receiver",
    "mlflow.tracking_uri",
    "engine.address",
    "mlflow.artifacts",
    "tune.storage",
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
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "an array",
    "object": "a table",
}
_BOUNDS = {
    " of length >= 1": " that is not empty",
    ">=": "of at least",
    "<=": "of at most",
    ">": "above",
    "<": "below",
}


def checked(section: str, values: Mapping[str, Any], places: Mapping[str, str]) -> Section:
    """Return a section of the settings that holds these values.

    `places` says for each full key (`data.days`) where its value was written. Raises ConfigError
    that names the first key whose value is not allowed.
    """
    try:
        return convert(values, SECTIONS[section])
    except Refused as refused:
        name, value = refused.name, refused.value
        if refused.section is SECTIONS[section]:
            raise _refused([section, name], values[name], refused.cause, places) from None
        (table,) = (name for name, kind in TABLES.items() if kind is refused.section)
        raise _refused([section, table, name], value, refused.cause, places) from None
    except ValidationError as error:
        raise _mistyped(section, values, str(error), places) from None


def unknown(name: str, known: list[str], where: str) -> ConfigError:
    """Return the error for a name that is not among the known ones, with the nearest of them."""
    close = difflib.get_close_matches(name, known, 1, 0.5)
    guess = f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(known)
    return ConfigError(f"unknown setting '{name}' in {where}", code="config.unknown", hint=guess)


def _refused(
    path: Sequence[str], value: Any, cause: ValueError, places: Mapping[str, str]
) -> ConfigError:
    """Return the error for a value that a check of ours refused."""
    key, where = ".".join(path), places[".".join(path[:2])]
    if isinstance(cause, PlainSecret):
        hint = _INSTEAD[path[-1]]
        return ConfigError(f"{key} in {where} {cause}", code="config.secret", hint=hint)
    return _not_allowed(_shown(key, value), where, str(cause))


def _mistyped(
    section: str, values: Mapping[str, Any], told: str, places: Mapping[str, str]
) -> ConfigError:
    """Return the error for what msgspec refused: names, types and bounds."""
    what, _, place = told.partition(" - at ")
    names: list[str] = [section]
    value: Any = values
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", place):
        value = value[name or int(index)]
        names += [name] if name else []
    field = re.search(r"field `(.*)`", what)
    path = [*names, field[1]] if field else names
    key, where = ".".join(path), places[".".join(path[:2])]
    if field is None:
        # A value in a place where secrets do not belong may be one: it is not repeated.
        shown = key if key.startswith(_MAY_HOLD_SECRETS) else _shown(key, value)
        return _not_allowed(shown, where, _wish(what))
    if "missing" in what:
        return ConfigError(f"{key} in {where} is missing", hint=f"write {field[1]} = ...")
    before = ".".join(names)
    kind = SECTIONS[section] if before == section else TABLES[names[-1]]
    return unknown(key, [f"{before}.{name}" for name in kind.__struct_fields__], where)


def _not_allowed(shown: str, where: str, wish: str) -> ConfigError:
    return ConfigError(f"{shown} in {where} is not allowed", hint=wish)


def _shown(key: str, value: Any) -> str:
    """Return a setting with its value, unless that names a user, a password or a query."""
    text = json.dumps(value, default=str)
    return f"{key} = {text}" if without_secrets(text) == text else key


def _wish(what: str) -> str:
    """Return what is allowed, in words, from msgspec's "Expected `int` >= 8" and its like."""
    found = re.match(r"Expected `([^`]*)`(.*?)(?:, got .*)?$", what)
    if found is None:
        return what.lower()
    kinds = [_KINDS[kind] for kind in found[1].split(" | ") if kind != "null"]
    bound = found[2].removesuffix(".0").replace("matching regex", "that matches")
    for sign, words in _BOUNDS.items():
        bound = bound.replace(sign, words)
    return f"must be {' or '.join(kinds)}{bound}"
