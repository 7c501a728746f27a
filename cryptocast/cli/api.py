"""cryptocast api."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.root.options import Run

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cryptocast.api.service import ApiService
    from cryptocast.workspace import Workspace

NAME = "api"
EXAMPLE = "cryptocast api -w btc --port 8777"

TOKEN = "env:CRYPTOCAST_API_TOKEN"  # noqa: S105 - where it is, not what it is
LOOPBACK = "127.0.0.1"


def command(
    run: Run,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address to listen at; others need a token.")
    ] = LOOPBACK,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen at; 0 takes any.")
    ] = 8777,
    token: Annotated[
        str, typer.Option(metavar="env:NAME", help="The variable with the token to ask for.")
    ] = TOKEN,
) -> None:
    """Serve the workspace over HTTP, to read, until stopped (Ctrl-C or SIGTERM: exit 0).

    Forecasts, candles, scores, status, probabilities and a stream of new forecasts, described at
    / and /openapi.json. It never writes, and holds the database for milliseconds. If the
    variable CRYPTOCAST_API_TOKEN is set, every request must bring that token.
    """
    from cryptocast.cli.root.output import print_document
    from cryptocast.cli.serve_loop import stopped_by_signals

    with (
        stopped_by_signals(lambda: None) as stop,
        run.open() as ws,
        opened(ws, host, port, token) as service,
        suppress(KeyboardInterrupt),
        stop.interruptible(),
    ):
        if run.as_json:
            print_document(NAME, {"url": service.url, "token": service.token})
        elif not run.quiet:
            print(f"Served at {service.url}, until you press Ctrl-C", flush=True)
        service.wait()


def opened(
    ws: Workspace, host: str, port: int, token: str = TOKEN
) -> AbstractContextManager[ApiService]:
    """Return the service of a workspace, which answers inside the block.

    Raises UsageError without the extra, and ConfigError for a token that is written out, or
    named and not there.
    """
    from cryptocast.api import require_api
    from cryptocast.cli.root.output import warn
    from cryptocast.config import REFERENCE
    from cryptocast.errors import ConfigError

    require_api()
    if not REFERENCE.fullmatch(token):
        raise ConfigError(
            "--token names a variable: the token itself is not written here",
            code="config.secret",
            hint=f"--token {TOKEN}",
        )
    secret = ws.secrets.resolve(token)
    if secret is None and token != TOKEN:
        raise ConfigError(
            f"--token names {token}, which is not set",
            code="config.secret",
            hint=f"export {token.removeprefix('env:')}=..., or put it into .env",
        )
    from cryptocast.api.service import serving

    return serving(ws, host, port, secret, warn)
