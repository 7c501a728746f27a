"""Engines: where heavy pieces of work run. Each public file is one, as `Engine`.

A piece is done by a function of `cryptocast.compute` from values alone, so that every engine
gives the same results, to the bit. Functions, pieces and results cross processes pickled, and
are never kept that way.
"""

from __future__ import annotations

from cryptocast import plugins
from cryptocast.config import EngineSettings
from cryptocast.seams import Engine

TRAINS = ("cryptocast.compute.folds", "cryptocast.compute.training", "cryptocast.models._fitting")
"""The modules that pieces import which train networks; for `Engine.prepare`."""

JUDGES = ("cryptocast.compute.scoring",)
"""Those of pieces that judge versions."""


def open_engine(settings: EngineSettings) -> Engine:
    """Open the engine that the settings name; it starts its workers when the first piece comes.

    Raises ConfigError: `config.engine` if there is none of that name, `config.extra` if what it
    needs is not installed.
    """
    engine: Engine = plugins.make(plugins.ENGINES, settings.kind, Engine, settings)
    return engine
