"""The runs of one experiment: begin, resume and end them, log what they did, remove old ones."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow
from mlflow.entities import Param, RunTag
from mlflow.models import Model

from cryptocast.errors import RegistryError
from cryptocast.registry import flavour, pruning
from cryptocast.registry.connection import Connection, without_slashes
from cryptocast.registry.flavour import CARD, Servable
from cryptocast.registry.records import TrainingData, git_commit, packages, points
from cryptocast.values import Epoch

OWNER = "cryptocast.workspace"
"""The tag of models and runs that names the workspace which made them."""


class Runs:
    """The runs that this process begins, each a child of the run in whose block it begins."""

    def __init__(self, store: Connection, owner: str | None) -> None:
        """Begin runs in the experiment of a store; `owner` identifies the workspace, if shared."""
        self._store = store
        self._owner = owner
        self._open: list[str] = []  # each the parent of the next

    @contextlib.contextmanager
    def begin(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None
    ) -> Iterator[str]:
        """Begin a run and yield its id; it ends as finished, or as failed if the block raises.

        Its parent is `parent`, or else the run in whose block this is called.
        """
        every_tag = {
            "mlflow.source.name": "cryptocast",
            "mlflow.source.type": "LOCAL",
            "cryptocast.version": metadata.version("cryptocast"),
            **{f"package.{package}": version for package, version in packages().items()},
            **({} if self._owner is None else {OWNER: self._owner}),
            **(tags or {}),
        }
        if commit := git_commit():
            every_tag["mlflow.source.git.commit"] = commit.removesuffix("-dirty")
        if parent := parent or (self._open[-1] if self._open else None):
            every_tag["mlflow.parentRunId"] = parent
        store = self._store
        with store.translated():
            run = store.client.create_run(store.experiment, run_name=name, tags=every_tag)
        with self._ended(run.info.run_id):
            yield run.info.run_id

    @contextlib.contextmanager
    def pipeline(self, name: str, tags: Mapping[str, str] | None = None) -> Iterator[str]:
        """Begin the run that is the parent of all runs of one pipeline, and yield its id.

        If a pipeline of that name was interrupted its run goes on; runs that it left unfinished
        are ended.
        """
        wanted = "tags.stage = 'pipeline'"
        if self._owner is not None:
            wanted += f" and tags.`{OWNER}` = '{self._owner}'"
        client = self._store.client
        with self._store.translated():
            interrupted = [
                run
                for each in (without_slashes(name), name)  # an older store has slashes
                for run in client.search_runs(
                    [self._store.experiment], f"{wanted} and attributes.run_name = '{each}'"
                )
            ][:1]
            for run in interrupted:
                self._end_children(run.info.run_id)
                client.update_run(run.info.run_id, "RUNNING")
        if interrupted:
            with self._ended(interrupted[0].info.run_id):
                yield interrupted[0].info.run_id
        else:
            every_tag = {"stage": "pipeline", **(tags or {})}
            with self.begin(without_slashes(name), tags=every_tag) as run_id:
                yield run_id

    def _end_children(self, run_id: str) -> None:
        """End the runs below this one that a killed process left running."""
        children = self._store.client.search_runs(
            [self._store.experiment],
            f"tags.mlflow.parentRunId = '{run_id}' and attributes.status = 'RUNNING'",
        )
        for child in children:
            self._end_children(child.info.run_id)
            self._store.client.set_terminated(child.info.run_id, "KILLED")

    @contextlib.contextmanager
    def _ended(self, run_id: str) -> Iterator[None]:
        """End a run after the block; it is the parent of the runs begun in it."""
        self._open.append(run_id)
        try:
            yield
        except BaseException:
            with contextlib.suppress(RegistryError), self._store.translated():
                self._store.client.set_terminated(run_id, "FAILED")
            raise
        finally:
            self._open.pop()
        with self._store.translated():
            self._store.client.set_terminated(run_id, "FINISHED")

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
        logged = points(metrics or {}, history)
        with self._store.translated():
            self._store.client.log_batch(run_id, metrics=logged, params=listed)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        with self._store.translated():
            self._store.client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def log_data(self, run_id: str, data: TrainingData) -> None:
        """Log the candles that a run learned from as its dataset."""
        with self._store.translated():
            self._store.client.log_inputs(run_id, [data.as_input()])

    def log_document(self, run_id: str, document: Any, name: str) -> None:
        """Log a document as a JSON artefact of a run."""
        with self._store.translated():
            self._store.client.log_dict(run_id, document, name)

    def log_rows(
        self, run_ids: Sequence[str], rows: Iterable[Mapping[str, Any]], name: str
    ) -> None:
        """Log rows, one a line, as a JSON artefact of each run; no two rows are held at once."""
        with self._store.translated(), tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / name
            with file.open("w", encoding="utf-8") as lines:
                lines.write("[")
                for number, row in enumerate(rows):
                    lines.write(f"{',' if number else ''}\n{json.dumps(row)}")
                lines.write("\n]\n")
            for run_id in run_ids:
                self._store.client.log_artifact(run_id, str(file))

    def log_bytes(self, run_id: str, content: bytes, name: str) -> None:
        """Log a file, such as a picture, as an artefact of a run; `name` may hold folders."""
        place = PurePosixPath(name)
        folder = None if place.parent == PurePosixPath() else str(place.parent)
        with self._store.translated(), tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / place.name
            file.write_bytes(content)
            self._store.client.log_artifact(run_id, str(file), folder)

    def log_card(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Keep the card beside the run's model."""
        self.log_document(run_id, document, CARD)

    def log_model(self, run_id: str, servable: Servable) -> str:
        """Log what serves a version, with an example that is not tried. Return the model's URI."""
        store = self._store
        with store.translated(), store.chosen(), mlflow.start_run(run_id, nested=True):
            info = Model.log(
                None,
                flavour,
                name="model",
                run_id=run_id,
                flavor_name="cryptocast",
                servable=servable,
                validate_serving_input=False,
            )
        return str(info.model_uri)

    def old(self, before: float) -> list[pruning.OldRun]:
        """Return the trials and the runs deleted by hand that ended before then; see `pruning`."""
        with self._store.translated():
            return pruning.old_runs(self._store.client, before)

    def remove(self, run_id: str) -> None:
        """Remove one of the old runs for good, with its files."""
        with self._store.translated():
            pruning.remove_run(self._store.client, run_id)
