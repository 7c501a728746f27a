"""What became of the trials of a search: which was best, and what mattered."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
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
"""What is kept of a trial, as attributes of Optuna's."""

_TOP_SHARE = 0.25  # parameters are important by what sets these trials apart from all


@dataclass(frozen=True, slots=True)
class Tried:
    """A finished trial: complete, pruned or diverged."""

    number: int  # of the finished ones, from 0
    state: str
    value: float  # mean over the folds that it saw; NaN where it diverged


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a search: its trials, the best one's parameters and value, and what mattered.

    `importance` is the share of each searched parameter, greatest first; empty where too
    few trials differ to tell.
    """

    history: tuple[Tried, ...]
    best: Params
    value: float
    importance: Mapping[str, float]


def finished(study: Study) -> list[FrozenTrial]:
    """Complete, pruned and diverged ones; Optuna counts one that was interrupted as failed."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _state(trial: FrozenTrial) -> str:
    if trial.user_attrs[HAS_DIVERGED]:
        return DIVERGED
    # Not by its value: Optuna gives a pruned one its last intermediate value.
    return PRUNED if trial.state.name == "PRUNED" else COMPLETE


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.user_attrs[HAS_DIVERGED] else fmean(trial.user_attrs[VALUES])


def history(trials: list[FrozenTrial]) -> tuple[Tried, ...]:
    """The finished trials, in their order."""
    return tuple(Tried(i, _state(trial), _value(trial)) for i, trial in enumerate(trials))


def found(trials: list[FrozenTrial]) -> Found:
    """What finished trials came to.

    Raises StateError where there is none, ModelError where every one diverged.
    """
    best = _best(trials)
    return Found(history(trials), best.user_attrs[PARAMS], _value(best), _importance(trials))


def _best(finished: list[FrozenTrial]) -> FrozenTrial:
    complete = [trial for trial in finished if _state(trial) == COMPLETE]
    if not finished:
        raise StateError(
            "no trial finished in time",
            code="state.no_trial",
            hint="a longer --timeout or [tune] timeout_seconds",
        )
    if not complete:
        raise ModelError(
            f"each of {len(finished)} trials diverged",
            code="model.diverged",
            hint="look at the candles, or train with --params default",
        )
    return min(complete, key=_value)


def _importance(finished: list[FrozenTrial]) -> dict[str, float]:
    """PED-ANOVA (Watanabe et al. 2023) of the top quarter within all trials.

    It asks only which trials were good, so those that were given up count as what they
    were: not good. Optuna would leave them out, and with them most of what was learned.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    values = [_value(trial) for trial in finished if _state(trial) == COMPLETE]
    top = math.ceil(_TOP_SHARE * len(finished))
    if top < 2 or len(values) < top or min(values) == max(values):
        return {}
    worst = max(values) + 1
    study = optuna.create_study()
    for trial in finished:
        value = _value(trial) if _state(trial) == COMPLETE else worst
        with contextlib.suppress(ValueError):  # the start may lie outside the space
            study.add_trial(
                optuna.trial.create_trial(
                    value=value, params=trial.params, distributions=trial.distributions
                )
            )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=_TOP_SHARE)
    shares = get_param_importances(study, evaluator=evaluator)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
