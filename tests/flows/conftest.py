"""A Prefect server for the session, and the workspaces of the other tests: see commands.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.commands import (  # noqa: F401 - fixtures work where their names are
    _bare_pictures,
    _mlflow_is_loaded,
    _ready_mlflow,
    _signals_stay,
    _small_networks,
    forced,
    fresh,
    made,
)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The address of a server of this session's own, with a database of its own."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        with prefect_test_harness(server_startup_timeout=120):
            yield str(PREFECT_API_URL.value())
