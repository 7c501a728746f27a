"""The pipelines as flows of Prefect (extra `prefect`): the only room that imports it."""

from __future__ import annotations

import importlib.util

from cryptocast.errors import UsageError


def require_prefect() -> None:
    """Raise UsageError if Prefect is not installed; the other modules here import it."""
    if importlib.util.find_spec("prefect") is None:
        raise UsageError(
            "Prefect is not installed",
            code="usage.not_installed",
            hint="pip install 'cryptocast[prefect]'",
        )
