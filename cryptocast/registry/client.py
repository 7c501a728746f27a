"""One MLflow store: its runs, models, versions and aliases."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from cryptocast.errors import RegistryError, StateError
from cryptocast.registry.moving import follow
from cryptocast.registry.provenance import git_commit, packages
from cryptocast.values import Epoch, Fitted

# Before the import: no telemetry leaves the machine, nothing is printed on stdout, and a
# server that does not answer is given up in a minute rather than in a quarter of an hour.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import mlflow
import mlflow.onnx
import onnx
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from sqlalchemy.exc import SQLAlchemyError

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

MODEL = "cryptocast"
"""Name of the registered model."""

SELECTION = "validation_crps_relative"
"""The metric that versions are selected by: lower is better."""

_CARD = "card.json"


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version and what is known of it."""

    version: str
    kind: str
    run_id: str
    created_at: float
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)


class Registry:
    """One tracking store with one experiment and the registered model `cryptocast`."""

    def __init__(self, uri: str, experiment: str, artifacts: Path | None) -> None:
        """Open the store; `artifacts` is where a local one keeps files (None: the server's)."""
        self._uri = uri
        self._artifacts = artifacts
        with self._translated():
            if artifacts is not None:
                follow(Path(uri.removeprefix("sqlite:///")), artifacts.resolve().as_uri())
            self._client = MlflowClient(uri, uri)
            found = self._client.get_experiment_by_name(experiment)
            if found is not None:
                self._experiment = found.experiment_id
            else:
                location = artifacts.resolve().as_uri() if artifacts else None
                self._experiment = self._client.create_experiment(experiment, location)

    @contextlib.contextmanager
    def run(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None
    ) -> Iterator[str]:
        """A run, ended as finished, or as failed when the body raises. Yields its id."""
        every = {"cryptocast.version": metadata.version("cryptocast"), **(tags or {})}
        if commit := git_commit():
            every["mlflow.source.git.commit"] = commit
        if parent is not None:
            every["mlflow.parentRunId"] = parent
        for package, version in packages().items():
            every[f"package.{package}"] = version
        with self._translated():
            run_id: str = self._client.create_run(
                self._experiment, run_name=name, tags=every
            ).info.run_id
        try:
            yield run_id
        except BaseException:
            with contextlib.suppress(MlflowException):
                self._client.set_terminated(run_id, "FAILED")
            raise
        with self._translated():
            self._client.set_terminated(run_id, "FINISHED")

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        history: Sequence[Epoch] = (),
    ) -> None:
        """Parameters, final metrics and metrics per epoch, in one batch."""
        now = int(time.time() * 1000)
        points = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
        for epoch in history:
            points += [
                Metric("train_loss", epoch.train_loss, now, epoch.number),
                Metric("validation_loss", epoch.validation_loss, now, epoch.number),
                Metric("windows_per_second", epoch.windows_per_second, now, epoch.number),
            ]
        listed = [Param(name, str(value)) for name, value in (params or {}).items()]
        with self._translated():
            self._client.log_batch(run_id, metrics=points, params=listed)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        with self._translated():
            self._client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def log_document(self, run_id: str, document: Any, name: str) -> None:
        """A JSON artefact of a run."""
        with self._translated():
            self._client.log_dict(run_id, document, name)

    def log_model(self, run_id: str, fitted: Fitted) -> str:
        """The ONNX graph with its signature; returns the model's URI."""
        model = onnx.load_from_string(fitted.onnx)
        signature = ModelSignature(_tensors(model.graph.input), _tensors(model.graph.output))
        with self._translated(), self._chosen(), mlflow.start_run(run_id=run_id, nested=True):
            info = mlflow.onnx.log_model(
                model,
                name="model",
                signature=signature,
                pip_requirements=[f"onnxruntime=={metadata.version('onnxruntime')}"],
                save_as_external_data=False,
            )
        return str(info.model_uri)

    def register(
        self, run_id: str, model_uri: str, kind: str, description: str, tags: Mapping[str, str]
    ) -> str:
        """Make a run's model a version; returns its number as text."""
        with self._translated():
            with contextlib.suppress(MlflowException):  # it exists already
                self._client.create_registered_model(
                    MODEL, description="Forecasts of cryptocast: window to quantiles, ONNX."
                )
            version = self._client.create_model_version(
                MODEL,
                model_uri,
                run_id=run_id,
                tags={**tags, "kind": kind},
                description=description,
            )
        return str(version.version)

    def versions(self) -> list[Version]:
        """All registered versions, newest first."""
        with self._translated():
            try:
                aliases = self._client.get_registered_model(MODEL).aliases
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return []
                raise
            found = self._client.search_model_versions(f"name='{MODEL}'", max_results=1000)
            return sorted((self._version(v, aliases) for v in found), key=lambda v: -int(v.version))

    def best(self, versions: Sequence[str]) -> Version:
        """Of these versions the one with the lowest selection metric, by MLflow's search.

        Of equals the one that was registered first.
        """
        wanted = {v.run_id: v for v in reversed(self.versions()) if v.version in versions}
        with self._translated():
            runs = self._client.search_runs(
                [self._experiment],
                f"attributes.status = 'FINISHED' and metrics.{SELECTION} > 0",
                order_by=[f"metrics.{SELECTION} ASC", "attributes.start_time ASC"],
                max_results=1000,
            )
        for run in runs:
            if run.info.run_id in wanted:
                return wanted[run.info.run_id]
        raise StateError("no version has a validation score", hint="cryptocast train")

    def card(self, version: str) -> dict[str, Any]:
        """The card of a version, as it was logged."""
        with self._translated():
            run_id = self._model_version(version).run_id
            path = self._client.download_artifacts(run_id, _CARD)
        document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        document["version"] = version
        return document

    def log_card(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Keep the card beside the run's model."""
        self.log_document(run_id, document, _CARD)

    def onnx(self, version: str) -> bytes:
        """The graph of a version."""
        with self._translated(), self._chosen():
            self._model_version(version)
            model = mlflow.onnx.load_model(f"models:/{MODEL}/{version}")
        return bytes(model.SerializeToString())

    def point(self, alias: str, version: str) -> None:
        """Let an alias name a version."""
        with self._translated():
            self._client.set_registered_model_alias(MODEL, alias, version)

    def _model_version(self, version: str) -> Any:
        try:
            return self._client.get_model_version(MODEL, version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise StateError(
                    f"there is no version '{version}'",
                    code="state.no_version",
                    hint="cryptocast models lists them",
                ) from None
            raise

    def _version(self, found: Any, aliases: Mapping[str, str]) -> Version:
        run = self._client.get_run(found.run_id)
        return Version(
            version=str(found.version),
            kind=found.tags.get("kind", ""),
            run_id=found.run_id,
            created_at=found.creation_timestamp / 1000,
            aliases=tuple(sorted(a for a, v in aliases.items() if str(v) == str(found.version))),
            metrics=dict(run.data.metrics),
            tags=dict(found.tags),
        )

    @contextlib.contextmanager
    def _chosen(self) -> Iterator[None]:
        """Let MLflow's functions without a client work on this store.

        They look at global settings and keep them in the environment too, where another
        workspace in this process would take them for the user's.
        """
        before = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_")}
        try:
            mlflow.set_tracking_uri(self._uri)
            mlflow.set_registry_uri(self._uri)
            mlflow.set_experiment(experiment_id=self._experiment)
            yield
        finally:
            for name in [k for k in os.environ if k.startswith("MLFLOW_")]:
                del os.environ[name]
            os.environ.update(before)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Foreign exceptions as RegistryError; the URI is named without any credentials."""
        try:
            with warnings.catch_warnings():
                # MLflow and SQLAlchemy warn of each other and of MLflow's own types.
                warnings.simplefilter("ignore")
                yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
            where = _without_credentials(self._uri)
            first = _without_credentials(str(error).strip().splitlines()[0])[:200]
            # A cause is shown by --verbose: one that may repeat a password is left out.
            cause = error if where == self._uri else None
            raise RegistryError(
                f"the MLflow store {where} failed: {first}",
                hint="check MLFLOW_TRACKING_URI or [mlflow] tracking_uri",
                retry=True,
            ) from cause


def _without_credentials(text: str) -> str:
    """The text without the user and password of any URI in it."""
    text = re.sub(r"://[^/\s][^@\s]*@", "://", text)
    return re.sub(r"(?i)([?&](password|passwd|token|secret|key)=)[^&\s]*", r"\1...", text)


def _tensors(values: Any) -> Schema:
    specs: list[ColSpec | TensorSpec] = []
    for value in values:
        dims = [d.dim_value or -1 for d in value.type.tensor_type.shape.dim]
        specs.append(TensorSpec(np.dtype(np.float32), tuple(dims), value.name))
    return Schema(specs)
