"""Find and remove runs of no more use: old trials, and runs that a person has deleted."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, LoggedModel, Run, ViewType

from cryptocast.registry.connection import every_page


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run that may be removed, with what it logged."""

    run_id: str
    name: str
    reason: str  # trial, deleted
    ended_at: float
    bytes: int  # of its files


def old_runs(client: MlflowClient, before: float) -> list[OldRun]:
    """Return the trials and the runs deleted by hand that ended before then, oldest first.

    The run of a registered version is never among them, even if it was deleted.
    """
    kept = {version.run_id for version in every_page(client.search_model_versions)}
    old = []
    for run in _runs(client):
        ended = (run.info.end_time or run.info.start_time) / 1000
        deleted = run.info.lifecycle_stage == LifecycleStage.DELETED
        trial = run.data.tags.get("stage") == "trial" and run.info.status != "RUNNING"
        if run.info.run_id in kept or ended >= before or not (deleted or trial):
            continue
        files = [_folder(run.info.artifact_uri)]
        files += [_folder(model.artifact_location) for model in _models(client, run)]
        paths = (path for folder in files if folder is not None for path in folder.rglob("*"))
        size = sum(path.stat().st_size for path in paths if path.is_file())
        reason = "deleted" if deleted else "trial"
        old.append(OldRun(run.info.run_id, run.info.run_name, reason, ended, size))
    return sorted(old, key=lambda run: run.ended_at)


def remove_run(client: MlflowClient, run_id: str) -> None:
    """Remove a run for good, its files first, as `mlflow gc` does. The store must be a database."""
    run = client.get_run(run_id)
    store: Any = client._tracking_client.store  # `mlflow gc` uses it too; it has no public name
    for model in _models(client, run):
        _remove(_folder(model.artifact_location))
        client.delete_logged_model(model.model_id)
        store._hard_delete_logged_model(model.model_id)
    # The run's own folder is the parent of its folder of artifacts.
    folder = _folder(run.info.artifact_uri)
    _remove(folder.parent if folder and folder.parent.name == run_id else folder)
    if run.info.lifecycle_stage != LifecycleStage.DELETED:
        client.delete_run(run_id)
    store._hard_delete_run(run_id)


def _runs(client: MlflowClient) -> list[Run]:
    """Return every run of every experiment, deleted ones too."""
    experiments = every_page(partial(client.search_experiments, ViewType.ALL))
    ids = [experiment.experiment_id for experiment in experiments]
    return every_page(partial(client.search_runs, ids, run_view_type=ViewType.ALL))


def _models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Return the models that a run logged."""
    return list(
        client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
        )
    )


def _folder(uri: str) -> Path | None:
    """Return the folder of a `file:` URI, or None for other places."""
    parts = urlparse(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") and parts.path else None


def _remove(folder: Path | None) -> None:
    if folder is not None and folder.is_dir():
        shutil.rmtree(folder)
