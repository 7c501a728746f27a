"""The workspace over HTTP, to read (extra `api`): the only room that imports FastAPI."""

from __future__ import annotations

import importlib.util

from cryptocast.errors import UsageError


def require_api() -> None:
    """Raise UsageError if FastAPI or uvicorn is not installed; the other modules here need them."""
    for name in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(
                f"{name} is not installed",
                code="usage.not_installed",
                hint="pip install 'cryptocast[api]'",
            )
