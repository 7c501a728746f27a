"""The values that versions and runs record, and their MLflow shapes."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion

from cryptocast.registry.connection import PAGE, every_page
from cryptocast.values import Epoch

_PACKAGES = ("torch", "lightning", "mlflow", "onnx", "onnxruntime", "numpy", "optuna", "duckdb")

_COLUMNS = {"open_time": "datetime"} | dict.fromkeys(
    ("open", "high", "low", "close", "volume"), "double"
)


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A registered version with what its run logged."""

    version: str
    kind: str
    run_id: str
    created_at: float
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    model_id: str = ""


def version_of(
    registered: ModelVersion, run: MlflowRun | None, aliases: Mapping[str, str]
) -> RegisteredVersion:
    """Return a version with what its run logged; `run` is None if somebody has deleted it."""
    return RegisteredVersion(
        version=str(registered.version),
        kind=registered.tags.get("kind", ""),
        run_id=registered.run_id or "",
        created_at=registered.creation_timestamp / 1000,
        aliases=tuple(sorted(a for a, v in aliases.items() if str(v) == str(registered.version))),
        metrics=dict(run.data.metrics) if run else {},
        tags=dict(registered.tags),
        params=dict(run.data.params) if run else {},
        description=registered.description or "",
        model_id=(registered.source or "").removeprefix("models:/"),
    )


def runs_of(client: MlflowClient, ids: set[str]) -> dict[str, MlflowRun]:
    """Return the runs of these ids, of any experiment, in few calls."""
    experiments = every_page(client.search_experiments)
    wanted = sorted(ids)
    runs: list[MlflowRun] = []
    for start in range(0, len(wanted), PAGE):
        some = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + PAGE])
        runs += client.search_runs(
            [e.experiment_id for e in experiments],
            f"attributes.run_id IN ({some})",
            max_results=PAGE,
        )
    return {run.info.run_id: run for run in runs}


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The candles that a run learned from: MLflow shows them as the run's dataset."""

    name: str
    fingerprint: str
    source: Mapping[str, str]  # markets, start, end
    rows: int

    def as_input(self) -> DatasetInput:
        """Return MLflow's input for these candles.

        Its source has the type `code`, as no URI leads to them.
        """
        columns = [{"name": n, "type": t, "required": True} for n, t in _COLUMNS.items()]
        dataset = Dataset(
            name=self.name,
            digest=self.fingerprint,
            source_type="code",
            source=json.dumps({"tags": dict(self.source)}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": self.rows}),
        )
        return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def points(metrics: Mapping[str, float], history: Sequence[Epoch]) -> list[Metric]:
    """Return final metrics and metrics per epoch as MLflow takes them."""
    now = int(time.time() * 1000)
    logged = [Metric(name, value, now, 0) for name, value in metrics.items()]
    for epoch in history:
        logged += [
            Metric("train_loss", epoch.train_loss, now, epoch.number),
            Metric("validation_loss", epoch.validation_loss, now, epoch.number),
            Metric("windows_per_second", epoch.windows_per_second, now, epoch.number),
        ]
    return logged


@functools.cache  # what is installed stays while a process runs
def packages() -> dict[str, str]:
    """Return the installed versions of the packages that a training depends on."""
    return {name: metadata.version(name) for name in _PACKAGES}


@functools.cache  # the running code is the one at the process's start
def git_commit() -> str | None:
    """Return the commit of the running code if it runs from a checkout, or None.

    It ends with `-dirty` if files were changed since.
    """
    git = shutil.which("git")
    folder = Path(__file__).parents[2]
    if git is None or not (folder / ".git").exists():
        return None
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    described = subprocess.run(  # noqa: S603 - a fixed command
        # Without the lock, so that a commit which somebody makes meanwhile is not disturbed.
        [git, "--no-optional-locks", "-C", str(folder), *describe],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None
