"""A folder is a registry: each public module of a package is a plugin named after its file."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Sequence
from types import ModuleType

from cryptocast.errors import ConfigError


def names(package: str) -> tuple[str, ...]:
    """The plugins of a package, sorted; modules that start with `_` are none."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def load(package: str, name: str, *, what: str, known: Sequence[str] | None = None) -> ModuleType:
    """Import the plugin `name` of a package, and only that one.

    Raises ConfigError that lists what there is when nothing has that name; `what`
    is the word a person uses for it ("source", "model"); `known` are the names that there
    are, by default those of the package.
    """
    known = names(package) if known is None else known
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        guess = f"did you mean '{close[0]}'? " if close else ""
        raise ConfigError(
            f"there is no {what} '{name}'",
            code=f"config.{what}",
            hint=f"{guess}known: {', '.join(known)}",
        )
    return importlib.import_module(f"{package}.{name}")
