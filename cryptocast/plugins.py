"""A folder is a registry: each public module of a package is a plugin named after its file."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from types import ModuleType

from cryptocast.errors import ConfigError


def names(package: str) -> tuple[str, ...]:
    """The plugins of a package, sorted; modules that start with `_` are none.

    The package itself is not imported.
    """
    found = importlib.util.find_spec(package)
    path = () if found is None else found.submodule_search_locations
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def load(package: str, name: str, *, what: str, known: Sequence[str] | None = None) -> ModuleType:
    """Import the plugin `name` of a package, and only that one.

    Raises ConfigError that lists what there is when nothing has that name; `what`
    is the word a person uses for it ("source", "model"); `known` are the names that there
    are, by default those of the package.
    """
    require(name, names(package) if known is None else known, what=what)
    return importlib.import_module(f"{package}.{name}")


def require(name: str, known: Sequence[str], *, what: str, key: str | None = None) -> None:
    """Raise ConfigError where `name` is none of the known; `key` is the setting that says it."""
    if name in known:
        return
    close = difflib.get_close_matches(name, known, 1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    said = "" if key is None else f", as {key} says"
    raise ConfigError(
        f"there is no {what} '{name}'{said}",
        code=f"config.{what}",
        hint=f"{guess}known: {', '.join(known)}",
    )
