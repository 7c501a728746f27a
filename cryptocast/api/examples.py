"""An answer of each route, shortened: what the description shows. They were recorded."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any


@functools.cache
def _all() -> dict[str, Any]:
    file = resources.files("cryptocast") / "api" / "examples.json"
    return dict(json.loads(file.read_text(encoding="utf-8")))


def of(path: str) -> Any:
    """Return the example of a route that answers with JSON."""
    return _all()[path]
