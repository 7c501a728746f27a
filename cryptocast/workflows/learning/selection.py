"""Which of a pipeline's versions serves: the gate is asked in turn, and production may stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from cryptocast import evaluation
from cryptocast.bundles import Bundle, Card
from cryptocast.dataset import Part
from cryptocast.evaluation import Verdict
from cryptocast.registry import SELECTION, RegisteredVersion
from cryptocast.store import ALL_MARKETS
from cryptocast.values import FloatArray, IntArray, Market
from cryptocast.workflows.learning.cards import BASE
from cryptocast.workflows.learning.deployment import Decision, deploy
from cryptocast.workflows.learning.material import Material
from cryptocast.workflows.learning.scope import is_apart
from cryptocast.workflows.learning.scoring import WALK, baseline, quantiles
from cryptocast.workflows.learning.versions import frozen_bundle, mismatch, version_bundle
from cryptocast.workspace import Workspace

_Pair = tuple[FloatArray, FloatArray, IntArray]  # losses [N, H] of ours and theirs, origins [N]

TRAINED = "trained"
"""The role of what was trained where there is no base network; its other roles are the kinds
that need no training, and these."""

TUNED = "fine-tuned"  # it starts at the base network
SCRATCHED = "scratch"  # it could, and does not


def decide(
    ws: Workspace,
    material: Material,
    registered: Mapping[str, RegisteredVersion],
    unfit: str | None,
) -> tuple[Decision, dict[str, Verdict]]:
    """Promote what the gate agrees to, else keep production, else the random walk.

    Returns the gate's word on each version that was put before it too.
    """
    market = material.markets[0].id if is_apart(ws) else ALL_MARKETS
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(material.markets)
    current = max(serving.values(), key=lambda row: row.id, default=None)
    made = {version.version for version in registered.values()}
    if current is not None and current.model_version in made:
        bundle = version_bundle(ws, current.model_version)
        verdict, known = judge(ws, material, bundle), bundle.card
        kept = Decision(True, known.version, known.kind, current.reason, verdict, market)
        return kept, {known.version: verdict}
    base = None if BASE not in registered else version_bundle(ws, registered[BASE].version)
    verdicts: dict[str, Verdict] = {}
    refused: list[str] = []
    for role, version in _contenders(ws, registered):
        chosen = version_bundle(ws, version.version)
        verdict = judge(ws, material, chosen, None if role == BASE else base)
        verdicts[version.version] = verdict
        if verdict.promoted:
            reason = _why(registered, role, verdict, refused, unfit)
            deploy(ws, chosen, market, "promote", reason, verdict)
            won = Decision(True, version.version, version.kind, reason, verdict, market)
            return won, verdicts
        refused.append(f"{_called(role, version)} is not promoted: {verdict.reason}")
    reason = "; ".join(refused)
    told = next(iter(verdicts.values()))  # of the first: what was trained here, where anything was
    if current is not None:
        served = frozen_bundle(ws, current.model_version).card
        if mismatch(served, ws.settings) is None:
            why = reason if unfit is None else f"{reason}; {unfit}"
            stays = Decision(False, current.model_version, served.kind, why, told, market)
            return stays, verdicts
    walk = version_bundle(ws, registered[WALK].version)
    # The verdicts are of those that were refused: none of its figures is a promise of the walk.
    deploy(ws, walk, market, "promote", reason, Verdict(True, reason))
    return Decision(True, walk.card.version, WALK, reason, told, market), verdicts


def _contenders(
    ws: Workspace, registered: Mapping[str, RegisteredVersion]
) -> list[tuple[str, RegisteredVersion]]:
    """Who comes before the gate, in this order: the best in validation of those that were
    trained here, if it beat the random walk there; the base network; or else the walk.
    """
    roles = {version.version: role for role, version in registered.items()}
    trained = [v for role, v in registered.items() if role != BASE]
    # A lone random walk needs no selection; of very few candles none is left to score it by.
    best = trained[0] if len(trained) == 1 else ws.registry().best(trained)
    contenders = [best] if roles[best.version] != WALK else []
    contenders += [registered[BASE]] if BASE in registered else []
    return [(roles[v.version], v) for v in contenders or [registered[WALK]]]


def _why(
    registered: Mapping[str, RegisteredVersion],
    role: str,
    verdict: Verdict,
    refused: Sequence[str],
    unfit: str | None,
) -> str:
    """Why this one serves, and why those before it do not."""
    if role == WALK:
        return unfit or _beaten(registered)
    return "; ".join([verdict.reason, *refused, *([] if unfit is None else [unfit])])


def _beaten(registered: Mapping[str, RegisteredVersion]) -> str:
    """Why the random walk was selected: what the others scored against it in validation."""
    others = [v for v in registered.values() if v.kind != WALK]
    told = ", ".join(f"{v.kind} {1 - v.metrics[SELECTION]:+.2%}" for v in others)
    return f"nothing beat it in validation (skill of the {told})"


def _called(role: str, version: RegisteredVersion) -> str:
    """How a refusal names a version."""
    if role in (TUNED, SCRATCHED):
        return f"the {role} {version.kind} of version {version.version}"
    if role == BASE:
        return f"the base network, version {version.version},"
    return f"version {version.version}"


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
