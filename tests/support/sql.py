"""Engines of SQLite that share what SQLAlchemy compiles.

MLflow and Optuna open an engine for each workspace, and an engine compiles every statement anew.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
from mlflow.store.db import utils
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.util import LRUCache

_newest_schema = functools.cache(utils._get_latest_schema_revision)  # of MLflow's own files


@functools.cache
def _shared() -> tuple[Dialect, LRUCache[Any, Any]]:
    """Return a dialect that knows its SQLite, and what was compiled for it."""
    engine = create_engine("sqlite://")
    engine.connect().close()
    engine.dispose()
    return engine.dialect, LRUCache(4_000)


def share_statements(patch: pytest.MonkeyPatch) -> None:
    """Compile each statement once, whatever file it is for."""
    shared, compiled = _shared()
    begin = Engine.__init__

    def sharing(self: Engine, pool: Any, dialect: Dialect, url: Any, **more: Any) -> None:
        if type(dialect) is not type(shared):
            begin(self, pool, dialect, url, **more)
            return
        begin(self, pool, shared, url, **more)
        self._compiled_cache = compiled

    patch.setattr(Engine, "__init__", sharing)
    patch.setattr(utils, "_get_latest_schema_revision", _newest_schema)
