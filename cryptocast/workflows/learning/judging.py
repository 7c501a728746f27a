"""Put one version before the gate, on candles that it has not learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptocast import evaluation
from cryptocast.bundles import Bundle, Card
from cryptocast.compute.ladder import mismatch
from cryptocast.compute.scoring import WALK, baseline, quantiles
from cryptocast.config import GateSettings, Settings
from cryptocast.dataset import Part
from cryptocast.evaluation import MarketSkill, Verdict
from cryptocast.values import OPPONENT_WALK, FloatArray, Market, Windows
from cryptocast.workflows.learning.versions import frozen_bundle
from cryptocast.workspace import Workspace

if TYPE_CHECKING:
    from cryptocast.compute.material import Material


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
    return note_verdict(ws, version, verdict)


def note_verdict(ws: Workspace, version: str, verdict: Verdict) -> Verdict:
    """Keep a verdict in the tags and the description of a version, and return it."""
    word = "promoted" if verdict.promoted else "refused"
    tags = {"gate.verdict": word, "gate.reason": verdict.reason}
    ws.registry().amend(version, "Gate", f"{word}: {verdict.reason}", tags)
    return verdict


def against_walk(material: Material, bundle: Bundle, settings: Settings) -> Verdict:
    """Compare a version with the random walk alone; nothing is kept."""
    return _compare(material, bundle, None, {}, settings.model.levels, settings.gate)


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
    learned = Part(split.train.start, part.start)
    opponents = dict(_opponents(material, challenger, rival, productions, learned, levels))
    skills: dict[str, list[MarketSkill]] = {role: [] for role in opponents}
    for i in range(len(material.markets)):  # of each market only its skills are kept
        windows = material.market_windows(i, part)
        truth = windows.targets
        ours = evaluation.crps_bp(quantiles(challenger, windows, levels), truth, levels)
        for role, opponent in opponents.items():
            forecast = opponent.forecast(i, windows)
            if forecast is not None:
                theirs = evaluation.crps_bp(forecast, truth, levels)
                skills[role].append(evaluation.market_skill(ours, theirs, windows.origin))
    comparisons = {
        role: evaluation.compare(known.name, skills[role], material.horizon, rule, known.prior)
        for role, known in opponents.items()
    }
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
        before = material.market_windows(i, learned)
        return baseline(WALK, before, windows, levels, material.interval_seconds).quantiles

    def production(i: int, windows: Windows) -> FloatArray | None:
        serving = productions.get(material.markets[i])
        return None if serving is None else quantiles(serving, windows, levels)

    if challenger.card.kind != WALK:  # which is no opponent of itself
        yield "random_walk", _Opponent(OPPONENT_WALK, shown, walk)
    if rival is not None:
        name = f"the base network (version {rival.card.version})"
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
