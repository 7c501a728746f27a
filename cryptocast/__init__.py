"""cryptocast: forecasts crypto prices every 5 minutes and proves how good the forecasts are.

From Python:

    from pathlib import Path
    from cryptocast import Workspace, forecast_once

    with Workspace.open(Path("demo")) as ws:
        report = forecast_once(ws)
        candles = ws.candles()  # a polars frame, as what ws.forecast() and ws.query(sql) return

The public names are loaded when they are first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# Set before any library is loaded, here and in the processes that we start: none reports home,
# and numpy's sums do not depend on how many cores a machine has.
for _name, _value in {
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",  # Prefect, and what else keeps to this convention
}.items():
    os.environ.setdefault(_name, _value)

try:
    Path.home()
except RuntimeError:  # a user of a container may have none, and MLflow cannot be imported then
    os.environ["HOME"] = "/nonexistent"

# `__init__.pyi` has these names with their types. If they were imported here, every room that
# asks for the version would depend on all of them.
_HOMES = {
    "Candles": ("cryptocast.values", "Candles"),
    "CryptocastError": ("cryptocast.errors", "CryptocastError"),
    "ForecastSet": ("cryptocast.values", "ForecastSet"),
    "Market": ("cryptocast.values", "Market"),
    "Simulation": ("cryptocast.paths", "Simulation"),
    "TickReport": ("cryptocast.workflows.serving.tick", "TickReport"),
    "VirtualClock": ("cryptocast.clock", "VirtualClock"),
    "Workspace": ("cryptocast.answers.notebook", "Notebook"),
    "forecast_once": ("cryptocast.workflows.forecast", "tick"),
    "simulate": ("cryptocast.workflows.simulate", "simulate"),
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    try:
        module, attribute = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'cryptocast' has no attribute '{name}'") from None
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
