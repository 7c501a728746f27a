"""Open or make an MLflow store, and translate its exceptions."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import mlflow
from alembic.util import CommandError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from cryptocast.registry.faults import translate, without_credentials
from cryptocast.registry.local import give_up_soon, local_file, make, update_uris
from cryptocast.registry.registered import unless

# We report a failure once; MLflow would log a traceback of it before that.
logging.getLogger("mlflow").setLevel(logging.CRITICAL)
logging.getLogger("alembic").setLevel(logging.CRITICAL)

_FOREIGN = (
    MlflowException,
    SQLAlchemyError,
    CommandError,
    sqlite3.Error,
    OSError,
    ImportError,
)


class Connection:
    """A client of one store, and the id of one experiment in it."""

    def __init__(
        self, uri: str, experiment: str, artifacts: Path | None, environ: Mapping[str, str]
    ) -> None:
        """Open the store, or make it.

        `artifacts` is the folder for a workspace's own files; None: the server decides, or they
        lie beside a SQLite database. `environ` holds MLflow's variables, among them credentials.
        """
        self.uri = uri
        self._environ = environ
        file = local_file(uri)
        if artifacts is None and file is not None:
            folder: Path | None = file.parent / "mlartifacts"
        else:
            folder = artifacts
        location = folder.resolve().as_uri() if folder else None
        with self.translated():
            if not uri.startswith("http"):
                give_up_soon()
            exists = file is not None and file.exists()
            if file is not None and location is not None and not exists:
                make(file, location)
            self.client = MlflowClient(uri, uri)
            if exists and file is not None and artifacts is not None:
                self.client.get_experiment_by_name(experiment)  # a damaged store is not touched
                update_uris(file, artifacts.resolve().as_uri())
            self.experiment = self._experiment_id(experiment, location)

    def _experiment_id(self, name: str, location: str | None) -> str:
        while (experiment := self.client.get_experiment_by_name(name)) is None:
            with unless("RESOURCE_ALREADY_EXISTS"):  # another process made it in between
                self.client.create_experiment(name, location)
        if experiment.lifecycle_stage == "deleted":  # by hand; without it nothing can be logged
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise MLflow's and the disk's exceptions in the block as RegistryError."""
        try:
            with warnings.catch_warnings(), self._signed_in():
                # MLflow and SQLAlchemy warn about each other and about MLflow's own types.
                warnings.simplefilter("ignore")
                yield
        except _FOREIGN as error:
            # --verbose shows the cause: it is left out if it may repeat a password.
            cause = error if without_credentials(self.uri) == self.uri else None
            raise translate(error, self.uri) from cause

    @contextlib.contextmanager
    def _signed_in(self) -> Iterator[None]:
        """Put credentials from a `.env` file where MLflow looks, only for the block."""
        lacking = {k: v for k, v in self._environ.items() if k not in os.environ}
        os.environ.update(lacking)
        try:
            yield
        finally:
            for name in lacking:
                os.environ.pop(name, None)

    @contextlib.contextmanager
    def chosen(self) -> Iterator[None]:
        """Let MLflow's functions that take no client work on this store for the block.

        They read global settings and keep them in the environment too, where another workspace
        in this process would take them for the user's.
        """
        before = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_")}
        try:
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            mlflow.set_experiment(experiment_id=self.experiment)
            yield
        finally:
            for name in [k for k in os.environ if k.startswith("MLFLOW_")]:
                del os.environ[name]
            os.environ.update(before)
