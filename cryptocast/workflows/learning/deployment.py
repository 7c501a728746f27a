"""Deploy a version: bundle, alias and the `deployments` row, which is the commit point.

MLflow's aliases are for people and their tools: of all markets `production`, of one
`production-...` and its id. What serves is what `deployments` says.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from cryptocast import bundles
from cryptocast.bundles import Bundle
from cryptocast.errors import StateError
from cryptocast.evaluation import Verdict
from cryptocast.registry import Registry
from cryptocast.store import ALL_MARKETS, as_json
from cryptocast.values import Deployment
from cryptocast.workflows.learning.versions import GRAPH, graph_hash, version_bundle
from cryptocast.workspace import Workspace

PRODUCTION, PREVIOUS = "production", "previous"

# MLflow takes letters, digits, dashes and underscores; an id holds colons and a slash.
_WRITTEN = {":": "-", "/": "_"}


@dataclass(frozen=True, slots=True)
class Decision:
    """What serves now, whether that changed, and why."""

    promoted: bool
    version: str
    model: str
    reason: str
    verdict: Verdict
    market: str = ALL_MARKETS  # an id, or `*`: all of them


def deploy(
    ws: Workspace, chosen: Bundle, market: str, action: str, reason: str, verdict: Verdict
) -> Deployment:
    """Freeze the bundle, set the aliases, write the row: the last is what counts.

    `market` is an id, or `*`: then it takes over every market.
    """
    version = chosen.card.version
    registry = ws.registry()
    graph = freeze(ws, chosen, market)
    with ws.store.read() as reader:
        before = reader.productions().at(market)
    previous = before.model_version if before else None
    if previous == version and before is not None:
        previous = before.previous_version
    if previous is not None:
        with suppress(StateError):  # a store that was replaced does not hold it
            registry.point(alias(PREVIOUS, market), version_bundle(ws, previous).card.version)
    if market == ALL_MARKETS:
        drop_own(registry)
    if action == "force":
        registry.amend(version, "Forced", reason, {"gate.forced": reason})
    now = ws.clock.now()
    with ws.store.write() as writer:
        return writer.put_deployment(
            Deployment(
                id=0,  # the store numbers it
                at=now,
                market=market,
                model_version=version,
                previous_version=previous,
                action=action,
                reason=reason,
                scores=as_json({"gate": verdict.comparisons, GRAPH: graph_hash(graph)}),
            )
        )


def freeze(ws: Workspace, chosen: Bundle, market: str) -> bytes:
    """Write the bundle and let the alias of production name its version; returns its graph."""
    version = chosen.card.version
    registry = ws.registry()
    graph = registry.onnx(version)
    bundles.freeze(ws.bundle_folder(version), chosen.card, graph)
    registry.point(alias(PRODUCTION, market), version)
    return graph


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
