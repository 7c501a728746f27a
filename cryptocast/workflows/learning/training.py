"""Fit one model on the learned parts, log it to MLflow, and register a version."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptocast import dataset
from cryptocast.bundles import Card
from cryptocast.compute import training as compute
from cryptocast.compute.curves import CurveFitting, FittedCurve, fit_curve
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.compute.scoring import BASE
from cryptocast.compute.training import Fitting
from cryptocast.config import DataSettings
from cryptocast.errors import StateError
from cryptocast.registry import CHALLENGER, CURVE, SELECTION
from cryptocast.seams import Engine, ModelKind, Params, Progress, TrainingRun
from cryptocast.values import DAY_SECONDS, Epoch, iso
from cryptocast.workflows.learning.cards import (
    FINGERPRINT,
    data_of,
    make_card,
    run_params,
    shown,
)
from cryptocast.workflows.learning.packing import pack
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TrainReport:
    """A registered version and its validation scores."""

    version: str
    kind: str
    markets: tuple[str, ...]
    params: Params
    params_from: str  # best, default, the file, or the version that was repeated
    epochs: int
    validation_crps_bp: float
    validation_crps_relative: float  # relative to the random walk's: below 1 is better
    no_base: str | None = None  # why it does not start at a base network, though it could


def train_on(
    ws: Workspace,
    material: Material,
    training: TrainingPlan,
    tags: Mapping[str, str] | None = None,
) -> TrainReport:
    """Train, register the version, and make it the challenger."""
    report = learn(ws, material, training, tags)
    ws.registry().point(CHALLENGER, report.version)
    return report


def learn(
    ws: Workspace,
    material: Material,
    training: TrainingPlan,
    tags: Mapping[str, str] | None = None,
) -> TrainReport:
    """Fit, score, log and register; `tags` are put on the run and the version.

    The version is registered last, so that none exists whose card or graph could not be kept.
    """
    registry, tags, kind = ws.registry(), tags or {}, training.model.kind
    card = make_card(material, training)
    with checkpoint(ws.folder / "checkpoints", card) as file:
        with registry.runs.begin(training.name, tags={"stage": "train", **tags}) as run_id:
            run = TrainingRun(training.seed, _epoch_shower(ws.progress), file)
            (trained,) = ws.engine.map(compute.train, [Fitting(training, run)], material)
            fitted = trained.fitted
            curve = _curve(ws.engine, ws.settings.model.base, kind, material)
            card = dataclasses.replace(card, params=fitted.params, paths=curve.card)
            scores = {"validation_crps_bp": trained.crps_bp, SELECTION: trained.relative}
            registry.runs.log_data(run_id, data_of(material, card))
            registry.runs.log(
                run_id,
                params={**run_params(card), **training.params},
                metrics=scores,
                history=fitted.history,
            )
            registry.runs.log_card(run_id, dataclasses.asdict(card))
            if curve.document is not None:
                registry.runs.log_document(run_id, curve.document, CURVE)
            uri = registry.runs.log_model(run_id, pack(material, card, fitted))
        with ws.store.read() as reader:
            taken = {deployment.model_version for deployment in reader.deployments()}
        named = {FINGERPRINT: card.fingerprint, **tags}
        version = registry.register(run_id, uri, kind, _described(card, scores), named, taken=taken)
    return TrainReport(
        version=version,
        kind=kind,
        markets=card.markets,
        params=training.params,
        params_from=training.params_from,
        epochs=len(fitted.history),
        validation_crps_bp=trained.crps_bp,
        validation_crps_relative=trained.relative,
    )


def _curve(engine: Engine, base: str | None, kind: str, material: Material) -> FittedCurve:
    """Return what the simulated paths of a version rest on."""
    if kind == BASE:  # it learns from none of these candles, and may be judged on all
        return FittedCurve(None, None)
    (fitted,) = engine.map(fit_curve, [CurveFitting(base)], material)
    return fitted


def _epoch_shower(progress: Progress) -> Callable[[Epoch, int], None]:
    """Return a function that shows each epoch of a training."""

    def show(epoch: Epoch, most: int) -> None:
        progress.advance(
            epoch.number,
            most,
            f"epoch {epoch.number}, loss {epoch.train_loss:.4f} in training and "
            f"{epoch.validation_loss:.4f} in validation, {epoch.windows_per_second:,.0f} windows/s",
        )

    return show


def _described(card: Card, scores: Mapping[str, float]) -> str:
    return (
        f"{card.kind} on {shown(card.markets)}, "
        f"candles {iso(card.data_start)} to {iso(card.data_end)}, "
        f"validation CRPS {scores['validation_crps_bp']:.3f} bp"
    )


@contextlib.contextmanager
def checkpoint(folder: Path, card: Card) -> Iterator[Path]:
    """Yield the file in which a training of this card keeps its state; remove it afterwards.

    The file is named after everything that rules the training. If the body fails or is killed,
    the file stays: with the same candles, parameters, seed and code, the training continues from
    there. Files that other trainings left more than a day ago are removed: candles have moved on.
    """
    for file in folder.glob("*"):
        # A training that is under way writes far more often than once a day.
        if file.exists() and time.time() - file.stat().st_mtime > DAY_SECONDS:
            file.unlink(missing_ok=True)
    text = json.dumps(dataclasses.asdict(card), sort_keys=True)
    own = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    yield own
    own.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it does not exist, or holds another training's file
        folder.rmdir()


def require_bars(settings: DataSettings, model: ModelKind, material: Material) -> None:
    """Raise StateError if the training part is too short for the kind, and say what would do."""
    if (needed := lacking(settings, model, material)) is not None:
        bars = (material.end - material.start) // material.interval_seconds
        days = -(-needed * material.interval_seconds // DAY_SECONDS)
        raise StateError(
            f"the {model.kind} needs {needed} candles, there are {bars}",
            code="state.not_enough_candles",
            hint=f"cryptocast fetch --days {days}, and [data] days = {days} in cryptocast.toml",
        )


def lacking(settings: DataSettings, model: ModelKind, material: Material) -> int | None:
    """Return how many bars the kind needs if the material has too few, or None."""
    least = model.least_bars(material.lookback, material.horizon)
    if material.split.train.bars(material.interval_seconds) >= least:
        return None
    return next(
        bars
        for bars in itertools.count(least)
        if dataset.plan(
            0,
            bars,
            1,
            test_bars=settings.test_bars,
            gate_bars=settings.gate_bars,
            validation_bars=settings.validation_bars,
        ).train.bars(1)
        >= least
    )
