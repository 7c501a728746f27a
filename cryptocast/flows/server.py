"""The Prefect server: its address, and errors in our words when it is not there or refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from cryptocast.errors import ConfigError, FlowsError, shown_url

_PATIENCE_SECONDS = 30.0  # with a server that accepts a connection and says nothing


@contextmanager
def connected(server: str) -> Iterator[SyncPrefectClient]:
    """Yield a client of the server at `api_url()`, which answers.

    Raises FlowsError if nothing answers there, or if the server is lost or refuses meanwhile.
    """
    one_try = {
        PREFECT_CLIENT_MAX_RETRIES: 0,
        PREFECT_API_REQUEST_TIMEOUT: _PATIENCE_SECONDS,
    }
    with temporary_settings(one_try), get_client(sync_client=True) as client:
        if (error := client.api_healthcheck()) is not None:
            raise _unreachable(server) from error
    with answering(server), get_client(sync_client=True) as client:
        yield client


def api_url() -> str:
    """Return the address of the Prefect server's API, without a password in it.

    Raises ConfigError if none is set: Prefect would start a server of its own, for this process.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise ConfigError(
            "PREFECT_API_URL names no Prefect server",
            code="config.prefect",
            hint="prefect server start, then: export PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    return shown_url(str(url))


@contextmanager
def answering(server: str) -> Iterator[None]:
    """Translate what Prefect's client raises. Raises FlowsError."""
    try:
        yield
    except PrefectHTTPStatusError as error:
        raise FlowsError(
            f"the Prefect server at {server} refuses: HTTP {error.response.status_code}",
            code="flows.refused",
            hint="check PREFECT_API_URL, PREFECT_API_KEY and the server's version",
        ) from error
    except httpx.HTTPError as error:
        raise _unreachable(server) from error
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        raise _unreachable(server) from error


def _unreachable(server: str) -> FlowsError:
    return FlowsError(
        f"the Prefect server at {server} cannot be reached",
        code="flows.unreachable",
        hint="prefect server start, or set PREFECT_API_URL to the server that runs",
        retry=True,
    )
