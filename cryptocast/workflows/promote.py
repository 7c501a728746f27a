"""promote: the gate, then bundle, alias and the `deployments` row, which is the commit point."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from cryptocast import bundles, evaluation
from cryptocast.bundles import Bundle, Card
from cryptocast.dataset import Part
from cryptocast.errors import GateRefused, StateError, UsageError
from cryptocast.evaluation import Verdict
from cryptocast.store import ALL_MARKETS
from cryptocast.values import Deployment, FloatArray, IntArray, Market
from cryptocast.workflows.learning.aliases import PREVIOUS, PRODUCTION, alias, drop_own
from cryptocast.workflows.learning.material import Material, gather
from cryptocast.workflows.learning.scope import markets_of, meant_for
from cryptocast.workflows.learning.scoring import (
    GRAPH,
    WALK,
    baseline,
    frozen_bundle,
    graph_hash,
    quantiles,
    version_bundle,
)
from cryptocast.workflows.serving.ladder import mismatch
from cryptocast.workspace import Workspace

_Pair = tuple[FloatArray, FloatArray, IntArray]  # losses [N, H] of ours and theirs, origins [N]


@dataclass(frozen=True, slots=True)
class Decision:
    """What serves now, whether that changed, and why."""

    promoted: bool
    version: str
    model: str
    reason: str
    verdict: Verdict
    market: str = ALL_MARKETS  # an id, or `*`: all of them


def promote(
    ws: Workspace, version: str, *, force: bool = False, reason: str | None = None
) -> Decision:
    """Make a version production if the gate agrees, or by force with a reason.

    Of all markets, or of the one that it is meant for (`[model] scope`). Raises GateRefused
    where the gate says no, StateError where the version is unknown, UsageError for a force
    without a reason.
    """
    if force and not (reason or "").strip():
        raise UsageError("--force needs --reason", hint='--reason "why the gate is overruled"')
    challenger = version_bundle(ws, version)
    market, markets = meant_for(ws, challenger.card), markets_of(ws, challenger.card)
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(markets)
    if [row.model_version for row in serving.values()] == [version] * len(markets):
        _freeze(ws, challenger, market)  # mends a bundle or an alias that was lost
        told = "it was already"
        return Decision(True, version, challenger.card.kind, told, Verdict(True, told), market)
    verdict = judge(ws, gather(ws, markets, lookback=challenger.card.lookback), challenger)
    if not verdict.promoted and not force:
        raise GateRefused(
            f"version {version} is not promoted: {verdict.reason}",
            hint=f'cryptocast promote {version} --force --reason "..." overrules the gate',
        )
    told = f"{reason} (the gate said: {verdict.reason})" if force else verdict.reason
    deploy(ws, challenger, market, "force" if force else "promote", told, verdict)
    return Decision(True, version, challenger.card.kind, told, verdict, market)


def judge(
    ws: Workspace, material: Material, challenger: Bundle, rival: Bundle | None = None
) -> Verdict:
    """Compare on the gate's origins that the challenger has not learned from.

    `rival` is one more that it has to beat; production is none where it does not answer what the
    settings ask for now. The verdict is written into the version's tags and
    description too.
    """
    verdict = _judge(ws, material, challenger, rival)
    word = "promoted" if verdict.promoted else "refused"
    ws.registry().amend(
        challenger.card.version,
        "Gate",
        f"{word}: {verdict.reason}",
        {"gate.verdict": word, "gate.reason": verdict.reason},
    )
    return verdict


def _judge(ws: Workspace, material: Material, challenger: Bundle, rival: Bundle | None) -> Verdict:
    split = material.split
    part = Part(max(split.judged.start, challenger.card.data_end), split.judged.end)
    if part.start >= part.end:
        return Verdict(False, "it learned from every candle that could judge it")
    learned = Part(split.train.start, part.start)
    levels = ws.settings.model.levels
    productions = _productions(ws, material, challenger.card.version)
    asked = (challenger, *productions.values(), *([] if rival is None else [rival]))
    # Every one reads its own lookback, at the same origins.
    lookback = max(material.lookback, *(each.card.lookback for each in asked))
    material = dataclasses.replace(material, lookback=lookback)
    against: dict[str, list[_Pair]] = {"random_walk": [], "rival": [], "production": []}
    for i, market in enumerate(material.markets):
        windows = material.market_windows(i, part)
        mine = evaluation.crps_bp(quantiles(challenger, windows, levels), windows.targets, levels)
        walk = baseline(WALK, material.market_windows(i, learned), windows, levels)
        answers = {"random_walk": walk.quantiles}
        if rival is not None:
            answers["rival"] = quantiles(rival, windows, levels)
        if market in productions:
            answers["production"] = quantiles(productions[market], windows, levels)
        for role, answer in answers.items():
            theirs = evaluation.crps_bp(answer, windows.targets, levels)
            against[role].append((mine, theirs, windows.origin))
    opponents = {"random_walk": "the random walk"}
    if challenger.card.kind == WALK:  # it is no opponent of itself
        opponents = {}
    if rival is not None:
        opponents["rival"] = f"the {rival.card.kind} of version {rival.card.version}"
    if productions:
        opponents["production"] = _named(productions.values())
    rule = ws.settings.gate
    comparisons = {}
    for role, name in opponents.items():
        ours, theirs_, origins = (list(column) for column in zip(*against[role], strict=True))
        prior = _prior(role, challenger.card, rival)
        comparisons[role] = evaluation.compare(name, ours, theirs_, origins, rule, prior)
    return evaluation.decide(comparisons, rule)


def _prior(role: str, challenger: Card, rival: Bundle | None) -> float | None:
    """What is known of a comparison before a candle is looked at; None: nothing.

    Skills against the random walk that were shown elsewhere; who has shown none is expected to
    have none.
    """
    shown = _shown_elsewhere(challenger)
    if role == "rival" and rival is not None:
        return (shown or 0.0) - (_shown_elsewhere(rival.card) or 0.0)
    return shown if role == "random_walk" else None


def _shown_elsewhere(card: Card) -> float | None:
    """The skill against the random walk that a model's base showed where it was not trained."""
    return None if card.evidence is None else card.evidence.get("skill")


def _productions(ws: Workspace, material: Material, challenger: str) -> dict[Market, Bundle]:
    """What serves each market now; left out are those without any, with the challenger, or with
    one that does not fit the settings any more: it serves no origin.
    """
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(material.markets)
    versions = {market: row.model_version for market, row in serving.items()}
    known = {v: frozen_bundle(ws, v) for v in set(versions.values()) if v != challenger}
    fitting = {v: bundle for v, bundle in known.items() if not mismatch(bundle.card, ws.settings)}
    return {market: fitting[v] for market, v in versions.items() if v in fitting}


def _named(productions: Iterable[Bundle]) -> str:
    versions = list(dict.fromkeys(bundle.card.version for bundle in productions))
    if len(versions) == 1:
        return f"production version {versions[0]}"
    return f"production ({len(versions)} versions)"


def deploy(
    ws: Workspace, chosen: Bundle, market: str, action: str, reason: str, verdict: Verdict
) -> Deployment:
    """Freeze the bundle, set the aliases, write the row: the last is what counts.

    `market` is an id, or `*`: then it takes over every market.
    """
    version = chosen.card.version
    registry = ws.registry()
    graph = _freeze(ws, chosen, market)
    with ws.store.read() as reader:
        before = reader.productions().at(market)
    previous = before.model_version if before else None
    if previous == version and before is not None:
        previous = before.previous_version
    if previous is not None:
        with contextlib.suppress(StateError):  # a store that was replaced does not hold it
            registry.point(alias(PREVIOUS, market), version_bundle(ws, previous).card.version)
    if market == ALL_MARKETS:
        drop_own(registry)
    if action == "force":
        registry.amend(version, "Forced", reason, {"gate.forced": reason})
    now = ws.clock.now()
    with ws.store.write() as writer:
        return writer.put_deployment(
            at=now,
            market=market,
            model_version=version,
            previous_version=previous,
            action=action,
            reason=reason,
            scores={
                "gate": [dataclasses.asdict(c) for c in verdict.comparisons],
                GRAPH: graph_hash(graph),
            },
        )


def _freeze(ws: Workspace, chosen: Bundle, market: str) -> bytes:
    """Write the bundle and let the alias of production name its version; returns its graph."""
    version = chosen.card.version
    registry = ws.registry()
    graph = registry.onnx(version)
    bundles.freeze(ws.bundle_folder(version), chosen.card, graph)
    registry.point(alias(PRODUCTION, market), version)
    return graph
