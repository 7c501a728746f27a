"""Run a search trial by trial and fold by fold, and keep its study in a database."""

from __future__ import annotations

import contextlib
import math
import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptocast.databases import server_fault
from cryptocast.errors import StoreError, holds_secret, shown_url
from cryptocast.seams import Params, Trial
from cryptocast.tuning.outcome import (
    EndedTrial,
    SearchResult,
    Tried,
    finished,
    history,
)
from cryptocast.tuning.rounds import Crew, Judge, OpenTrial, asked, run

if TYPE_CHECKING:
    from optuna import Study


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """The database and name of the study of a search, and how long the search may take."""

    storage: str | None  # the address of the database of all studies; None: in memory alone
    study: str  # a study that already has this name continues
    trials: int  # how many finished trials the study holds in the end
    seed: int
    timeout_seconds: float | None = None  # no trial begins after that
    at_once: int = 1  # trials of a round, which know nothing of each other


def space(suggest: Callable[[Trial], Params]) -> tuple[str, ...]:
    """Return the names of the parameters that a search would vary."""
    import optuna  # late: the tick loads no Optuna

    with _quiet():
        trial = optuna.create_study().ask()
        suggest(trial)
        return tuple(trial.distributions)


def search(
    plan: SearchPlan,
    judge: Judge,
    suggest: Callable[[Trial], Params],
    *,
    folds: int,
    workers: int = 1,
    start: Params | None = None,
    on_trial: Callable[[EndedTrial, tuple[Tried, ...]], None] | None = None,
) -> SearchResult:
    """Minimise the mean over `folds` of what `judge` says, and return the result.

    A search that is continued ends as if it had not been interrupted. `judge` scores as many
    folds at once as there are `workers`. `start` is tried first. `on_trial` gets each trial, and
    all so far, when it has ended; if there are several workers, once they are busy with the next.
    Raises StateError if no trial finished in time, ModelError if every one diverged, and
    StoreError if the database of the studies cannot be used.
    """
    told: deque[tuple[EndedTrial, tuple[Tried, ...]]] = deque()

    def keep() -> None:
        while told and on_trial is not None:
            on_trial(*told.popleft())

    with _quiet(), _translated(plan.storage or ""), _opened(plan) as study:
        if start is not None and not finished(study):
            study.enqueue_trial(dict(start))
        try:
            for trial in _scored(study, plan, suggest, Crew(judge, workers, keep), folds):
                told.append((trial.tell(study), history(study)))
                if workers == 1:  # which would wait; others work on the next round meanwhile
                    keep()
        finally:
            keep()
        return SearchResult.of(study)


def _scored(
    study: Study, plan: SearchPlan, suggest: Callable[[Trial], Params], crew: Crew, folds: int
) -> Iterator[OpenTrial]:
    """Yield the trials that the study lacks, round by round; it has to be told of each."""
    timeout = math.inf if plan.timeout_seconds is None else plan.timeout_seconds
    deadline = time.monotonic() + timeout
    while (done := len(finished(study))) < plan.trials and time.monotonic() < deadline:
        # A round that was cut short is filled up, so that the others begin where they did.
        end = min(done + plan.at_once - done % plan.at_once, plan.trials)
        with asked(study, plan.seed, suggest, range(done, end)) as trials:
            run(trials, crew, folds, study)
        yield from trials


@contextlib.contextmanager
def _opened(plan: SearchPlan) -> Iterator[Study]:
    """Open the study in its database for the block, or create it."""
    import optuna

    if plan.storage is None:
        yield optuna.create_study()
        return
    try:
        # It is a template to Optuna, but a password may have braces.
        storage = optuna.storages.RDBStorage(re.sub(r"([{}])", r"\1\1", plan.storage))
    except RuntimeError as error:  # a database of another version of Optuna
        raise _unusable(plan.storage, error) from (None if holds_secret(plan.storage) else error)
    try:
        yield optuna.create_study(storage=storage, study_name=plan.study, load_if_exists=True)
    finally:
        storage.remove_session()
        storage.engine.dispose()  # a server has few connections


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log lines and warnings."""
    from optuna import logging

    logging.set_verbosity(logging.CRITICAL)  # or an interrupt would be shown as a traceback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna announces what is experimental
        yield


@contextlib.contextmanager
def _translated(storage: str) -> Iterator[None]:
    """Raise StoreError for whatever the database of the studies raises."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ImportError) as error:
        # --verbose shows the cause: it is left out if it may repeat a password.
        raise _unusable(storage, error) from (None if holds_secret(storage) else error)


def _unusable(storage: str, error: Exception) -> StoreError:
    cause: BaseException = error
    while cause.__cause__ is not None:  # Optuna and SQLAlchemy put paragraphs around it
        cause = cause.__cause__
    where = f"the studies in {shown_url(storage).removeprefix('sqlite:///')}"
    if (fault := server_fault(str(cause), "check [tune] storage")) is not None:
        return StoreError(
            f"{where}: that database {fault.words}",
            code=f"store.{fault.code}",
            hint=fault.hint,
            retry=fault.retry,
        )
    words = type(cause).__name__ if holds_secret(storage) else str(cause).splitlines()[0]
    return StoreError(
        f"{where} cannot be used: {words}",
        code="store.study",
        hint="move that file away: the next search begins anew"
        if storage.startswith("sqlite:")
        else "name a database that is the studies' own in [tune] storage",
    )
