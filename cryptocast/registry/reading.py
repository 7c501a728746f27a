"""What MLflow holds of versions. What it raises is translated where these are called."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from cryptocast.errors import RegistryError, StateError
from cryptocast.registry.records import Version, version_of

MODEL = "cryptocast"
"""Name of the registered model."""

PAGE = 1000
"""How many entries a search asks for at once."""

CARD, GRAPH = "card.json", "model.onnx"


@contextlib.contextmanager
def unless(code: str) -> Iterator[None]:
    """Leave the body where MLflow answers with that error code."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


def find(client: MlflowClient, version: str) -> ModelVersion:
    """A version of that number; StateError where there is none."""
    try:
        return client.get_model_version(MODEL, version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise StateError(
                f"there is no version '{version}'",
                code="state.no_version",
                hint="cryptocast models lists them",
            ) from None
        raise


def versions(client: MlflowClient) -> list[Version]:
    """All registered versions with what their runs logged, newest first."""
    aliases: Mapping[str, str] = {}
    with unless("RESOURCE_DOES_NOT_EXIST"):
        aliases = client.get_registered_model(MODEL).aliases
    found = _all(
        lambda token: client.search_model_versions(
            f"name='{MODEL}'", max_results=PAGE, page_token=token
        )
    )
    runs = _runs(client, {v.run_id for v in found})
    listed = [version_of(v, runs.get(v.run_id), aliases) for v in found]
    return sorted(listed, key=lambda v: -int(v.version))


def missing(client: MlflowClient, version: Version) -> tuple[str, ...]:
    """What a version lacks of its card and its graph."""
    asked: dict[str, Callable[[], Sequence[Any]]] = {
        CARD: lambda: client.list_artifacts(version.run_id),
        GRAPH: lambda: client.list_logged_model_artifacts(version.model_id),
    }
    lost = []
    for name, listed in asked.items():
        found: Sequence[Any] = ()
        with unless("RESOURCE_DOES_NOT_EXIST"):
            found = listed()
        if name not in {file.path for file in found}:
            lost.append(name)
    return tuple(lost)


def card(client: MlflowClient, version: str) -> dict[str, Any]:
    """The card as it was logged; StateError where it is lost."""
    found = find(client, version)
    run_id = found.run_id or ""
    content = _brought(
        client, found, lambda folder: client.download_artifacts(run_id, CARD, folder)
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


def graph(client: MlflowClient, uri: str, version: str) -> bytes:
    """The ONNX graph as it was logged; StateError where it is lost."""
    found = find(client, version)
    where = client.get_model_version_download_uri(MODEL, version)
    return _brought(
        client,
        found,
        lambda folder: mlflow.artifacts.download_artifacts(
            f"{where}/{GRAPH}", dst_path=folder, tracking_uri=uri
        ),
    )


def _brought(client: MlflowClient, found: ModelVersion, download: Callable[[str], str]) -> bytes:
    """What a download brings; StateError where the version is not whole."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return Path(download(folder)).read_bytes()
    except (MlflowException, OSError):
        if lost := missing(client, version_of(found, None, {})):
            raise StateError(
                f"version {found.version} is of no use: "
                f"its {' and '.join(lost)} is not in the MLflow store",
                code="state.incomplete_version",
                hint="cryptocast models lists the others; cryptocast train makes a new one",
            ) from None
        raise


def _runs(client: MlflowClient, ids: set[str]) -> dict[str, Run]:
    """The runs of these ids, in whichever experiment, in few calls."""
    experiments = _all(lambda token: client.search_experiments(max_results=PAGE, page_token=token))
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


def _all(search: Callable[[str | None], Any]) -> list[Any]:
    """Every page of an answer."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(token)
        found += page
        token = page.token
        if not token:
            return found
