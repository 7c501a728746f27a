"""A folder is a registry: each public module of a package is a plugin named after its file."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from cryptocast.errors import ConfigError


@functools.cache  # a process does not gain plugins, and opening a workspace asks for them
def names(package: str) -> tuple[str, ...]:
    """Return the plugins of a package, sorted, without modules that start with `_`.

    Neither the package nor one that it lies in is imported, unless it is the outermost.
    """
    outermost, *inner = package.split(".")
    spec = importlib.util.find_spec(outermost)
    roots = (None if spec is None else spec.submodule_search_locations) or ()
    paths = [str(Path(root, *inner)) for root in roots]
    return tuple(sorted(m.name for m in pkgutil.iter_modules(paths) if not m.name.startswith("_")))


def load(package: str, name: str, *, what: str, known: Sequence[str] | None = None) -> ModuleType:
    """Import the plugin `name` of a package, and only that one.

    `what` is the word that a person uses for it ("source", "model"); `known` are the names to
    choose from, by default those of the package. Raises ConfigError that lists them if none
    matches.
    """
    require(name, names(package) if known is None else known, what=what)
    return importlib.import_module(f"{package}.{name}")


def require(name: str, known: Sequence[str], *, what: str, key: str | None = None) -> None:
    """Raise ConfigError if `name` is not a known one; `key` is the setting that holds it."""
    if name in known:
        return
    close = difflib.get_close_matches(name, known, 1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    where = "" if key is None else f", named in {key}"
    raise ConfigError(
        f"there is no {what} '{name}'{where}",
        code=f"config.{what}",
        hint=f"{guess}known: {', '.join(known)}",
    )
