"""The file that studies live in, and what its database says, in words of ours."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cryptocast.errors import StoreError

if TYPE_CHECKING:
    from optuna import Study


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what Optuna says of its own accord."""
    from optuna import logging

    logging.set_verbosity(logging.CRITICAL)  # an interrupt is no traceback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna announces what is experimental
        yield


def opened(storage: Path, study: str) -> Study:
    """The study of that name in the SQLite file, made where there is none."""
    import optuna

    try:
        return optuna.create_study(
            storage=f"sqlite:///{storage.resolve()}", study_name=study, load_if_exists=True
        )
    except RuntimeError as error:  # a file of another version of Optuna
        raise _unusable(storage, error) from error


@contextlib.contextmanager
def translated(storage: Path) -> Iterator[None]:
    """What the database of the studies raises, as StoreError."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise _unusable(storage, error) from error


def _unusable(storage: Path, error: Exception) -> StoreError:
    cause: BaseException = error
    while cause.__cause__ is not None:  # Optuna and SQLAlchemy put paragraphs around it
        cause = cause.__cause__
    return StoreError(
        f"the studies in {storage} cannot be used: {str(cause).splitlines()[0]}",
        code="store.study",
        hint="move that file away: the next search begins anew",
    )
