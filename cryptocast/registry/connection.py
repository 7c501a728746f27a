"""Open or make an MLflow store, and raise what goes wrong with it as errors of ours."""

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
from cryptocast.registry.making import give_up_soon, local_file, make
from cryptocast.registry.moving import follow
from cryptocast.registry.registered import unless

# What goes wrong is told once, by us; MLflow logs a traceback of it before that.
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
        """Open the store, or make it; `artifacts` is where a workspace's own one keeps files.

        None: where the server keeps them, or beside a database of SQLite. `environ` holds
        MLflow's variables, credentials among them.
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
            there = file is not None and file.exists()
            if file is not None and location is not None and not there:
                make(file, location)
            self.client = MlflowClient(uri, uri)
            if there and file is not None and artifacts is not None:
                self.client.get_experiment_by_name(experiment)  # one that is no good stays as it is
                follow(file, artifacts.resolve().as_uri())
            self.experiment = self._experiment_id(experiment, location)

    def _experiment_id(self, name: str, location: str | None) -> str:
        while (found := self.client.get_experiment_by_name(name)) is None:
            with unless("RESOURCE_ALREADY_EXISTS"):  # another process made it in between
                self.client.create_experiment(name, location)
        if found.lifecycle_stage == "deleted":  # by hand; without it nothing can be logged
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Foreign exceptions as RegistryError."""
        try:
            with warnings.catch_warnings(), self._signed_in():
                # MLflow and SQLAlchemy warn of each other and of MLflow's own types.
                warnings.simplefilter("ignore")
                yield
        except _FOREIGN as error:
            # A cause is shown by --verbose: one that may repeat a password is left out.
            cause = error if without_credentials(self.uri) == self.uri else None
            raise translate(error, self.uri) from cause

    @contextlib.contextmanager
    def _signed_in(self) -> Iterator[None]:
        """Credentials from a `.env` file stand where MLflow looks, and only while it looks."""
        lacking = {k: v for k, v in self._environ.items() if k not in os.environ}
        os.environ.update(lacking)
        try:
            yield
        finally:
            for name in lacking:
                os.environ.pop(name, None)

    @contextlib.contextmanager
    def chosen(self) -> Iterator[None]:
        """Let MLflow's functions without a client work on this store.

        They look at global settings and keep them in the environment too, where another
        workspace in this process would take them for the user's.
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
