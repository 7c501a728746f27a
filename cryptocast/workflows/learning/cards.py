"""The card of a version, and how MLflow shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptocast import __version__, dataset
from cryptocast.bundles import Card
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.compute.scoring import BASE
from cryptocast.display import first_few
from cryptocast.registry import TrainingData, git_commit, packages
from cryptocast.values import FEATURES, iso
from cryptocast.workflows.learning.bases import evidence_of

FINGERPRINT = "data_fingerprint"
"""The tag of a version, and parameter of a run, that says which candles were learned from."""

_SHOWN_MARKETS = 20


def make_card(material: Material, training: TrainingPlan) -> Card:
    """Return the card of a training: everything that rules it, and where it came from."""
    learned, kind = material.learned, training.model.kind
    return Card(
        version="",
        kind=kind,
        levels=training.levels,
        horizon=material.horizon,
        lookback=material.lookback,
        context_bars=dataset.context_bars(material.lookback, material.interval_seconds),
        features=FEATURES,
        interval=material.markets[0].interval,
        markets=tuple(market.id for market in material.markets),
        data_start=learned.start,
        # A base network has learned from none of these candles, and may be judged on all.
        data_end=learned.start if kind == BASE else learned.end,
        fingerprint=material.fingerprint(learned),
        seed=training.seed,
        params=training.params,
        code_version=__version__,
        packages=packages(),
        validation_start=material.split.validation.start,
        max_stale_bars=material.max_stale_bars,
        evidence=evidence_of(training.params),
        commit=git_commit(),
    )


def changes_since(card: Card) -> tuple[str, ...]:
    """Return which code and packages differ from those that made a version, one phrase each."""
    then = {"cryptocast": card.code_version, "commit": card.commit, **card.packages}
    now = {"cryptocast": __version__, "commit": git_commit(), **packages()}
    return tuple(
        f"{name} {then.get(name)} -> {now.get(name)}"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    )


def data_of(material: Material, card: Card) -> TrainingData:
    """Return the candles that a card names, in the form that MLflow shows."""
    source = {
        "markets": " ".join(card.markets),
        "start": iso(card.data_start),
        "end": iso(card.data_end),
    }
    rows, _, _ = material.rows(material.learned)
    return TrainingData(f"candles of {source['markets']}"[:500], card.fingerprint, source, rows)


def run_params(card: Card) -> Mapping[str, str]:
    """Return what every training and search logs beside the model's own parameters."""
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


def shown(markets: Sequence[str], separator: str = ", ") -> str:
    """Return the ids of markets, of hundreds only the first ones: MLflow keeps no long texts."""
    return first_few(markets, _SHOWN_MARKETS, separator)
