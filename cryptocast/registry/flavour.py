"""A version as MLflow runs it alone: ONNX graph, card and code in one folder, no pickle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow.onnx
import onnx
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

from cryptocast.values import quantile_name

CARD = "card.json"
"""The file that describes a version: an artefact of its run, and of its model."""

CURVE = "curve.json"
"""The file of a version's own curve of the size of moves: an artefact of its run."""

_PACKAGES = ("mlflow", "numpy", "onnxruntime", "pandas")


@dataclass(frozen=True, slots=True)
class Servable:
    """The parts with which MLflow lets a version forecast where no cryptocast is installed."""

    graph: bytes
    card: Mapping[str, Any]
    package: str
    code: Mapping[str, str]  # the texts of the package's files, by path
    loader: str  # the package's module with `_load_pyfunc`, which takes the folder
    example: Mapping[str, Sequence[Any]] | None  # candles that it can forecast from, by column


def save_model(path: str, mlflow_model: Model, servable: Servable, **_: object) -> None:
    """Write a version into a folder; MLflow calls this for what it logs.

    `mlflow.onnx` loads the graph from window to quantiles, `mlflow.pyfunc` the whole road from
    candles to prices.
    """
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / servable.package
        for name, text in servable.code.items():
            file = package / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        mlflow.onnx.save_model(
            onnx.load_from_string(servable.graph),
            path,
            code_paths=[str(package)],
            mlflow_model=mlflow_model,
            signature=signature(servable.card["levels"]),
            input_example=None if servable.example is None else pd.DataFrame(servable.example),
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in _PACKAGES],
            save_as_external_data=False,
        )
    folder = Path(path)
    (folder / CARD).write_text(json.dumps(servable.card, indent=2) + "\n", encoding="utf-8")
    pyfunc = mlflow_model.flavors["python_function"]
    pyfunc["loader_module"] = servable.loader
    del pyfunc["data"]  # then it is the whole folder
    mlflow_model.save(str(folder / "MLmodel"))


def signature(levels: Sequence[float]) -> ModelSignature:
    """Return the columns of candles, and of the table with a column for each quantile."""
    open_time: Any = AnyType  # it has no types
    candles: list[ColSpec | TensorSpec] = [
        ColSpec("string", "market", required=False),
        ColSpec(open_time(), "open_time"),  # a time, with or without an offset, or Unix seconds
        *(ColSpec("double", name) for name in ("open", "high", "low", "close")),
        ColSpec("double", "volume", required=False),
    ]
    forecasts: list[ColSpec | TensorSpec] = [
        ColSpec("string", "market"),
        ColSpec("datetime", "origin"),
        ColSpec("long", "step"),
        ColSpec("datetime", "target_time"),
        ColSpec("double", "last_close"),
        ColSpec("boolean", "in_sample"),
        *(ColSpec("double", quantile_name(level)) for level in levels),
    ]
    options = [
        ParamSpec("origin", "string", None),
        ParamSpec("scale", "double", [1.0], shape=(-1,)),
        ParamSpec("body", "double", [1.0], shape=(-1,)),
    ]
    return ModelSignature(Schema(candles), Schema(forecasts), ParamSchema(options))
