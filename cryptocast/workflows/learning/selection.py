"""Select the version that serves: put a pipeline's versions before the gate, one after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cryptocast.bundles import Card
from cryptocast.compute.ladder import mismatch
from cryptocast.compute.scoring import BASE, WALK
from cryptocast.display import percent
from cryptocast.evaluation import Verdict, is_refuted
from cryptocast.registry import SELECTION, RegisteredVersion, Registry
from cryptocast.store import ALL_MARKETS
from cryptocast.values import Deployment
from cryptocast.workflows.learning.deployment import Decision, deploy, promised_at
from cryptocast.workflows.learning.judging import against_walk, judge, note_verdict
from cryptocast.workflows.learning.scope import per_market
from cryptocast.workflows.learning.versions import frozen_bundle, registered_bundle
from cryptocast.workspace import Workspace

if TYPE_CHECKING:
    from cryptocast.compute.material import Material

ROLE = "role"
"""The tag that names the role of a version in its pipeline; versions of several kinds share one."""

TRAINED = "trained"
"""The role of the trained version if there is no base network to start at.

Other roles are `TUNED` and `SCRATCHED`, and the kinds that need no training.
"""

NOTHING_NEW = "learned nothing new from your candles"
"""Why a version is no candidate: it answers as the base network does that it started at."""

TUNED = "fine-tuned"  # it starts at the base network
SCRATCHED = "scratch"  # it could start there, and does not


def decide(
    ws: Workspace,
    material: Material,
    registered: Sequence[RegisteredVersion],
    unfit: str | None,
) -> tuple[Decision, dict[str, Verdict]]:
    """Promote the first version that passes the gate, else keep production, else the random walk.

    `registered` are the pipeline's versions; `unfit` is why configured kinds could not be
    trained. Returns the verdict on each version that was put before the gate, too.
    """
    market = material.markets[0].id if per_market(ws.settings) else ALL_MARKETS
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(material.markets)
    current = max(serving.values(), key=lambda row: row.id, default=None)
    own = {version.version for version in registered}
    if current is not None and current.model_version in own:  # promoted before an interruption
        bundle = registered_bundle(ws, current.model_version)
        verdict, card = judge(ws, material, bundle), bundle.card
        promised = promised_at(ws, market)
        kept = Decision(True, card.version, card.kind, current.reason, verdict, market, promised)
        return kept, {card.version: verdict}
    verdicts: dict[str, Verdict] = {}
    refusals: list[str] = []
    for version, verdict in _verdicts(ws, material, registered):
        verdicts[version.version] = verdict
        if verdict.promoted:
            challenger = registered_bundle(ws, version.version)
            reason = _promotion_reason(registered, version, verdict, refusals, unfit)
            return deploy(ws, challenger, market, "promote", reason, verdict), verdicts
        refusals.append(_refusal(version, verdict))
    stays, objection = (None, None) if current is None else _kept(ws, material, current)
    refusals += [] if objection is None else [objection]
    # On the version that was trained here, if it came as far as the gate.
    first = next((v for v in verdicts.values() if v.comparisons), Verdict(False, _told(refusals)))
    if stays is not None:
        why = _told([*refusals, *([unfit] if unfit else [])])
        promised = promised_at(ws, market)
        kept = Decision(False, stays.version, stays.kind, why, first, market, promised)
        return kept, verdicts
    (walk_version,) = _with_role(registered, WALK)
    walk = registered_bundle(ws, walk_version.version)
    # The comparisons belong to the refused versions: none of their figures is a promise of the
    # random walk.
    reason = _told(refusals)
    decision = deploy(ws, walk, market, "promote", reason, Verdict(True, reason))
    return dataclasses.replace(decision, verdict=first), verdicts


def _with_role(registered: Sequence[RegisteredVersion], role: str) -> list[RegisteredVersion]:
    return [version for version in registered if version.tags[ROLE] == role]


def _verdicts(
    ws: Workspace, material: Material, registered: Sequence[RegisteredVersion]
) -> Iterator[tuple[RegisteredVersion, Verdict]]:
    """Yield the contenders, each put before the gate when it is asked for."""
    same = _same_as_base(registered)
    for version in same:
        yield version, note_verdict(ws, version.version, Verdict(False, NOTHING_NEW))
    base = [registered_bundle(ws, v.version) for v in _with_role(registered, BASE)]
    for version in _contenders(ws.registry(), registered):
        if version not in same:
            challenger = registered_bundle(ws, version.version)
            rival = base[0] if base and version.tags[ROLE] != BASE else None
            yield version, judge(ws, material, challenger, rival)


def _same_as_base(registered: Sequence[RegisteredVersion]) -> list[RegisteredVersion]:
    """Return the versions that started at the base network and still answer as that does.

    Then no epoch bettered the start, and their validation scores are equal to the last bit.
    """
    scores = {version.metrics[SELECTION] for version in _with_role(registered, BASE)}
    return [v for v in _with_role(registered, TUNED) if v.metrics[SELECTION] in scores]


def _kept(ws: Workspace, material: Material, current: Deployment) -> tuple[Card | None, str | None]:
    """Return the card of the version that goes on serving, or None; and what speaks against it.

    It goes on unless its forecasts are not what the settings ask for, or the candles that it has
    not learned from speak against it. A version that a person forced stays.
    """
    served = frozen_bundle(ws, current.model_version)
    if mismatch(served.card, ws.settings) is not None:
        return None, None
    if current.action != "force" and served.card.kind != WALK:
        verdict = against_walk(material, served, ws.settings)
        if any(is_refuted(comparison, ws.settings.gate) for comparison in verdict.comparisons):
            return None, f"production version {current.model_version} is {verdict.reason}"
    return served.card, None


def _contenders(
    registry: Registry, registered: Sequence[RegisteredVersion]
) -> list[RegisteredVersion]:
    """Return the versions to put before the gate, in order.

    First comes the version that was trained here and is best in validation, if it beat the
    random walk there; then the base network. If there is neither, the random walk.
    """
    base = _with_role(registered, BASE)
    trained = [version for version in registered if version not in base]
    # A lone random walk needs no selection; with very few candles none is left to score it on.
    best = trained[0] if len(trained) == 1 else registry.best(trained)
    contenders = [best] if best.tags[ROLE] != WALK else []
    return contenders + base or _with_role(registered, WALK)


def _promotion_reason(
    registered: Sequence[RegisteredVersion],
    version: RegisteredVersion,
    verdict: Verdict,
    refusals: Sequence[str],
    unfit: str | None,
) -> str:
    """Return why a version serves, and why those before it do not."""
    if version.tags[ROLE] != WALK:
        return "; ".join(filter(None, (verdict.reason, *refusals, unfit)))
    if unfit is not None:
        return unfit
    others = [v for v in registered if v.kind != WALK]
    skills = ", ".join(f"{v.kind} {percent(1 - v.metrics[SELECTION], 2)}" for v in others)
    return f"nothing beat it in validation (skill of the {skills})"


def _told(refusals: Sequence[str]) -> str:
    """Return all reasons as one text; that a version learned nothing new comes last."""
    return "; ".join(sorted(refusals, key=lambda reason: reason.endswith(NOTHING_NEW)))


def _refusal(version: RegisteredVersion, verdict: Verdict) -> str:
    """Return why a version is not promoted, and which one it is."""
    role = version.tags[ROLE]
    if verdict.reason == NOTHING_NEW:
        return f"the {role} {version.kind} {NOTHING_NEW}"
    name = f"version {version.version}"
    if role in (TUNED, SCRATCHED):
        name = f"the {role} {version.kind} of {name}"
    if role == BASE:
        name = f"the base network, {name},"
    return f"{name} is not promoted: {verdict.reason}"
