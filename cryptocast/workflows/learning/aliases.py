"""MLflow's names for what serves: of all markets `production`, of one `production-...` and its id.

Aliases are for people and their tools. What serves is what `deployments` says.
"""

from __future__ import annotations

import re
from contextlib import suppress

from cryptocast.errors import StateError
from cryptocast.registry import Registry
from cryptocast.store import ALL_MARKETS
from cryptocast.values import Deployment
from cryptocast.workflows.learning.scoring import version_bundle
from cryptocast.workspace import Workspace

PRODUCTION, PREVIOUS = "production", "previous"

# MLflow takes letters, digits, dashes and underscores; an id holds colons and a slash.
_WRITTEN = {":": "-", "/": "_"}


def alias(role: str, market: str) -> str:
    """The alias of a role for a market's id (`production-kraken-BTC_EUR-5m`), or for `*`."""
    if market == ALL_MARKETS:
        return role
    return f"{role}-" + re.sub(
        r"[^A-Za-z0-9]", lambda found: _WRITTEN.get(found[0], f"-x{ord(found[0]):x}-"), market
    )


def drop_own(registry: Registry) -> None:
    """Take the aliases of single markets away: one version serves them all now."""
    for name in registry.aliases():
        if name.startswith((f"{PRODUCTION}-", f"{PREVIOUS}-")):
            registry.drop(name)


def mend(ws: Workspace) -> None:
    """Let the aliases name what serves: a promotion may have been killed before it counted."""
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets())
    known = ws.registry().aliases()
    for row in {(row.market, row.model_version): row for row in serving.values()}.values():
        for name, version in named_by(row).items():
            if known.get(name) != version:
                with suppress(StateError):  # a store that was replaced does not hold it
                    ws.registry().point(name, version_bundle(ws, version).card.version)


def named_by(row: Deployment) -> dict[str, str]:
    """The aliases that a deployment asks for, and the versions that they name."""
    named = {PRODUCTION: row.model_version, PREVIOUS: row.previous_version}
    return {alias(role, row.market): v for role, v in named.items() if v is not None}
