"""One registered model of MLflow: its versions, their files, its aliases.

What MLflow raises here is translated where these are called.
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
"""Name of the registered model, unless the settings have another."""

CHALLENGER = "challenger"
"""The alias of the newest version that is not production."""

PAGE = 1000
"""How many entries a search asks for at once."""

CARD, GRAPH = "card.json", "model.onnx"

_OWNER = "cryptocast.workspace"


@contextlib.contextmanager
def unless(code: str) -> Iterator[None]:
    """Leave the body where MLflow answers with that error code."""
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
        """RegistryError where the model is another workspace's: aliases cannot be shared."""
        with unless("RESOURCE_DOES_NOT_EXIST"):
            found = self._client.get_registered_model(self._name)
            if found.tags.get(_OWNER, owner) != owner:
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
        """Make a run's model a version; returns its number, which is none of those `taken`."""
        with unless("RESOURCE_ALREADY_EXISTS"):
            self._client.create_registered_model(
                self._name, description="Forecasts of cryptocast: window to quantiles, ONNX."
            )
        if owner is not None:
            self._client.set_registered_model_tag(self._name, _OWNER, owner)
        while True:
            made = self._client.create_model_version(
                self._name,
                model_uri,
                run_id=run_id,
                tags=dict(tags),
                description=description,
                model_id=model_uri.removeprefix("models:/"),  # a server demands it
            )
            if str(made.version) not in taken:
                return str(made.version)
            # The store is another than before and counts anew; deleted, a number stays used.
            self._client.delete_model_version(self._name, made.version)

    def amend(self, version: str, heading: str, text: str, tags: Mapping[str, str]) -> None:
        """Tell more of a version: tags, and the paragraph of its description with a heading."""
        told = self.find(version).description or ""
        kept = [p for p in told.split("\n\n") if p and not p.startswith(f"{heading}: ")]
        told = "\n\n".join([*kept, f"{heading}: {text}"])
        self._client.update_model_version(self._name, version, told)
        for name, value in tags.items():
            self._client.set_model_version_tag(self._name, version, name, value)

    def point(self, alias: str, version: str) -> None:
        """Let an alias name a version; what becomes production is challenger no longer."""
        self._client.set_registered_model_alias(self._name, alias, version)
        if alias.partition("-")[0] == "production" and self.aliases().get(CHALLENGER) == version:
            self.drop(CHALLENGER)

    def drop(self, alias: str) -> None:
        """Take an alias away."""
        self._client.delete_registered_model_alias(self._name, alias)

    def aliases(self) -> dict[str, str]:
        """Every alias with the version that it names."""
        aliases: Mapping[str, Any] = {}
        with unless("RESOURCE_DOES_NOT_EXIST"):
            aliases = self._client.get_registered_model(self._name).aliases
        return {alias: str(version) for alias, version in aliases.items()}

    def find(self, version: str) -> ModelVersion:
        """A version of that number; StateError where there is none."""
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
        """All versions that bear these tags with what their runs logged, newest first."""
        aliases = self.aliases()
        wanted = [f"name='{self._name}'", *(f"tags.`{k}` = '{v}'" for k, v in tags.items())]
        found = every_page(
            lambda token: self._client.search_model_versions(
                " and ".join(wanted), max_results=PAGE, page_token=token
            )
        )
        runs = _runs(self._client, {v.run_id for v in found})
        listed = [version_of(v, runs.get(v.run_id), aliases) for v in found]
        return sorted(listed, key=lambda v: -int(v.version))

    def missing(self, version: RegisteredVersion) -> tuple[str, ...]:
        """What a version lacks of its card and its graph."""
        asked: dict[str, Callable[[], Sequence[Any]]] = {
            CARD: lambda: self._client.list_artifacts(version.run_id),
            GRAPH: lambda: self._client.list_logged_model_artifacts(version.model_id),
        }
        lost = []
        for name, listed in asked.items():
            found: Sequence[Any] = ()
            with unless("RESOURCE_DOES_NOT_EXIST"):
                found = listed()
            if name not in {file.path for file in found}:
                lost.append(name)
        return tuple(lost)

    def card(self, version: str) -> dict[str, Any]:
        """The card as it was logged; StateError where it is lost."""
        found = self.find(version)
        run_id = found.run_id or ""
        content = self._brought(
            found, lambda folder: self._client.download_artifacts(run_id, CARD, folder)
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
        """The ONNX graph as it was logged; StateError where it is lost."""
        found = self.find(version)
        where = self._client.get_model_version_download_uri(self._name, version)
        return self._brought(
            found,
            lambda folder: mlflow.artifacts.download_artifacts(
                f"{where}/{GRAPH}", dst_path=folder, tracking_uri=self._client.tracking_uri
            ),
        )

    def _brought(self, found: ModelVersion, download: Callable[[str], str]) -> bytes:
        """What a download brings; StateError where the version is not whole."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                return Path(download(folder)).read_bytes()
        except (MlflowException, OSError):
            if lost := self.missing(version_of(found, None, {})):
                raise StateError(
                    f"version {found.version} is of no use: "
                    f"its {' and '.join(lost)} is not in the MLflow store",
                    code="state.incomplete_version",
                    hint="cryptocast models lists the others; cryptocast train makes a new one",
                ) from None
            raise


def _runs(client: MlflowClient, ids: set[str]) -> dict[str, Run]:
    """The runs of these ids, in whichever experiment, in few calls."""
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
    """Every page of an answer."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(token)
        found += page
        token = page.token
        if not token:
            return found
