"""cryptocast serve-flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptocast.cli.root.options import Run

if TYPE_CHECKING:
    from cryptocast.flows.serving import Service

NAME = "serve-flows"
EXAMPLE = "cryptocast serve-flows -w btc"


def command(run: Run) -> None:
    """Serve the pipelines as scheduled flows of a Prefect server, until stopped.

    The variable PREFECT_API_URL names the server. Ticks come just after each close, and the
    model is renewed when the monitor asks for it. If there is no model yet, one is made first.
    """
    from cryptocast.errors import UsageError
    from cryptocast.flows import require_prefect

    if run.as_of is not None:
        raise UsageError(
            "a Prefect server goes by its own clock: --as-of has no meaning here",
            hint="cryptocast serve-loop --as-of TIME --max-ticks 12",
        )
    require_prefect()
    from cryptocast.flows.serving import serve_flows

    with run.open() as ws:
        serve_flows(ws, lambda service: _announce(run, service))


def _announce(run: Run, service: Service) -> None:
    """Print what is served where."""
    import sys

    from cryptocast.cli.root.output import print_document, warn
    from cryptocast.documents import document

    if service.crashed:
        warn(f"{service.crashed} runs of an earlier process are marked as crashed")
    if run.as_json:
        print_document(NAME, document(service))
    elif not run.quiet:
        print(f"Served on {service.server}, until you press Ctrl-C:")
        for flow in service.flows:
            when = f"every {flow.every_seconds:g} s" if flow.every_seconds else "when started"
            print(f"  {flow.deployment}  {when}")
        if service.initializing:
            print("There is no model yet: the first one is being made")
        sys.stdout.flush()
