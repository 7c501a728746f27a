"""What wakes a tick after each close where no loop runs. Each module of this folder is one.

A scheduler has `when(plan)` (its own word for how often), `texts(plan)` (what it reads, and
where that belongs), `install(plan)` and `remove(workspace)`, which return whether anything
changed. None of them locks: the tick itself is safe when it runs twice.
"""

from __future__ import annotations

from types import ModuleType

from cryptocast import plugins
from cryptocast.schedulers._plan import Plan, Text, checked

__all__ = ["Plan", "Text", "checked", "get"]


def get(kind: str) -> ModuleType:
    """The scheduler of that name. Raises ConfigError that lists what there is."""
    return plugins.load("cryptocast.schedulers", kind, what="scheduler")
