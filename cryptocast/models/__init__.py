"""Model kinds: each public file holds one as `Model`. Only this room touches torch."""

from __future__ import annotations

from typing import cast

from cryptocast import plugins
from cryptocast.models._quantiles import reference_shape as reference_shape
from cryptocast.models.base import HAR as HAR
from cryptocast.models.base import Series as Series
from cryptocast.models.base import base_folder as base_folder
from cryptocast.models.base import base_intervals as base_intervals
from cryptocast.seams import ModelKind

_BASELINES = f"{__name__}.baselines"


def baseline_kinds() -> tuple[str, ...]:
    """Return the names of the baselines, which every evaluation scores beside the versions."""
    return plugins.modules(_BASELINES)


def get(kind: str) -> ModelKind:
    """Return the model kind of that name. Raise ConfigError, which lists them, for another."""
    return cast(ModelKind, plugins.make(plugins.MODELS, kind, ModelKind))
