"""Fit one model on the learned parts, log it to MLflow, register a version."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryptocast import dataset, evaluation
from cryptocast.errors import StateError
from cryptocast.registry import CHALLENGER, SELECTION
from cryptocast.seams import ModelKind, Params
from cryptocast.values import Epoch, Fitted, iso
from cryptocast.workflows.learning.bases import known_base
from cryptocast.workflows.learning.cards import (
    BASE,
    FINGERPRINT,
    data_of,
    make_card,
    run_params,
    shown,
)
from cryptocast.workflows.learning.checkpoints import checkpoint
from cryptocast.workflows.learning.material import Material
from cryptocast.workflows.learning.scoring import crps, walk_crps
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TrainReport:
    """A registered version and its validation scores."""

    version: str
    kind: str
    markets: tuple[str, ...]
    params: Params
    params_from: str  # best, default or the file
    epochs: int
    validation_crps_bp: float
    validation_crps_relative: float  # to the random walk's: below 1 is better
    no_base: str | None = None  # why it does not start at a base network, where it could


def starting(ws: Workspace, material: Material, kind: ModelKind) -> tuple[ModelKind, str | None]:
    """The kind, starting at the base network where the settings want that and there is one, and
    why there is none.

    Raises StateError where the kind is nothing but a base network, and there is none.
    """
    base, missing = known_base(ws, material)
    if base is not None:
        return kind.started_at(base.network), None
    if kind.kind == BASE:
        raise StateError(
            missing or "[model] start asks for no base network",
            code="state.no_base",
            hint="--from base, or cryptocast train --model lstm --from scratch"
            if missing is None
            else "cryptocast train --model lstm --from scratch",
        )
    return kind, missing


def train_on(
    ws: Workspace,
    material: Material,
    model: ModelKind,
    params: Params,
    params_from: str,
    *,
    seed: int,
    tags: Mapping[str, str] | None = None,
) -> TrainReport:
    """Train on material that is gathered already, and let the version be the challenger."""
    report = learn(ws, material, model, params, params_from, seed=seed, tags=tags)
    ws.registry().point(CHALLENGER, report.version)
    return report


def learn(
    ws: Workspace,
    material: Material,
    model: ModelKind,
    params: Params,
    params_from: str,
    *,
    seed: int,
    tags: Mapping[str, str] | None = None,
) -> TrainReport:
    """Fit, score, log and register; `tags` are put on the run and the version.

    The version is registered last: one whose card or graph could not be kept is none.
    """
    registry, tags = ws.registry(), tags or {}
    card = make_card(ws, material, model.kind, params, seed)
    with checkpoint(ws, card) as file:
        with registry.run(f"train {model.kind}", tags={"stage": "train", **tags}) as run_id:
            fitted = fit(ws, material, model, params, seed=seed, checkpoint=file)
            card = dataclasses.replace(card, params=fitted.params)
            scores = validate(ws, material, fitted)
            registry.log_data(run_id, data_of(material, card))
            registry.log(
                run_id,
                params={**run_params(card), **params},
                metrics=scores,
                history=fitted.history,
            )
            registry.log_card(run_id, dataclasses.asdict(card))
            uri = registry.log_model(run_id, fitted)
        description = (
            f"{model.kind} on {shown(card.markets)}, "
            f"candles {iso(card.data_start)} to {iso(card.data_end)}, "
            f"validation CRPS {scores['validation_crps_bp']:.3f} bp"
        )
        known = {FINGERPRINT: card.fingerprint, **tags}
        with ws.store.read() as reader:
            taken = {deployment.model_version for deployment in reader.deployments()}
        version = registry.register(run_id, uri, model.kind, description, known, taken=taken)
    return TrainReport(
        version,
        model.kind,
        card.markets,
        params,
        params_from,
        len(fitted.history),
        scores["validation_crps_bp"],
        scores[SELECTION],
    )


def fit(
    ws: Workspace,
    material: Material,
    model: ModelKind,
    params: Params,
    *,
    seed: int,
    checkpoint: Path,
) -> Fitted:
    """Fit on the training part, early stopping on the validation part."""

    def on_epoch(epoch: Epoch, most: int) -> None:
        ws.progress.advance(
            epoch.number,
            most,
            f"epoch {epoch.number}, loss {epoch.train_loss:.4f}, "
            f"validation {epoch.validation_loss:.4f}, {epoch.windows_per_second:,.0f} windows/s",
        )

    return model.fit(
        material.windows(material.split.train),
        material.windows(material.split.validation),
        levels=ws.settings.model.levels,
        params=params,
        seed=seed,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
    )


def validate(ws: Workspace, material: Material, fitted: Fitted) -> dict[str, float]:
    """CRPS of a fitted model on its validation part: in bp, and relative to the random walk's;
    NaN where that is too short to score an origin.
    """
    levels = ws.settings.model.levels
    held_out = material.windows(material.split.validation)
    loss = crps(fitted, held_out, levels)
    walk = walk_crps(material.windows(material.split.train), held_out, held_out, levels)
    known = np.isfinite(loss)
    return {
        "validation_crps_bp": float(loss[known].mean()) if known.any() else float("nan"),
        SELECTION: evaluation.relative_crps(loss, walk),
    }


def require_bars(ws: Workspace, model: ModelKind, material: Material) -> None:
    """StateError where the training part is too short for the kind, with what would suffice."""
    if (needed := lacking(ws, model, material)) is not None:
        have = (material.end - material.start) // material.interval_seconds
        days = -(-needed * material.interval_seconds // 86_400)
        raise StateError(
            f"the {model.kind} needs {needed} candles, there are {have}",
            code="state.not_enough_candles",
            hint=f"cryptocast fetch --days {days}, and [data] days = {days} in cryptocast.toml",
        )


def lacking(ws: Workspace, model: ModelKind, material: Material) -> int | None:
    """How many bars would suffice for the kind, where the material does not; else None."""
    least = model.least_bars(material.lookback, material.horizon)
    if material.split.train.bars(material.interval_seconds) >= least:
        return None
    data = ws.settings.data
    return next(
        bars
        for bars in itertools.count(least)
        if dataset.plan(
            0,
            bars,
            1,
            test_bars=data.test_bars,
            gate_bars=data.gate_bars,
            validation_bars=data.validation_bars,
        ).train.bars(1)
        >= least
    )
