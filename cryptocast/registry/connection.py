"""Open or make an MLflow store, and translate its exceptions."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
from alembic.util import CommandError
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service import utils as tracking
from sqlalchemy.exc import SQLAlchemyError

from cryptocast.databases import server_fault
from cryptocast.errors import RegistryError, holds_secret, shown_url, without_secrets
from cryptocast.registry.local import (
    give_up_soon,
    local_file,
    make,
    place_of_files,
    update_uris,
)

# We report a failure once; MLflow would log a traceback of it before that.
logging.getLogger("mlflow").setLevel(logging.CRITICAL)
logging.getLogger("alembic").setLevel(logging.CRITICAL)
logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # it warns of what MLflow expects

_FOREIGN = (
    MlflowException,
    SQLAlchemyError,
    CommandError,
    sqlite3.Error,
    OSError,
    ImportError,
)

PAGE = 1000
"""How many entries a search asks for at once."""

_CHECK_ADDRESS = "check MLFLOW_TRACKING_URI or [mlflow] tracking_uri"
_FREE_SPACE = "free some space; nothing was registered, and what serves goes on"

# The text of the exception (its class does not say enough) -> our code, words, hint, retry.
_TRANSLATIONS = (
    (
        r"No space left on device|File too large|[Qq]uota exceeded|disk is full",
        "registry.full",
        "cannot grow: the disk is full",
        _FREE_SPACE,
        False,
    ),
    (
        r"disk I/O error",
        "registry.full",
        "cannot be written: the disk is full or failing",
        _FREE_SPACE,
        False,
    ),
    (
        r"error code 40[13]\b|PERMISSION_DENIED|UNAUTHENTICATED",
        "registry.refused",
        "refuses us",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        False,
    ),
    (
        r"Max retries exceeded|Connection refused|Connection aborted|[Tt]imed? ?out",
        "registry.unreachable",
        "cannot be reached",
        f"see that the server runs, and {_CHECK_ADDRESS}",
        True,
    ),
    (
        r"database is locked",
        "registry.busy",
        "is in use by another process",
        "try again when it is done",
        True,
    ),
    (
        r"not a database|malformed|no such table|no such column|file is encrypted",
        "registry.damaged",
        "is damaged, or is no store of MLflow",
        "restore a copy of it; what serves is frozen in bundles and goes on",
        False,
    ),
    (
        r"unable to open database|readonly database|Permission denied|Read-only file system|"
        r"Is a directory|not permitted",
        "registry.unwritable",
        "cannot be opened and written",
        "check that the folder exists and that you may write in it",
        False,
    ),
)


@contextlib.contextmanager
def unless(code: str) -> Iterator[None]:
    """Leave the block quietly if MLflow answers with that error code."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


def every_page(search: Callable[..., Any]) -> list[Any]:
    """Return the entries of every page of one of the client's searches."""
    entries: list[Any] = []
    token: str | None = None
    while True:
        page = search(max_results=PAGE, page_token=token)
        entries += page
        token = page.token
        if not token:
            return entries


class Connection:
    """A client of one store, and the id of one experiment in it."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        artifacts: Path | None,
        files: str | None,
        environ: Mapping[str, str],
    ) -> None:
        """Open the store, or make it; `Registry` says what the parameters mean."""
        self.uri = uri
        self._environ = environ
        self._demand_address()
        file, location = local_file(uri), place_of_files(uri, artifacts, files)
        with self.translated():
            if not uri.startswith("http"):
                give_up_soon()
            exists = file is not None and file.exists()
            if file is not None and location is not None and not exists:
                make(file, location)
            self.client = MlflowClient(uri, uri)
            if exists and file is not None and artifacts is not None and files is None:
                self.client.get_experiment_by_name(experiment)  # a damaged store is not touched
                update_uris(file, artifacts.resolve().as_uri())
            # By run and model, MLflow keeps where files lie for as long as a process lives. A
            # copy of a workspace has the same ids, and would be answered for the other's files.
            tracking._artifact_repos_cache.clear()
            found = self._experiment(experiment, location)
            self.experiment = str(found.experiment_id)
        if files is not None and found.artifact_location != location:
            place = shown_url(str(found.artifact_location))
            raise RegistryError(
                f"the experiment '{found.name}' keeps its files in {place}",
                code="registry.files",
                hint=f"[mlflow] artifacts must name that place, or rename it: "
                f"mlflow experiments rename --experiment-id {found.experiment_id} --new-name NAME",
            )

    def _demand_address(self) -> None:
        """Raise RegistryError if the URI is no address: MLflow would end with a ValueError."""
        try:
            urlsplit(self.uri)
        except ValueError:
            message = f"the MLflow store {shown_url(self.uri)} is at no address"
            raise RegistryError(message, hint=_CHECK_ADDRESS) from None

    def _experiment(self, name: str, location: str | None) -> Experiment:
        """Return the experiment, made if need be; an older store has it under a name with slashes.

        `location` is where a new one keeps its files.
        """
        experiment = self.client.get_experiment_by_name(name)
        while experiment is None:
            name = without_slashes(name)
            with unless("RESOURCE_ALREADY_EXISTS"):  # another process may have made it
                self.client.create_experiment(name, location)
            experiment = self.client.get_experiment_by_name(name)
        if experiment.lifecycle_stage == "deleted":  # by hand; without it nothing can be logged
            self.client.restore_experiment(experiment.experiment_id)
        return experiment

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
            cause = None if holds_secret(self.uri) else error
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


def without_slashes(name: str) -> str:
    """Return a name that MLflow's pages do not take for a path."""
    return name.replace("/", "-")


def translate(error: Exception, uri: str) -> RegistryError:
    """Return the RegistryError for an exception; it names the URI without any credentials."""
    where = f"the MLflow store {shown_url(uri)}"
    text = str(error).strip()
    if schema := re.search(
        r"out-of-date database schema \(found version (\w+)|"
        r"Can't locate revision .*'([\w.]+)'",
        text,
    ):
        return _other_schema(where, schema[1] or schema[2])
    for pattern, code, words, hint, retry in _TRANSLATIONS:
        if re.search(pattern, text):
            return RegistryError(f"{where} {words}", code=code, hint=hint, retry=retry)
    if (fault := server_fault(text, _CHECK_ADDRESS)) is not None:
        return RegistryError(
            f"{where} {fault.words}",
            code=f"registry.{fault.code}",
            hint=fault.hint,
            retry=fault.retry,
        )
    # The text may repeat the address in any shape.
    first = type(error).__name__ if holds_secret(uri) else text.partition("\n")[0]
    first = without_secrets(first)[:200]
    return RegistryError(f"{where} failed: {first}", hint=_CHECK_ADDRESS, retry=True)


def _other_schema(where: str, schema: str) -> RegistryError:
    """Return the error for a schema of an older MLflow, whose migrations we know, or a newer."""
    ours = f"MLflow {mlflow.__version__}"
    if schema.startswith("v"):  # as Optuna numbers its own, in a table of the same name
        return RegistryError(
            f"{where} holds the studies of Optuna",
            code="registry.taken",
            hint=f"give each a database of its own: {_CHECK_ADDRESS}",
        )
    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    if any(migrations.glob(f"{schema}_*.py")):
        return RegistryError(
            f"{where} has the schema {schema}, older than that of {ours}",
            code="registry.older",
            hint="keep a copy of it, then: mlflow db upgrade URI",
        )
    return RegistryError(
        f"{where} has the schema {schema}, which {ours} does not know: it is from a newer one",
        code="registry.newer",
        hint="upgrade MLflow: pip install --upgrade mlflow",
    )
