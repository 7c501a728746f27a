"""Deploy a version: its bundle, MLflow's alias, then the `deployments` row that counts.

The aliases are for people and their tools: `production` of all markets, `production-...` with
its id of a single one. The version that serves is the one that `deployments` names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptocast import bundles
from cryptocast.bundles import Bundle, graph_hash
from cryptocast.errors import StateError
from cryptocast.store import ALL_MARKETS, GRAPH, as_json
from cryptocast.values import OPPONENT_WALK, Deployment
from cryptocast.workflows.learning.versions import registered_bundle
from cryptocast.workspace import Workspace

if TYPE_CHECKING:  # what serves and shows the status is installed without scipy and MLflow
    from cryptocast.evaluation import Verdict
    from cryptocast.registry import Registry

PRODUCTION, PREVIOUS = "production", "previous"

# MLflow allows letters, digits, dashes and underscores; an id holds colons and a slash.
_REPLACEMENTS = {":": "-", "/": "_"}


@dataclass(frozen=True, slots=True)
class Decision:
    """The version that serves, whether it was promoted, and why."""

    promoted: bool
    version: str
    model: str
    reason: str
    verdict: Verdict
    market: str = ALL_MARKETS  # an id, or `*` for all markets
    promised: float | None = None  # the skill that is promised of what serves: `promised_skill`


def deploy(
    ws: Workspace, chosen: Bundle, market: str, action: str, reason: str, verdict: Verdict
) -> Decision:
    """Freeze the bundle, set the aliases and write the row, which is the commit point.

    `market` is an id, or `*`: then the version takes over every market. `action` is promote,
    force or rollback.
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
        with suppress(StateError):  # if the MLflow store was replaced, it does not hold it
            previous_card = registered_bundle(ws, previous).card
            registry.point(alias(PREVIOUS, market), previous_card.version)
    if market == ALL_MARKETS:
        _drop_market_aliases(registry)
    if action == "force":
        registry.amend(version, "Forced", reason, {"gate.forced": reason})
    now = ws.clock.now()
    with ws.store.write() as writer:
        writer.put_deployment(
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
    kind, promised = chosen.card.kind, promised_at(ws, market)
    return Decision(True, version, kind, reason, verdict, market, promised)


def promised_at(ws: Workspace, market: str) -> float | None:
    """Return the promised skill of what now serves a market (an id, or `*`), or None."""
    with ws.store.read() as reader:
        row, deployments = reader.productions().at(market), reader.deployments()
    return None if row is None else promised_skill(row, deployments)


def promised_skill(row: Deployment, deployments: Sequence[Deployment]) -> float | None:
    """Return the skill that a version was expected to have when it was deployed, or None.

    This is the gate's `shrunken` skill against the random walk: what the gate measured, drawn
    towards 0 by its noise (for a base network, towards the skill that it showed on other
    markets and years). A roll-back measures nothing, so the newest comparison of the same
    version counts, for the same market or for all markets, up to that deployment. None if the
    version was never compared with the random walk.
    """
    ruling = [d for d in deployments if d.id <= row.id and d.market in (ALL_MARKETS, row.market)]
    for earlier in reversed(ruling):
        if earlier.model_version == row.model_version:
            skill = _shrunken_skill(earlier.scores)
            if skill is not None:
                return skill
    return None


def _shrunken_skill(scores: str) -> float | None:
    """Read the shrunken skill against the random walk from the `scores` of a deployment."""
    try:
        for comparison in json.loads(scores or "{}").get("gate") or ():
            skill = comparison.get("shrunken")
            if comparison.get("opponent") == OPPONENT_WALK and skill is not None:
                return float(skill) if math.isfinite(skill) else None
    except (ValueError, AttributeError, TypeError):
        return None  # another version of this program wrote them
    return None


def freeze(ws: Workspace, chosen: Bundle, market: str) -> bytes:
    """Write a version's bundle and point production's alias at it. Return its graph."""
    version = chosen.card.version
    registry = ws.registry()
    graph = registry.onnx(version)
    bundles.freeze(ws.bundle_folder(version), chosen.card, graph, registry.curve(version))
    registry.point(alias(PRODUCTION, market), version)
    return graph


def alias(role: str, market: str) -> str:
    """Return the alias of a role for a market's id (`production-kraken-BTC_EUR-5m`), or for `*`."""
    if market == ALL_MARKETS:
        return role
    return f"{role}-" + re.sub(
        r"[^A-Za-z0-9]",
        lambda match: _REPLACEMENTS.get(match[0], f"-x{ord(match[0]):x}-"),
        market,
    )


def aliases_of(row: Deployment) -> dict[str, str]:
    """Return the aliases that a deployment asks for, each with the version that it names."""
    named = {PRODUCTION: row.model_version, PREVIOUS: row.previous_version}
    return {alias(role, row.market): v for role, v in named.items() if v is not None}


def mend_aliases(ws: Workspace) -> None:
    """Point the aliases at the versions that serve.

    They may differ if a promotion was killed before its row was written.
    """
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets())
    current = ws.registry().aliases()
    for row in {(row.market, row.model_version): row for row in serving.values()}.values():
        for name, version in aliases_of(row).items():
            if current.get(name) != version:
                with suppress(StateError):  # if the MLflow store was replaced, it does not hold it
                    ws.registry().point(name, registered_bundle(ws, version).card.version)


def _drop_market_aliases(registry: Registry) -> None:
    """Remove the aliases of single markets: one version serves them all now."""
    for name in registry.aliases():
        if name.startswith((f"{PRODUCTION}-", f"{PREVIOUS}-")):
            registry.drop(name)
