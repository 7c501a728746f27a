"""One MLflow store: the versions and aliases of one registered model, and its runs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from cryptocast.errors import RegistryError, StateError, shown_url
from cryptocast.registry.connection import Connection, every_page, unless
from cryptocast.registry.flavour import CARD, CURVE
from cryptocast.registry.records import RegisteredVersion, runs_of, version_of
from cryptocast.registry.runs import OWNER, Runs

SELECTION = "validation_crps_relative"
"""The metric that versions are selected by: lower is better."""

MODEL = "cryptocast"
"""The name of the registered model, unless the settings have another."""

CHALLENGER = "challenger"
"""The alias of the newest version that is not production."""

_GRAPH = "model.onnx"


class Registry:
    """One tracking store with one experiment, whose `runs` it keeps, and one registered model."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        artifacts: Path | None,
        *,
        files: str | None = None,
        model: str = MODEL,
        owner: Callable[[], str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Open the store, or make it.

        `artifacts` is the folder for a workspace's own files, `files` the folder or URI that the
        settings want them in; neither: the server decides, or they lie beside a SQLite database,
        and any other database is refused with ConfigError. `owner` identifies a workspace that
        shares the store: raises RegistryError (`registry.taken`) if the model belongs to another
        one. `environ` holds MLflow's variables, among them credentials.
        """
        self._name = model
        self._store = Connection(uri, experiment, artifacts, files, environ or {})
        self._client = self._store.client
        self._translated = self._store.translated
        self._owner = None if owner is None else owner()
        self.runs = Runs(self._store, self._owner)
        with self._translated(), unless("RESOURCE_DOES_NOT_EXIST"):
            self._claim()

    def _claim(self) -> None:
        """Raise RegistryError if the model is another workspace's: aliases cannot be shared."""
        if self._owner is None:
            return
        tags = self._client.get_registered_model(self._name).tags
        if tags.get(OWNER, self._owner) != self._owner:
            where = shown_url(self._store.uri)
            raise RegistryError(
                f"the model '{self._name}' in the MLflow store {where} is another workspace's",
                code="registry.taken",
                hint=f'[mlflow] model = "{self._name}-2" in cryptocast.toml gives this one '
                "a model of its own",
            )

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
            with unless("RESOURCE_ALREADY_EXISTS"):
                self._client.create_registered_model(
                    self._name, description="Forecasts of cryptocast: window to quantiles, ONNX."
                )
            if self._owner is not None:
                self._client.set_registered_model_tag(self._name, OWNER, self._owner)
            while True:
                version = self._client.create_model_version(
                    self._name,
                    model_uri,
                    run_id=run_id,
                    tags={**tags, "kind": kind},
                    description=description,
                    model_id=model_uri.removeprefix("models:/"),  # a server demands it
                )
                if str(version.version) not in taken:
                    return str(version.version)
                # A store that replaced another counts anew; a deleted version's number stays used.
                self._client.delete_model_version(self._name, version.version)

    def amend(self, version: str, heading: str, text: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version, and the paragraph of its description with that heading."""
        with self._translated():
            paragraphs = (self._find(version).description or "").split("\n\n")
            others = [p for p in paragraphs if p and not p.startswith(f"{heading}: ")]
            description = "\n\n".join([*others, f"{heading}: {text}"])
            self._client.update_model_version(self._name, version, description)
            for name, value in tags.items():
                self._client.set_model_version_tag(self._name, version, name, value)

    def _find(self, version: str) -> ModelVersion:
        """Return the version of that number. Raise StateError if there is none."""
        try:
            return self._client.get_model_version(self._name, version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise StateError(
                    f"there is no version '{version}'",
                    code="state.no_version",
                    hint="cryptocast models lists them",
                ) from None
            raise

    def versions(self, tags: Mapping[str, str] | None = None) -> list[RegisteredVersion]:
        """Return the versions (with these tags) and what their runs logged, newest first."""
        wanted = [f"name='{self._name}'", *(f"tags.`{k}` = '{v}'" for k, v in (tags or {}).items())]
        with self._translated():
            aliases = self.aliases()
            search = partial(self._client.search_model_versions, " and ".join(wanted))
            versions = every_page(search)
            runs = runs_of(self._client, {v.run_id for v in versions})
        complete = [version_of(v, runs.get(v.run_id), aliases) for v in versions]
        return sorted(complete, key=lambda v: -int(v.version))

    def missing(self, version: RegisteredVersion) -> tuple[str, ...]:
        """Return which of its card and graph a version lacks: without them it is of no use."""
        listings: dict[str, Callable[[], Sequence[Any]]] = {
            CARD: lambda: self._client.list_artifacts(version.run_id),
            _GRAPH: lambda: self._client.list_logged_model_artifacts(version.model_id),
        }
        lost = []
        with self._translated():
            for name, listing in listings.items():
                files: Sequence[Any] = ()
                with unless("RESOURCE_DOES_NOT_EXIST"):
                    files = listing()
                if name not in {file.path for file in files}:
                    lost.append(name)
        return tuple(lost)

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
                    [self._store.experiment],
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
            registered = self._find(version)
            run = registered.run_id or ""
            content = self._downloaded(
                registered, lambda folder: self._client.download_artifacts(run, CARD, folder)
            )
        try:
            return {**json.loads(content), "version": str(registered.version)}
        except ValueError as error:
            raise RegistryError(
                f"the card of version {version} is damaged",
                code="registry.damaged",
                hint="cryptocast models lists other versions; cryptocast train makes a new one",
            ) from error

    def curve(self, version: str) -> str | None:
        """Return the curve of a version as it was logged, or None if it has none of its own."""
        with self._translated():
            registered = self._find(version)
            run = registered.run_id or ""
            if CURVE not in {file.path for file in self._client.list_artifacts(run)}:
                return None
            content = self._downloaded(
                registered, lambda folder: self._client.download_artifacts(run, CURVE, folder)
            )
        return content.decode("utf-8", errors="replace")

    def onnx(self, version: str) -> bytes:
        """Return the graph of a version as it was logged. Raise StateError if it is lost."""
        with self._translated():
            registered = self._find(version)
            uri = self._client.get_model_version_download_uri(self._name, version)
            return self._downloaded(
                registered,
                lambda folder: mlflow.artifacts.download_artifacts(
                    f"{uri}/{_GRAPH}", dst_path=folder, tracking_uri=self._client.tracking_uri
                ),
            )

    def _downloaded(self, version: ModelVersion, download: Callable[[str], str]) -> bytes:
        """Return the content of a downloaded file. Raise StateError if the version lacks it."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                return Path(download(folder)).read_bytes()
        except (MlflowException, OSError):
            if lost := self.missing(version_of(version, None, {})):
                raise StateError(
                    f"version {version.version} is of no use: "
                    f"its {' and '.join(lost)} is not in the MLflow store",
                    code="state.incomplete_version",
                    hint="cryptocast models lists the others; cryptocast train makes a new one",
                ) from None
            raise

    def point(self, alias: str, version: str) -> None:
        """Point an alias at a version; a version that becomes production stops being challenger."""
        with self._translated():
            self._client.set_registered_model_alias(self._name, alias, version)
        if alias.partition("-")[0] == "production" and self.aliases().get(CHALLENGER) == version:
            self.drop(CHALLENGER)

    def drop(self, alias: str) -> None:
        """Remove an alias."""
        with self._translated():
            self._client.delete_registered_model_alias(self._name, alias)

    def aliases(self) -> dict[str, str]:
        """Return every alias with the version that it names."""
        aliases: Mapping[str, Any] = {}
        with self._translated(), unless("RESOURCE_DOES_NOT_EXIST"):
            aliases = self._client.get_registered_model(self._name).aliases
        return {alias: str(version) for alias, version in aliases.items()}
