"""One registered model of MLflow: its versions, their files, its aliases.

The exceptions that MLflow raises here are translated by the callers.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from cryptocast.errors import RegistryError, StateError
from cryptocast.registry.records import RegisteredVersion, version_of

MODEL = "cryptocast"
"""The name of the registered model, unless the settings have another."""

CHALLENGER = "challenger"
"""The alias of the newest version that is not production."""

PAGE = 1000
"""How many entries a search asks for at once."""

CARD, GRAPH = "card.json", "model.onnx"

OWNER = "cryptocast.workspace"
"""The tag of models and runs that names the workspace which made them."""


@contextlib.contextmanager
def unless(code: str) -> Iterator[None]:
    """Leave the block quietly if MLflow answers with that error code."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


class Registered:
    """The registered model of that name; it need not exist yet."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self._name = name

    def claim(self, owner: str, where: str) -> None:
        """Raise RegistryError if the model is another workspace's: aliases cannot be shared."""
        with unless("RESOURCE_DOES_NOT_EXIST"):
            model = self._client.get_registered_model(self._name)
            if model.tags.get(OWNER, owner) != owner:
                raise RegistryError(
                    f"the model '{self._name}' in the MLflow store {where} is another workspace's",
                    code="registry.taken",
                    hint=f'[mlflow] model = "{self._name}-2" in cryptocast.toml gives this one '
                    "a model of its own",
                )

    def add(
        self,
        run_id: str,
        model_uri: str,
        description: str,
        tags: Mapping[str, str],
        *,
        owner: str | None,
        taken: Collection[str],
    ) -> str:
        """Make a run's model a version. Return its number, which is none of those `taken`."""
        with unless("RESOURCE_ALREADY_EXISTS"):
            self._client.create_registered_model(
                self._name, description="Forecasts of cryptocast: window to quantiles, ONNX."
            )
        if owner is not None:
            self._client.set_registered_model_tag(self._name, OWNER, owner)
        while True:
            version = self._client.create_model_version(
                self._name,
                model_uri,
                run_id=run_id,
                tags=dict(tags),
                description=description,
                model_id=model_uri.removeprefix("models:/"),  # a server demands it
            )
            if str(version.version) not in taken:
                return str(version.version)
            # A store that replaced another counts anew; the number of a deleted version stays used.
            self._client.delete_model_version(self._name, version.version)

    def amend(self, version: str, heading: str, text: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version, and the paragraph of its description with that heading."""
        paragraphs = (self.find(version).description or "").split("\n\n")
        others = [p for p in paragraphs if p and not p.startswith(f"{heading}: ")]
        description = "\n\n".join([*others, f"{heading}: {text}"])
        self._client.update_model_version(self._name, version, description)
        for name, value in tags.items():
            self._client.set_model_version_tag(self._name, version, name, value)

    def point(self, alias: str, version: str) -> None:
        """Point an alias at a version; a version that becomes production stops being challenger."""
        self._client.set_registered_model_alias(self._name, alias, version)
        if alias.partition("-")[0] == "production" and self.aliases().get(CHALLENGER) == version:
            self.drop(CHALLENGER)

    def drop(self, alias: str) -> None:
        """Remove an alias."""
        self._client.delete_registered_model_alias(self._name, alias)

    def aliases(self) -> dict[str, str]:
        """Return every alias with the version that it names."""
        aliases: Mapping[str, Any] = {}
        with unless("RESOURCE_DOES_NOT_EXIST"):
            aliases = self._client.get_registered_model(self._name).aliases
        return {alias: str(version) for alias, version in aliases.items()}

    def find(self, version: str) -> ModelVersion:
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

    def versions(self, tags: Mapping[str, str]) -> list[RegisteredVersion]:
        """Return the versions with these tags and what their runs logged, newest first."""
        aliases = self.aliases()
        wanted = [f"name='{self._name}'", *(f"tags.`{k}` = '{v}'" for k, v in tags.items())]
        versions = every_page(
            lambda token: self._client.search_model_versions(
                " and ".join(wanted), max_results=PAGE, page_token=token
            )
        )
        runs = _runs(self._client, {v.run_id for v in versions})
        complete = [version_of(v, runs.get(v.run_id), aliases) for v in versions]
        return sorted(complete, key=lambda v: -int(v.version))

    def missing(self, version: RegisteredVersion) -> tuple[str, ...]:
        """Return which of its card and graph a version lacks."""
        listings: dict[str, Callable[[], Sequence[Any]]] = {
            CARD: lambda: self._client.list_artifacts(version.run_id),
            GRAPH: lambda: self._client.list_logged_model_artifacts(version.model_id),
        }
        lost = []
        for name, listing in listings.items():
            files: Sequence[Any] = ()
            with unless("RESOURCE_DOES_NOT_EXIST"):
                files = listing()
            if name not in {file.path for file in files}:
                lost.append(name)
        return tuple(lost)

    def card(self, version: str) -> dict[str, Any]:
        """Return the card as it was logged. Raise StateError if it is lost."""
        registered = self.find(version)
        run_id = registered.run_id or ""
        content = self._downloaded(
            registered, lambda folder: self._client.download_artifacts(run_id, CARD, folder)
        )
        try:
            document: dict[str, Any] = json.loads(content)
        except ValueError as error:
            raise RegistryError(
                f"the card of version {version} is damaged",
                code="registry.damaged",
                hint="cryptocast models lists other versions; cryptocast train makes a new one",
            ) from error
        return document

    def graph(self, version: str) -> bytes:
        """Return the ONNX graph as it was logged. Raise StateError if it is lost."""
        registered = self.find(version)
        uri = self._client.get_model_version_download_uri(self._name, version)
        return self._downloaded(
            registered,
            lambda folder: mlflow.artifacts.download_artifacts(
                f"{uri}/{GRAPH}", dst_path=folder, tracking_uri=self._client.tracking_uri
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


def _runs(client: MlflowClient, ids: set[str]) -> dict[str, Run]:
    """Return the runs of these ids, of any experiment, in few calls."""
    experiments = every_page(
        lambda token: client.search_experiments(max_results=PAGE, page_token=token)
    )
    wanted = sorted(ids)
    runs: list[Run] = []
    for start in range(0, len(wanted), PAGE):
        some = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + PAGE])
        runs += client.search_runs(
            [e.experiment_id for e in experiments],
            f"attributes.run_id IN ({some})",
            max_results=PAGE,
        )
    return {run.info.run_id: run for run in runs}


def every_page(search: Callable[[str | None], Any]) -> list[Any]:
    """Return the entries of every page of a search."""
    entries: list[Any] = []
    token: str | None = None
    while True:
        page = search(token)
        entries += page
        token = page.token
        if not token:
            return entries
