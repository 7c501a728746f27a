"""What a version tells of itself: its card, and how MLflow shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptocast import __version__, bundles, dataset, models
from cryptocast.bundles import Card
from cryptocast.registry import TrainingData, git_commit, packages
from cryptocast.seams import Params
from cryptocast.values import FEATURES, iso
from cryptocast.workflows.learning.material import Material
from cryptocast.workspace import Workspace

BASE = "base"
"""The kind that is a base network as it is."""

FINGERPRINT = "data_fingerprint"
"""The tag of a version that tells which candles it learned from; a run has it as parameter."""

_SHOWN = 20


def make_card(ws: Workspace, material: Material, kind: str, params: Params, seed: int) -> Card:
    """What a version tells of itself: all that rules its training."""
    learned = material.learned
    return Card(
        version="",
        kind=kind,
        levels=ws.settings.model.levels,
        horizon=material.horizon,
        lookback=material.lookback,
        context_bars=dataset.context_bars(material.lookback),
        features=FEATURES,
        interval=material.markets[0].interval,
        markets=tuple(m.id for m in material.markets),
        data_start=learned.start,
        # A base network has learned from none of these candles, and may be judged on all.
        data_end=learned.start if kind == BASE else learned.end,
        fingerprint=material.fingerprint(learned),
        seed=seed,
        params=params,
        code_version=__version__,
        packages=packages(),
        validation_start=material.split.validation.start,
        max_stale_bars=material.max_stale_bars,
        evidence=evidence_of(params),
        commit=git_commit(),
    )


def evidence_of(params: Params) -> Mapping[str, float] | None:
    """What the base network that a training starts at, or is, has shown elsewhere; else None."""
    name = params.get("network", params.get("start_at", models.HAR))
    return None if name == models.HAR else bundles.load(models.base_folder(str(name))).card.evidence


def data_of(material: Material, card: Card) -> TrainingData:
    """The candles that a card names, as MLflow shows them."""
    source = {
        "markets": " ".join(card.markets),
        "start": iso(card.data_start),
        "end": iso(card.data_end),
    }
    rows, _, _ = material.rows(material.learned)
    return TrainingData(f"candles of {source['markets']}"[:500], card.fingerprint, source, rows)


def run_params(card: Card) -> dict[str, str]:
    """What every training and trial logs beside the model's own parameters."""
    return {
        "kind": card.kind,
        "markets": shown(card.markets, " "),
        "interval": card.interval,
        "data_start": iso(card.data_start),
        "data_end": iso(card.data_end),
        FINGERPRINT: card.fingerprint,
        "lookback": str(card.lookback),
        "horizon": str(card.horizon),
        "levels": str(len(card.levels)),
        "seed": str(card.seed),
        "features": " ".join(card.features),
    }


def shown(markets: Sequence[str], between: str = ", ") -> str:
    """The ids of markets, or of hundreds of them the first: MLflow keeps no long texts."""
    more = len(markets) - _SHOWN
    return between.join(markets[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
