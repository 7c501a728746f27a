"""The Prefect server: its address, and errors in our words when it is not there or refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from cryptocast.errors import ConfigError, FlowsError


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
    parts = urlsplit(str(url))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def require_server(client: SyncPrefectClient, server: str) -> None:
    """Raise FlowsError if nothing answers at the server's address."""
    if (error := client.api_healthcheck()) is not None:
        raise _unreachable(server) from error


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
