"""Do the trainings and the search of one model before they are recorded, in a worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from cryptocast import tuning
from cryptocast.compute.folds import FoldsPlan, fold_score
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.compute.training import Fitting, train
from cryptocast.errors import CryptocastError
from cryptocast.seams import LATER, Later, TrainingRun
from cryptocast.tuning import FoldScore, SearchPlan, TrialFold


@dataclass(frozen=True, slots=True)
class SearchAhead:
    """A search that is kept in memory alone, and ends with the training of its best parameters."""

    training: TrainingPlan  # with the best parameters, when they are known
    plan: SearchPlan
    folds: int
    validation_bars: int


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """All that will be computed for one model."""

    material: Material
    trainings: tuple[TrainingPlan, ...]
    searches: tuple[SearchAhead, ...]


def key_of(piece: Any, shared: Any) -> str:
    """Return the name under which the result of a piece of work is kept."""
    scope = getattr(shared, "scope", None)
    return str(piece.key if scope is None else f"{scope} {piece.key}")


def compute_ahead(work: Ahead | None, _: None) -> dict[str, Any]:
    """Return the results of the pieces of this work, by their keys.

    After an error they are those so far: who needs the others meets it again, where it belongs.
    """
    results: dict[str, Any] = {}
    if work is None:
        return results
    with suppress(CryptocastError):
        for plan in work.trainings:
            _train(work.material, plan, results)
        for search in work.searches:
            _train(work.material, _search(work.material, search, results), results)
    return results


def _train(material: Material, plan: TrainingPlan, results: dict[str, Any]) -> None:
    fitting = Fitting(plan, TrainingRun(plan.seed))
    results[fitting.key] = train(fitting, material)


def _search(material: Material, search: SearchAhead, results: dict[str, Any]) -> TrainingPlan:
    """Run the search, and return the training of the best parameters."""
    shared = FoldsPlan.of(material, search.training, search.folds, search.validation_bars)

    def judge(pieces: Iterable[TrialFold | Later]) -> Iterator[FoldScore]:
        for piece in (p for p in pieces if p is not LATER):
            score = fold_score(piece, shared)
            results[key_of(piece, shared)] = score
            yield score

    model = search.training.model
    found = tuning.search(
        search.plan, judge, model.suggest, folds=len(shared.folds), start=model.defaults()
    )
    return replace(search.training, params=found.best)
