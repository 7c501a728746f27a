"""Model kinds: each file holds one, as `Model` (`seams.ModelKind`). The only room with torch."""

from __future__ import annotations

from typing import cast

from cryptocast import plugins
from cryptocast.models._quantiles import reference_shape, symmetric
from cryptocast.seams import ModelKind

__all__ = ["get", "kinds", "reference_shape", "symmetric"]


def kinds() -> tuple[str, ...]:
    """The names of all model kinds."""
    return plugins.names(__name__)


def get(kind: str) -> ModelKind:
    """The model kind of that name; ConfigError that lists the known ones otherwise."""
    return cast(ModelKind, plugins.load(__name__, kind, what="model").Model())
