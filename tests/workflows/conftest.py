"""Workspaces to run commands in: see commands.py."""

from __future__ import annotations

from support.commands import (  # noqa: F401 - fixtures work where their names are
    _bare_pictures,
    _mlflow_is_loaded,
    _ready_mlflow,
    _signals_stay,
    _small_networks,
    forced,
    fresh,
    impatient,
    made,
    painted,
    workspace,
)
from support.engines import _kept_engines  # noqa: F401 - fixtures work where their names are
from support.ticks import stocked, w  # noqa: F401 - fixtures work where their names are
