"""Select the version that serves: put a pipeline's versions before the gate, one after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptocast import evaluation
from cryptocast.bundles import Bundle, Card
from cryptocast.config import GateSettings
from cryptocast.dataset import Part
from cryptocast.evaluation import Verdict
from cryptocast.registry import SELECTION, RegisteredVersion, Registry
from cryptocast.store import ALL_MARKETS
from cryptocast.values import OPPONENT_WALK, FloatArray, Market, Windows
from cryptocast.workflows.learning.bases import BASE
from cryptocast.workflows.learning.deployment import Decision, deploy
from cryptocast.workflows.learning.scope import per_market
from cryptocast.workflows.learning.scoring import WALK, baseline, quantiles
from cryptocast.workflows.learning.versions import frozen_bundle, mismatch, registered_bundle
from cryptocast.workspace import Workspace

if TYPE_CHECKING:
    from cryptocast.workflows.learning.material import Material

TRAINED = "trained"
"""The role of the trained version if there is no base network to start at.

Other roles are `TUNED` and `SCRATCHED`, and the kinds that need no training.
"""

TUNED = "fine-tuned"  # it starts at the base network
SCRATCHED = "scratch"  # it could start there, and does not


def decide(
    ws: Workspace,
    material: Material,
    registered: Mapping[str, RegisteredVersion],
    unfit: str | None,
) -> tuple[Decision, dict[str, Verdict]]:
    """Promote the first version that passes the gate, else keep production, else the random walk.

    `registered` holds the pipeline's versions by role; `unfit` is why the configured kind could
    not be trained. Returns the verdict on each version that was put before the gate, too.
    """
    market = material.markets[0].id if per_market(ws.settings) else ALL_MARKETS
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(material.markets)
    current = max(serving.values(), key=lambda row: row.id, default=None)
    own = {version.version for version in registered.values()}
    if current is not None and current.model_version in own:  # promoted before an interruption
        bundle = registered_bundle(ws, current.model_version)
        verdict, card = judge(ws, material, bundle), bundle.card
        kept = Decision(True, card.version, card.kind, current.reason, verdict, market)
        return kept, {card.version: verdict}
    base = None if BASE not in registered else registered_bundle(ws, registered[BASE].version)
    verdicts: dict[str, Verdict] = {}
    refusals: list[str] = []
    for role, version in _contenders(ws.registry(), registered):
        challenger = registered_bundle(ws, version.version)
        verdict = judge(ws, material, challenger, None if role == BASE else base)
        verdicts[version.version] = verdict
        if verdict.promoted:
            reason = _promotion_reason(registered, role, verdict, refusals, unfit)
            return deploy(ws, challenger, market, "promote", reason, verdict), verdicts
        refusals.append(f"{_described(role, version)} is not promoted: {verdict.reason}")
    reason = "; ".join(refusals)
    first = next(iter(verdicts.values()))  # on the version that was trained here, if there is one
    if current is not None:
        served = frozen_bundle(ws, current.model_version).card
        if mismatch(served, ws.settings) is None:
            why = "; ".join(filter(None, (reason, unfit)))
            stays = Decision(False, current.model_version, served.kind, why, first, market)
            return stays, verdicts
    walk = registered_bundle(ws, registered[WALK].version)
    # The comparisons belong to the refused versions: none of their figures is a promise of the
    # random walk.
    decision = deploy(ws, walk, market, "promote", reason, Verdict(True, reason))
    return dataclasses.replace(decision, verdict=first), verdicts


def _contenders(
    registry: Registry, registered: Mapping[str, RegisteredVersion]
) -> list[tuple[str, RegisteredVersion]]:
    """Return the versions to put before the gate, in order, each with its role.

    First comes the version that was trained here and is best in validation, if it beat the
    random walk there; then the base network. If there is neither, the random walk.
    """
    roles = {version.version: role for role, version in registered.items()}
    trained = [v for role, v in registered.items() if role != BASE]
    # A lone random walk needs no selection; with very few candles none is left to score it on.
    best = trained[0] if len(trained) == 1 else registry.best(trained)
    contenders = [best] if roles[best.version] != WALK else []
    contenders += [registered[BASE]] if BASE in registered else []
    return [(roles[v.version], v) for v in contenders or [registered[WALK]]]


def _promotion_reason(
    registered: Mapping[str, RegisteredVersion],
    role: str,
    verdict: Verdict,
    refusals: Sequence[str],
    unfit: str | None,
) -> str:
    """Return why the version of this role serves, and why those before it do not."""
    if role != WALK:
        return "; ".join(filter(None, (verdict.reason, *refusals, unfit)))
    if unfit is not None:
        return unfit
    others = [v for v in registered.values() if v.kind != WALK]
    skills = ", ".join(f"{v.kind} {1 - v.metrics[SELECTION]:+.2%}" for v in others)
    return f"nothing beat it in validation (skill of the {skills})"


def _described(role: str, version: RegisteredVersion) -> str:
    """Return how a refusal names a version."""
    if role in (TUNED, SCRATCHED):
        return f"the {role} {version.kind} of version {version.version}"
    if role == BASE:
        return f"the base network, version {version.version},"
    return f"version {version.version}"


def judge(
    ws: Workspace, material: Material, challenger: Bundle, rival: Bundle | None = None
) -> Verdict:
    """Put a version before the gate, and keep the verdict in its tags and description.

    It has to beat the random walk, production, and `rival` if one is given. Production is no
    opponent if its forecasts are not what the settings now ask for.
    """
    version = challenger.card.version
    productions = _productions(ws, material.markets, version)
    levels, rule = ws.settings.model.levels, ws.settings.gate
    verdict = _compare(material, challenger, rival, productions, levels, rule)
    word = "promoted" if verdict.promoted else "refused"
    tags = {"gate.verdict": word, "gate.reason": verdict.reason}
    ws.registry().amend(version, "Gate", f"{word}: {verdict.reason}", tags)
    return verdict


def _productions(ws: Workspace, markets: Sequence[Market], challenger: str) -> dict[Market, Bundle]:
    """Return the version that now serves each market.

    Markets are left out that have none, that the challenger itself serves, or whose version
    does not fit the settings any more: it serves no origin.
    """
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(markets)
    versions = {market: row.model_version for market, row in serving.items()}
    served = {v: frozen_bundle(ws, v) for v in set(versions.values()) if v != challenger}
    fitting = {v: bundle for v, bundle in served.items() if not mismatch(bundle.card, ws.settings)}
    return {market: fitting[v] for market, v in versions.items() if v in fitting}


@dataclass(frozen=True, slots=True)
class _Opponent:
    """One opponent of the challenger at the gate."""

    name: str
    prior: float | None  # the skill that the challenger is expected to have against it
    forecast: Callable[[int, Windows], FloatArray | None]
    """Return its quantiles [N, H, Q] for a market, by index, or None where it does not serve."""


def _compare(
    material: Material,
    challenger: Bundle,
    rival: Bundle | None,
    productions: Mapping[Market, Bundle],
    levels: Sequence[float],
    rule: GateSettings,
) -> Verdict:
    """Compare on the gate's origins that the challenger has not learned from."""
    split = material.split
    part = Part(max(split.judged.start, challenger.card.data_end), split.judged.end)
    if part.start >= part.end:
        return Verdict(False, "it learned from every candle that could judge it")
    bundles = (challenger, *productions.values(), *([] if rival is None else [rival]))
    # Each version reads its own lookback, at the same origins.
    lookback = max(material.lookback, *(bundle.card.lookback for bundle in bundles))
    material = dataclasses.replace(material, lookback=lookback)
    markets = range(len(material.markets))
    windows = [material.market_windows(i, part) for i in markets]
    truths = [of_market.targets for of_market in windows]
    ours = [
        evaluation.crps_bp(quantiles(challenger, windows[i], levels), truths[i], levels)
        for i in markets
    ]
    learned = Part(split.train.start, part.start)
    comparisons = {}
    for role, opponent in _opponents(material, challenger, rival, productions, learned, levels):
        forecasts = {i: opponent.forecast(i, windows[i]) for i in markets}
        served = {i: forecast for i, forecast in forecasts.items() if forecast is not None}
        comparisons[role] = evaluation.compare(
            opponent.name,
            [ours[i] for i in served],
            [evaluation.crps_bp(served[i], truths[i], levels) for i in served],
            [windows[i].origin for i in served],
            rule,
            opponent.prior,
        )
    return evaluation.decide(comparisons, rule)


def _opponents(
    material: Material,
    challenger: Bundle,
    rival: Bundle | None,
    productions: Mapping[Market, Bundle],
    learned: Part,
    levels: Sequence[float],
) -> Iterable[tuple[str, _Opponent]]:
    """Yield the opponents of a challenger, each with its role.

    What is known of a comparison beforehand are skills against the random walk that were shown
    on other candles; a version that has shown none is expected to have none.
    """
    shown = _shown_elsewhere(challenger.card)

    def walk(i: int, windows: Windows) -> FloatArray:
        return baseline(WALK, material.market_windows(i, learned), windows, levels).quantiles

    def production(i: int, windows: Windows) -> FloatArray | None:
        serving = productions.get(material.markets[i])
        return None if serving is None else quantiles(serving, windows, levels)

    if challenger.card.kind != WALK:  # which is no opponent of itself
        yield "random_walk", _Opponent(OPPONENT_WALK, shown, walk)
    if rival is not None:
        name = f"the {rival.card.kind} of version {rival.card.version}"
        prior = (shown or 0.0) - (_shown_elsewhere(rival.card) or 0.0)
        yield "rival", _Opponent(name, prior, lambda _, windows: quantiles(rival, windows, levels))
    if productions:
        versions = list(dict.fromkeys(bundle.card.version for bundle in productions.values()))
        name = f"production ({len(versions)} versions)"
        if len(versions) == 1:
            name = f"production version {versions[0]}"
        yield "production", _Opponent(name, None, production)


def _shown_elsewhere(card: Card) -> float | None:
    """Return the skill that a model's base network showed where it was not trained, or None."""
    return None if card.evidence is None else card.evidence.get("skill")
