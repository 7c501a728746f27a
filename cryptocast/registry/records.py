"""What crosses from MLflow into the workflows, and what is handed over in MLflow's own shapes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from cryptocast.values import Epoch

_COLUMNS = {"open_time": "datetime"} | dict.fromkeys(
    ("open", "high", "low", "close", "volume"), "double"
)


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A registered version and what is known of it."""

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
    found: ModelVersion, run: MlflowRun | None, aliases: Mapping[str, str]
) -> RegisteredVersion:
    """A version with what its run logged; `run` is None where somebody has deleted it."""
    return RegisteredVersion(
        version=str(found.version),
        kind=found.tags.get("kind", ""),
        run_id=found.run_id or "",
        created_at=found.creation_timestamp / 1000,
        aliases=tuple(sorted(a for a, v in aliases.items() if str(v) == str(found.version))),
        metrics=dict(run.data.metrics) if run else {},
        tags=dict(found.tags),
        params=dict(run.data.params) if run else {},
        description=found.description or "",
        model_id=(found.source or "").removeprefix("models:/"),
    )


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Which candles a run learned from: MLflow shows them as the run's dataset."""

    name: str
    fingerprint: str
    source: Mapping[str, str]  # markets, start, end
    rows: int

    def as_input(self) -> DatasetInput:
        """As MLflow keeps it. Its source is of the type `code`: no URI leads to these candles."""
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
    """Final metrics and metrics per epoch."""
    now = int(time.time() * 1000)
    made = [Metric(name, value, now, 0) for name, value in metrics.items()]
    for epoch in history:
        made += [
            Metric("train_loss", epoch.train_loss, now, epoch.number),
            Metric("validation_loss", epoch.validation_loss, now, epoch.number),
            Metric("windows_per_second", epoch.windows_per_second, now, epoch.number),
        ]
    return made


def signature(graph: Any) -> ModelSignature:
    """The shapes that an ONNX graph takes and gives."""
    return ModelSignature(_tensors(graph.input), _tensors(graph.output))


def _tensors(values: Any) -> Schema:
    specs: list[ColSpec | TensorSpec] = []
    for value in values:
        dims = [d.dim_value or -1 for d in value.type.tensor_type.shape.dim]
        specs.append(TensorSpec(np.dtype(np.float32), tuple(dims), value.name))
    return Schema(specs)
