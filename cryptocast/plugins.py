"""Plug-ins by name: the modules of our own folders, and those that installed packages add.

A folder is a registry: each public module of it is a plug-in named after its file. A package
adds one by an entry point that names such a module of its own. Neither is imported before it is
used, and no distribution is searched as long as our own modules have all names that are asked for.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cryptocast.errors import ConfigError, CryptocastError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True)
class Group:
    """The plug-ins of one kind, our own and others'."""

    what: str  # the word that a person uses for one
    entry_points: str  # the group of the entry points that name those of other packages
    packages: tuple[str, ...]  # our own folders
    holds: tuple[str, ...]  # what the module of each has


SOURCES = Group("source", "cryptocast.sources", ("cryptocast.sources",), ("Source",))
MODELS = Group(
    "model",
    "cryptocast.models",
    ("cryptocast.models", "cryptocast.models.baselines"),
    ("Model",),
)
RECEIVERS = Group(
    "receiver", "cryptocast.receivers", ("cryptocast.notify",), ("Notifier", "NEEDS_URL")
)
SCHEDULERS = Group(
    "scheduler",
    "cryptocast.schedulers",
    ("cryptocast.schedulers",),
    ("when", "texts", "install", "remove", "installed"),
)
ENGINES = Group("engine", "cryptocast.engines", ("cryptocast.engines",), ("Engine",))
GROUPS = (SOURCES, MODELS, RECEIVERS, SCHEDULERS, ENGINES)


@dataclass(frozen=True, slots=True)
class Installed:
    """A plug-in of an installed package: where it is from, and why it is refused (or None)."""

    name: str
    package: str
    module: str
    refusal: str | None


@functools.cache  # a process does not gain plugins, and opening a workspace asks for them
def modules(package: str) -> tuple[str, ...]:
    """Return the public modules of a package, sorted, without those that are packages themselves.

    Neither the package nor one that it lies in is imported, unless it is the outermost.
    """
    outermost, *inner = package.split(".")
    spec = importlib.util.find_spec(outermost)
    roots = (None if spec is None else spec.submodule_search_locations) or ()
    found = pkgutil.iter_modules([str(Path(root, *inner)) for root in roots])
    return tuple(sorted(m.name for m in found if not m.ispkg and not m.name.startswith("_")))


def built_in(group: Group) -> tuple[str, ...]:
    """Return the names of our own plug-ins, sorted."""
    return tuple(sorted(name for package in group.packages for name in modules(package)))


def names(group: Group) -> tuple[str, ...]:
    """Return all names to choose from, sorted. Nothing is imported, but packages are searched."""
    usable = (plugin.name for plugin in installed(group) if plugin.refusal is None)
    return tuple(sorted((*built_in(group), *usable)))


def installed(group: Group) -> Iterator[Installed]:
    """Yield the plug-ins of installed packages, by name, the refused ones among them."""
    own = built_in(group)
    for name, entries in sorted(_entries(group.entry_points).items()):
        packages = sorted({_package(entry) for entry in entries})
        refusal = None
        if name in own:
            refusal = f"cryptocast has a {group.what} '{name}' of its own"
        elif len(entries) > 1:
            refusal = f"{' and '.join(packages)} both have a {group.what} '{name}'"
        for entry in entries:
            yield Installed(name, _package(entry), entry.value, refusal)


def require(group: Group, name: str, *, key: str | None = None) -> None:
    """Raise ConfigError if there is no plug-in of that name; `key` is the setting that holds it.

    A name that two packages claim is nobody's (`config.plugin`).
    """
    if name in built_in(group):
        return
    for plugin in installed(group):
        if plugin.name == name:
            if plugin.refusal is None:
                return
            hint = f"uninstall one of them: pip uninstall {plugin.package}"
            raise ConfigError(plugin.refusal, code="config.plugin", hint=hint)
    known = names(group)
    close = difflib.get_close_matches(name, known, 1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    where = "" if key is None else f", named in {key}"
    raise ConfigError(
        f"there is no {group.what} '{name}'{where}",
        code=f"config.{group.what}",
        hint=f"{guess}known: {', '.join(known)}",
    )


def load(group: Group, name: str) -> ModuleType:
    """Import the plug-in of that name, and only that one.

    Raise ConfigError, which lists the known ones, if there is none, and `config.plugin` if one
    of a package cannot be imported or lacks what the group's modules have.
    """
    require(group, name)
    for package in group.packages:
        if name in modules(package):
            return importlib.import_module(f"{package}.{name}")
    (entry,) = _entries(group.entry_points)[name]
    try:
        module = entry.load()
    except (Exception, SystemExit) as error:  # it is another's code, which may raise anything
        raise _unfit(group, name, f"cannot be imported: {_told(error)}") from error
    _check_parts(group, name, module, group.holds)
    return module  # type: ignore[no-any-return]  # whatever has the parts of one


def make(group: Group, name: str, seam: type, *arguments: Any) -> Any:
    """Load the plug-in, make what its module holds from the arguments, and return that.

    Raise ConfigError as `load` does, and `config.plugin` if what a package's plug-in made
    fails or lacks a member of the protocol `seam`.
    """
    maker = getattr(load(group, name), group.holds[0])
    if name in built_in(group):
        return maker(*arguments)
    try:
        made = maker(*arguments)
    except CryptocastError:  # a setting that it refuses
        raise
    except Exception as error:
        raise _unfit(group, name, f"cannot be opened: {_told(error)}") from error
    _check_parts(group, name, made, [m for m in vars(seam) if not m.startswith("_")])
    return made


def _check_parts(group: Group, name: str, thing: object, parts: Sequence[str]) -> None:
    if lacking := [part for part in parts if not hasattr(thing, part)]:
        raise _unfit(group, name, f"lacks {', '.join(lacking)}")


def _unfit(group: Group, name: str, why: str) -> ConfigError:
    """Return the error about a package's plug-in that cannot be used."""
    (entry,) = _entries(group.entry_points)[name]
    package = _package(entry)
    return ConfigError(
        f"the {group.what} '{name}' of the package {package} "
        f"({group.entry_points}: {name} = {entry.value}) {why}",
        code="config.plugin",
        hint=f"mend or upgrade {package}, or choose another {group.what}",
    )


def _told(error: BaseException) -> str:
    """Return an error as part of a line."""
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@functools.cache
def _entries(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return the entry points of a group by name; all installed packages are searched for them."""
    from importlib.metadata import entry_points  # late: a tick does without it

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=group):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _package(entry: EntryPoint) -> str:
    """Return the name of the package that an entry point is of."""
    return "?" if entry.dist is None else entry.dist.name
