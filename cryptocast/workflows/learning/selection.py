"""Which of a pipeline's versions serves: the gate is asked in turn, and production may stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptocast.evaluation import Verdict
from cryptocast.registry import SELECTION, Version
from cryptocast.store import ALL_MARKETS
from cryptocast.workflows.learning.cards import BASE
from cryptocast.workflows.learning.material import Material
from cryptocast.workflows.learning.scope import is_apart
from cryptocast.workflows.learning.scoring import WALK, frozen_bundle, version_bundle
from cryptocast.workflows.promote import Decision, deploy, judge
from cryptocast.workflows.serving.ladder import mismatch
from cryptocast.workspace import Workspace

TRAINED = "trained"
"""The role of what was trained where there is no base network; its other roles are the kinds
that need no training, and these."""

TUNED = "fine-tuned"  # it starts at the base network
SCRATCHED = "scratch"  # it could, and does not


def decide(
    ws: Workspace, material: Material, registered: Mapping[str, Version], unfit: str | None
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


def _contenders(ws: Workspace, registered: Mapping[str, Version]) -> list[tuple[str, Version]]:
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
    registered: Mapping[str, Version],
    role: str,
    verdict: Verdict,
    refused: Sequence[str],
    unfit: str | None,
) -> str:
    """Why this one serves, and why those before it do not."""
    if role == WALK:
        return unfit or _beaten(registered)
    return "; ".join([verdict.reason, *refused, *([] if unfit is None else [unfit])])


def _beaten(registered: Mapping[str, Version]) -> str:
    """Why the random walk was selected: what the others scored against it in validation."""
    others = [v for v in registered.values() if v.kind != WALK]
    told = ", ".join(f"{v.kind} {1 - v.metrics[SELECTION]:+.2%}" for v in others)
    return f"nothing beat it in validation (skill of the {told})"


def _called(role: str, version: Version) -> str:
    """How a refusal names a version."""
    if role in (TUNED, SCRATCHED):
        return f"the {role} {version.kind} of version {version.version}"
    if role == BASE:
        return f"the base network, version {version.version},"
    return f"version {version.version}"
