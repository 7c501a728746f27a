"""Optuna behind one function: a search that goes on where it stopped."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptocast.seams import Params, Trial


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a search: finished trials, the best one's parameters and value."""

    trials: int
    best: Params
    value: float


def search(
    objective: Callable[[int, Params], float],
    suggest: Callable[[Trial], Params],
    *,
    storage: Path,
    study: str,
    trials: int,
    seed: int,
    timeout_seconds: float | None = None,
    start: Params | None = None,
    on_trial: Callable[[int, float], None] | None = None,
) -> Found:
    """Minimise `objective(number, params)` until the study holds `trials` finished trials.

    The study lives in the SQLite file `storage`; one of that name goes on. `start` is tried
    first. Raises ValueError where no trial finished within `timeout_seconds`.
    """
    import optuna  # late: the tick loads no Optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna announces what is experimental
        found = optuna.create_study(
            storage=f"sqlite:///{storage.resolve()}", study_name=study, load_if_exists=True
        )
        done = len(found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        # A study that goes on draws other points than the ones it has seen.
        found.sampler = optuna.samplers.TPESampler(seed=seed + done, n_startup_trials=5)
        tried = (TrialState.COMPLETE, TrialState.WAITING)
        if start is not None and not found.get_trials(deepcopy=False, states=tried):
            found.enqueue_trial(dict(start))

        def run(trial: optuna.Trial) -> float:
            params = suggest(trial)
            trial.set_user_attr("params", dict(params))
            value = objective(trial.number, params)
            if on_trial is not None:
                on_trial(trial.number, value)
            return value

        if done < trials:
            found.optimize(run, n_trials=trials - done, timeout=timeout_seconds)
    finished = found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        raise ValueError("no trial finished in time")
    best = found.best_trial
    return Found(len(finished), best.user_attrs["params"], float(found.best_value))
