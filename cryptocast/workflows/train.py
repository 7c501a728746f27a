"""train: fit one model on the learned parts, log it to MLflow, register a version."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryptocast import models
from cryptocast.bundles import Forecaster, from_document
from cryptocast.compute.ahead import Ahead
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.errors import ConfigError, CryptocastError
from cryptocast.seams import ModelKind, Params
from cryptocast.store import Store
from cryptocast.values import FloatArray, Market, Windows
from cryptocast.workflows.learning.ahead import for_each_ahead
from cryptocast.workflows.learning.bases import starting
from cryptocast.workflows.learning.cards import changes_since
from cryptocast.workflows.learning.material import gather, recall
from cryptocast.workflows.learning.scope import Group, model_groups, study_market
from cryptocast.workflows.learning.search import tuned_params
from cryptocast.workflows.learning.training import TrainReport, learn, require_bars, train_on
from cryptocast.workflows.learning.versions import version_named
from cryptocast.workspace import Workspace

_CHUNK = 4096  # windows per call, so that a year of origins stays within memory


def train(
    ws: Workspace,
    *,
    kind: str | None = None,
    params: str = "best",
    seed: int = 0,
    symbols: tuple[str, ...] = (),
) -> tuple[list[TrainReport], dict[Market, CryptocastError]]:
    """Train a model kind on the stored candles: one version of all markets, or one of each.

    `params` is `best` (of the last study, else the defaults), `default`, or the path of a
    TOML or JSON file; `symbols` are the markets to learn from, by default all. Return the
    reports, and the error of each market whose training failed. Raises StateError if there are
    too few candles for the kind.
    """
    settings = ws.settings

    def planned(markets: Group) -> tuple[Material, TrainingPlan, str | None]:
        material = gather(ws, markets)
        wanted = models.get(kind or settings.model.kind)
        model, no_base = starting(settings.model, material, wanted)
        chosen, origin = _named_params(ws.store, model, params, study_market(settings, markets))
        require_bars(settings.data, model, material)
        return material, TrainingPlan(model, chosen, settings.model.levels, seed, origin), no_base

    def ahead(markets: Group) -> Ahead:
        material, training, _ = planned(markets)
        return Ahead(material, (training,), ())

    def train_group(markets: Group) -> TrainReport:
        material, training, no_base = planned(markets)
        report = ws.step(training.name, lambda: train_on(ws, material, training))
        return dataclasses.replace(report, no_base=no_base)

    return for_each_ahead(ws, model_groups(settings, ws.markets(symbols)), ahead, train_group)


def _named_params(
    store: Store, model: ModelKind, wanted: str, market: str | None
) -> tuple[Params, str]:
    """Return the parameters that `best`, `default` or a file names, and which of these they are.

    Without a study of the market (None: of all together), `best` means the defaults. Raises
    ConfigError if a file holds no parameters.
    """
    if wanted not in ("best", "default"):
        return _read_params(Path(wanted)), wanted
    best = tuned_params(store, model, market) if wanted == "best" else None
    return (model.defaults(), "default") if best is None else (best, "best")


def _read_params(file: Path) -> Params:
    try:
        text = file.read_text(encoding="utf-8")
        document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"cannot read the parameters {file}: {error.strerror}",
            code="config.params",
            hint="--params takes best, default, or a TOML or JSON file",
        ) from None
    except ValueError as error:
        raise ConfigError(
            f"{file} holds no parameters: {error}", code="config.params", hint="correct that line"
        ) from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file} holds no table of parameters", code="config.params")
    return document


@dataclass(frozen=True, slots=True)
class RepeatReport:
    """A version that was trained anew, and how far its forecasts are from the first one's."""

    trained: TrainReport
    repeated: str
    identical: bool  # every quantile at every origin that was learned from
    largest_difference: float  # of a quantile, in units of sigma * sqrt(step)
    changed: tuple[str, ...]  # code and packages that are others than then


def repeat(ws: Workspace, version: str) -> RepeatReport:
    """Train a version anew from its card, and compare the forecasts of both.

    The copy is a version too, but no challenger. Raises StateError: `state.no_version`;
    `state.nothing_learned` for a base network; `state.other_data` if the stored candles are
    not those that it learned from; `state.other_code` if its card or features are not those
    of this cryptocast.
    """
    registry = ws.registry()
    version = version_named(ws, version)
    card = from_document(registry.card(version))
    material = recall(ws.store, card)
    first = Forecaster(registry.onnx(version))
    model = models.get(card.kind)
    training = TrainingPlan(model, card.params, card.levels, card.seed, f"version {version}")
    trained = ws.step(training.name, lambda: learn(ws, material, training, {"repeat_of": version}))
    again = Forecaster(registry.onnx(trained.version))
    difference = _largest_difference(material.windows(material.learned), first, again)
    return RepeatReport(trained, version, difference == 0, difference, changes_since(card))


def _largest_difference(windows: Windows, first: Forecaster, again: Forecaster) -> float:
    """Return the largest difference of a quantile; infinite if a quantile is no number."""
    differences = [0.0]
    for start in range(0, len(windows), _CHUNK):
        chunk = windows.inputs[start : start + _CHUNK]
        difference: FloatArray = np.abs(first(chunk) - again(chunk))
        differences.append(float(np.nan_to_num(difference, nan=np.inf).max()))
    return max(differences)
