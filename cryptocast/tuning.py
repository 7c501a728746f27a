"""Optuna behind one function: a search that goes on where it stopped."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import StateError
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
    first. Raises StateError where no trial finished within `timeout_seconds`.
    """
    import optuna  # late: the tick loads no Optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # an interrupt is no traceback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna announces what is experimental
        found = optuna.create_study(
            storage=f"sqlite:///{storage.resolve()}", study_name=study, load_if_exists=True
        )
        done = len(found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
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

        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while done < trials and (deadline is None or time.monotonic() < deadline):
            # Seeded anew each trial: a search that was interrupted goes on as if it had not been.
            found.sampler = optuna.samplers.TPESampler(seed=seed + done, n_startup_trials=5)
            found.optimize(run, n_trials=1)
            done += 1
    finished = found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        raise StateError(
            "no trial finished in time",
            code="state.no_trial",
            hint="a longer --timeout or [tune] timeout_seconds",
        )
    best = found.best_trial
    return Found(len(finished), best.user_attrs["params"], float(found.best_value))
