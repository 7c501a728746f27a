"""Workspaces to work on with every engine: see commands.py."""

from __future__ import annotations

from support.commands import (  # noqa: F401 - fixtures work where their names are
    _bare_pictures,
    _mlflow_is_loaded,
    _ready_mlflow,
    _small_networks,
    forced,
    made,
)
from support.ticks import stocked, w  # noqa: F401 - fixtures work where their names are
