"""One MLflow store: its runs, models, versions and aliases."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow
import mlflow.onnx
import onnx
from mlflow.entities import Param, RunTag

from cryptocast.errors import StateError
from cryptocast.registry import pruning
from cryptocast.registry.connection import Connection, without_credentials
from cryptocast.registry.records import RegisteredVersion, TrainingData, points, signature
from cryptocast.registry.registered import CARD, MODEL, Registered
from cryptocast.registry.runs import Runs
from cryptocast.values import Epoch, Fitted

SELECTION = "validation_crps_relative"
"""The metric that versions are selected by: lower is better."""


class Registry:
    """One tracking store with one experiment and one registered model."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        artifacts: Path | None,
        *,
        model: str = MODEL,
        owner: Callable[[], str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Open the store, or make it.

        `artifacts` is the folder for a workspace's own files; None: the server decides, or they
        lie beside a SQLite database. `owner` identifies a workspace that shares the store: raises
        RegistryError (`registry.taken`) if the model belongs to another one. `environ` holds
        MLflow's variables, among them credentials.
        """
        self._uri = uri
        self._store = Connection(uri, experiment, artifacts, environ or {})
        self._client = self._store.client
        self._experiment = self._store.experiment
        self._translated = self._store.translated
        self._owner = None if owner is None else owner()
        self._runs = Runs(self._store, self._owner)
        self._model = Registered(self._client, model)
        if self._owner is not None:
            with self._translated():
                self._model.claim(self._owner, without_credentials(uri))

    def run(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None
    ) -> AbstractContextManager[str]:
        """Begin a run, which ends with the block, and yield its id; see `Runs.begin`."""
        return self._runs.begin(name, parent, tags or {})

    def pipeline(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> AbstractContextManager[str]:
        """Begin or resume the parent run of a pipeline, and yield its id; see `Runs.pipeline`."""
        return self._runs.pipeline(name, tags or {})

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        history: Sequence[Epoch] = (),
    ) -> None:
        """Log parameters, final metrics and metrics per epoch of a run in one batch."""
        listed = [Param(name, str(value)) for name, value in (params or {}).items()]
        with self._translated():
            self._client.log_batch(run_id, metrics=points(metrics or {}, history), params=listed)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        with self._translated():
            self._client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def log_data(self, run_id: str, data: TrainingData) -> None:
        """Log the candles that a run learned from as its dataset."""
        with self._translated():
            self._client.log_inputs(run_id, [data.as_input()])

    def log_document(self, run_id: str, document: Any, name: str) -> None:
        """Log a document as a JSON artefact of a run."""
        with self._translated():
            self._client.log_dict(run_id, document, name)

    def log_bytes(self, run_id: str, content: bytes, name: str) -> None:
        """Log a file, such as a picture, as an artefact of a run; `name` may hold folders."""
        place = PurePosixPath(name)
        folder = None if place.parent == PurePosixPath() else str(place.parent)
        with self._translated(), tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / place.name
            file.write_bytes(content)
            self._client.log_artifact(run_id, str(file), folder)

    def log_card(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Keep the card beside the run's model."""
        self.log_document(run_id, document, CARD)

    def log_model(self, run_id: str, fitted: Fitted) -> str:
        """Log the ONNX graph with its signature. Return the model's URI."""
        model = onnx.load_from_string(fitted.onnx)
        with self._translated(), self._store.chosen(), mlflow.start_run(run_id, nested=True):
            info = mlflow.onnx.log_model(
                model,
                name="model",
                signature=signature(model.graph),
                pip_requirements=[f"onnxruntime=={metadata.version('onnxruntime')}"],
                save_as_external_data=False,
            )
        return str(info.model_uri)

    def register(
        self,
        run_id: str,
        model_uri: str,
        kind: str,
        description: str,
        tags: Mapping[str, str],
        *,
        taken: Collection[str] = (),
    ) -> str:
        """Make a run's model a version, after its card and graph are kept. Return its number.

        It is none of those `taken` by versions of a store that this one has replaced.
        """
        with self._translated():
            return self._model.add(
                run_id,
                model_uri,
                description,
                {**tags, "kind": kind},
                owner=self._owner,
                taken=taken,
            )

    def amend(self, version: str, heading: str, text: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version, and the paragraph of its description with that heading."""
        with self._translated():
            self._model.amend(version, heading, text, tags)

    def versions(self, tags: Mapping[str, str] | None = None) -> list[RegisteredVersion]:
        """Return all registered versions (with these tags), newest first."""
        with self._translated():
            return self._model.versions(tags or {})

    def missing(self, version: RegisteredVersion) -> tuple[str, ...]:
        """Return the files that a version lacks: without its card or graph it is of no use."""
        with self._translated():
            return self._model.missing(version)

    def best(self, versions: Sequence[RegisteredVersion]) -> RegisteredVersion:
        """Return the version with the lowest selection metric, by MLflow's search.

        Among equals it is the one that was registered first. Raises StateError if none has a
        score.
        """
        wanted = {v.run_id: v for v in sorted(versions, key=lambda v: -int(v.version))}
        if wanted:
            among = ", ".join(f"'{run_id}'" for run_id in wanted)
            with self._translated():
                runs = self._client.search_runs(
                    [self._experiment],
                    f"attributes.status = 'FINISHED' and metrics.{SELECTION} > 0 "
                    f"and attributes.run_id IN ({among})",
                    order_by=[f"metrics.{SELECTION} ASC", "attributes.start_time ASC"],
                    max_results=1,
                )
            if runs:
                return wanted[runs[0].info.run_id]
        raise StateError("no version has a validation score", hint="cryptocast train")

    def card(self, version: str) -> dict[str, Any]:
        """Return the card of a version as it was logged. Raise StateError if it is lost."""
        with self._translated():
            return self._model.card(version) | {"version": version}

    def onnx(self, version: str) -> bytes:
        """Return the graph of a version as it was logged. Raise StateError if it is lost."""
        with self._translated():
            return self._model.graph(version)

    def point(self, alias: str, version: str) -> None:
        """Point an alias at a version; a version that becomes production stops being challenger."""
        with self._translated():
            self._model.point(alias, version)

    def drop(self, alias: str) -> None:
        """Remove an alias."""
        with self._translated():
            self._model.drop(alias)

    def aliases(self) -> dict[str, str]:
        """Return every alias with the version that it names."""
        with self._translated():
            return self._model.aliases()

    def old_runs(self, before: float) -> list[pruning.OldRun]:
        """Return the trials and the runs deleted by hand that ended before then; see `pruning`."""
        with self._translated():
            return pruning.old_runs(self._client, before)

    def remove_run(self, run_id: str) -> None:
        """Remove one of the old runs for good, with its files."""
        with self._translated():
            pruning.remove_run(self._client, run_id)
