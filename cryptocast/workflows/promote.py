"""promote: the gate, then bundle, alias and the `deployments` row, which is the commit point."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass

from cryptocast import bundles, evaluation
from cryptocast.bundles import Bundle
from cryptocast.dataset import Part
from cryptocast.errors import GateRefused, StateError, UsageError, no_production
from cryptocast.evaluation import Verdict
from cryptocast.values import Deployment, FloatArray
from cryptocast.workflows.material import Material, gather
from cryptocast.workflows.scoring import (
    GRAPH,
    WALK,
    baseline,
    frozen_bundle,
    graph_hash,
    quantiles,
    version_bundle,
)
from cryptocast.workspace import Workspace

ALL_MARKETS = "*"
"""The market of a deployment that serves every market of the workspace."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What serves now, whether that changed, and why."""

    promoted: bool
    version: str
    model: str
    reason: str
    verdict: Verdict


def promote(
    ws: Workspace, version: str, *, force: bool = False, reason: str | None = None
) -> Decision:
    """Make a version production if the gate agrees, or by force with a reason.

    Raises GateRefused where the gate says no, StateError where the version is unknown,
    UsageError for a force without a reason.
    """
    if force and not (reason or "").strip():
        raise UsageError("--force needs --reason", hint='--reason "why the gate is overruled"')
    challenger = version_bundle(ws, version)
    with ws.store.read() as reader:
        current = reader.deployment()
    if current is not None and current.model_version == version:
        _freeze(ws, challenger)  # mends a bundle or an alias that was lost
        told = "it was already"
        return Decision(True, version, challenger.card.kind, told, Verdict(True, told))
    verdict = judge(ws, gather(ws, lookback=challenger.card.lookback), challenger)
    if not verdict.promoted and not force:
        raise GateRefused(
            f"version {version} is not promoted: {verdict.reason}",
            hint=f'cryptocast promote {version} --force --reason "..." overrules the gate',
        )
    told = f"{reason} (the gate said: {verdict.reason})" if force else verdict.reason
    deploy(ws, challenger, "force" if force else "promote", told, verdict)
    return Decision(True, version, challenger.card.kind, told, verdict)


def judge(ws: Workspace, material: Material, challenger: Bundle) -> Verdict:
    """Compare on the gate's origins that the challenger has not learned from.

    The verdict is written into the version's tags and description too.
    """
    verdict = _judge(ws, material, challenger)
    word = "promoted" if verdict.promoted else "refused"
    ws.registry().amend(
        challenger.card.version,
        "Gate",
        f"{word}: {verdict.reason}",
        {"gate.verdict": word, "gate.reason": verdict.reason},
    )
    return verdict


def _judge(ws: Workspace, material: Material, challenger: Bundle) -> Verdict:
    split = material.split
    part = Part(max(split.judged.start, challenger.card.data_end), split.judged.end)
    if part.start >= part.end:
        return Verdict(False, "it learned from every candle that could judge it")
    learned = Part(split.train.start, part.start)
    levels = ws.settings.model.levels
    production = _production(ws, challenger.card.version)
    losses: dict[str, list[FloatArray]] = {"challenger": [], "random_walk": [], "production": []}
    origins = []
    for i in range(len(material.markets)):
        windows = material.market_windows(i, part)
        origins.append(windows.origin)
        walk = baseline(WALK, material.market_windows(i, learned), windows, levels)
        answers = {"challenger": quantiles(challenger, windows, levels)}
        answers["random_walk"] = walk.quantiles
        if production is not None:
            answers["production"] = quantiles(production, windows, levels)
        for role, answer in answers.items():
            losses[role].append(evaluation.crps_bp(answer, windows.targets, levels))
    opponents = {"random_walk": "the random walk"}
    if challenger.card.kind == WALK:  # it is no opponent of itself
        opponents = {}
    if production is not None:
        opponents["production"] = f"production version {production.card.version}"
    rule = ws.settings.gate
    return evaluation.decide(
        {
            role: evaluation.compare(name, losses["challenger"], losses[role], origins, rule)
            for role, name in opponents.items()
        },
        rule,
    )


def deploy(ws: Workspace, chosen: Bundle, action: str, reason: str, verdict: Verdict) -> Deployment:
    """Freeze the bundle, set the aliases, write the row: the last is what counts."""
    version = chosen.card.version
    registry = ws.registry()
    graph = _freeze(ws, chosen)
    with ws.store.read() as reader:
        before = reader.deployment()
    previous = before.model_version if before else None
    if previous == version and before is not None:
        previous = before.previous_version
    if previous is not None:
        with contextlib.suppress(StateError):  # a store that was replaced does not hold it
            registry.point("previous", version_bundle(ws, previous).card.version)
    if action == "force":
        registry.amend(version, "Forced", reason, {"gate.forced": reason})
    now = ws.clock.now()
    with ws.store.write() as writer:
        return writer.put_deployment(
            at=now,
            market=ALL_MARKETS,
            model_version=version,
            previous_version=previous,
            action=action,
            reason=reason,
            scores={
                "gate": [dataclasses.asdict(c) for c in verdict.comparisons],
                GRAPH: graph_hash(graph),
            },
        )


def _freeze(ws: Workspace, chosen: Bundle) -> bytes:
    """Write the bundle and let the alias `production` name its version; returns its graph."""
    version = chosen.card.version
    registry = ws.registry()
    graph = registry.onnx(version)
    bundles.freeze(ws.bundle_folder(version), chosen.card, graph)
    registry.point("production", version)
    return graph


def rollback(ws: Workspace, *, reason: str | None = None) -> Decision:
    """Put the version before back; a second time that gives back the first.

    Raises StateError where there is none before.
    """
    with ws.store.read() as reader:
        current = reader.deployment()
    if current is None:
        raise no_production()
    if current.previous_version is None:
        raise StateError(
            f"version {current.model_version} is the first: there is none before it",
            code="state.no_previous",
            hint="cryptocast models lists what could be promoted",
        )
    chosen = version_bundle(ws, current.previous_version)
    told = reason or f"rolled back from version {current.model_version}"
    deploy(ws, chosen, "rollback", told, Verdict(True, told))
    return Decision(True, chosen.card.version, chosen.card.kind, told, Verdict(True, told))


def _production(ws: Workspace, challenger: str) -> Bundle | None:
    """What serves now; None: nothing does, or the challenger itself."""
    with ws.store.read() as reader:
        current = reader.deployment()
    if current is None or current.model_version == challenger:
        return None
    return frozen_bundle(ws, current.model_version)
