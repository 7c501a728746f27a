"""The outcome of a search: its finished trials, the best one, and which parameters mattered."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from cryptocast.errors import ModelError, StateError
from cryptocast.seams import Params

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

COMPLETE, PRUNED, DIVERGED = "complete", "pruned", "diverged"

VALUES, PARAMS, HAS_DIVERGED = "folds", "params", "diverged"
"""The attributes under which Optuna keeps what we need of a trial."""

_TOP_SHARE = 0.25  # a parameter is important if it sets these best trials apart


@dataclass(frozen=True, slots=True)
class TrialFold:
    """The parameters of a trial, to be judged on one fold."""

    number: int  # of the trial
    params: Params
    fold: int

    @property
    def key(self) -> str:
        """A name that the same fold of the same parameters has again."""
        return f"fold {self.fold} {sorted(self.params.items())}"


@dataclass(frozen=True, slots=True)
class FoldScore:
    """The value of one fold, which is minimised, and what reports say besides."""

    value: float  # NaN if the training diverged
    crps_bp: float
    seconds: float


@dataclass(frozen=True, slots=True)
class EndedTrial:
    """A trial that has just ended, with the scores of the folds that it saw."""

    number: int
    params: Params
    state: str
    scores: tuple[FoldScore, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """A finished trial: complete, pruned or diverged."""

    number: int  # of the finished ones, from 0
    state: str
    value: float  # mean over the folds that it saw; NaN if it diverged


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The end of a search: its trials, the best one's parameters and value, and what mattered.

    `importance` is the share of each searched parameter, greatest first; it is empty if too
    few trials differ to tell.
    """

    history: tuple[Tried, ...]
    best: Params
    value: float
    importance: Mapping[str, float]

    @classmethod
    def of(cls, study: Study) -> SearchResult:
        """Summarise a study.

        Raises StateError if no trial finished, and ModelError if every one diverged.
        """
        trials = finished(study)
        best = _best(trials)
        return cls(history(study), best.user_attrs[PARAMS], _value(best), _importance(trials))


def finished(study: Study) -> list[FrozenTrial]:
    """Return the complete, pruned and diverged trials.

    Optuna counts an interrupted trial as failed, so it is none of these.
    """
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def history(study: Study) -> tuple[Tried, ...]:
    """Return the finished trials in their order."""
    return tuple(Tried(i, _state(t), _value(t)) for i, t in enumerate(finished(study)))


def _state(trial: FrozenTrial) -> str:
    if trial.user_attrs[HAS_DIVERGED]:
        return DIVERGED
    # The value does not tell: Optuna gives a pruned trial its last intermediate value.
    return PRUNED if trial.state.name == "PRUNED" else COMPLETE


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.user_attrs[HAS_DIVERGED] else fmean(trial.user_attrs[VALUES])


def _best(trials: list[FrozenTrial]) -> FrozenTrial:
    complete = [trial for trial in trials if _state(trial) == COMPLETE]
    if not trials:
        raise StateError(
            "no trial finished in time",
            code="state.no_trial",
            hint="a longer --timeout or [tune] timeout_seconds",
        )
    if not complete:
        raise ModelError(
            f"each of {len(trials)} trials diverged",
            code="model.diverged",
            hint="look at the candles, or train with --params default",
        )
    return min(complete, key=_value)


def _importance(trials: list[FrozenTrial]) -> dict[str, float]:
    """Return the share of each parameter by PED-ANOVA (Watanabe et al. 2023).

    It compares the top quarter with all trials. It asks only which trials were good, so pruned
    and diverged ones count as what they were: not good. Optuna would leave them out, and with
    them most of what was learned.
    """
    import optuna

    with _without_forests():
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    values = [_value(trial) for trial in trials if _state(trial) == COMPLETE]
    top = math.ceil(_TOP_SHARE * len(trials))
    if top < 2 or len(values) < top or min(values) == max(values):
        return {}
    worst = max(values) + 1
    study = optuna.create_study()
    for trial in trials:
        value = _value(trial) if _state(trial) == COMPLETE else worst
        with contextlib.suppress(ValueError):  # the first trial may lie outside the space
            study.add_trial(
                optuna.trial.create_trial(
                    value=value, params=trial.params, distributions=trial.distributions
                )
            )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=_TOP_SHARE)
    shares = get_param_importances(study, evaluator=evaluator)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


@contextlib.contextmanager
def _without_forests() -> Iterator[None]:
    """Let Optuna do without scikit-learn while the block imports it: other measures need it.

    That takes longer than all else that follows a search. Who has imported it keeps it.
    """
    if "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # what Python takes as not there
    try:
        yield
    finally:
        del sys.modules["sklearn"]
