"""The start of a pipeline: its material, and what it will train and search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast import models
from cryptocast.compute.ahead import Ahead, SearchAhead
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.compute.scoring import BASE, WALK
from cryptocast.config import DataSettings
from cryptocast.seams import ModelKind
from cryptocast.values import Market
from cryptocast.workflows.learning.bases import BaseNetwork, base_for
from cryptocast.workflows.learning.material import gather
from cryptocast.workflows.learning.search import idle_report, search_plan
from cryptocast.workflows.learning.selection import SCRATCHED
from cryptocast.workflows.learning.training import lacking
from cryptocast.workspace import Workspace

PIPELINE = "pipeline"
"""The tag that names the pipeline which made a run or a version."""

_SHORT_LOOKBACK = 4


@dataclass(frozen=True, slots=True)
class Prepared:
    """The material of a pipeline, and the models that can be trained on it."""

    material: Material
    kind: ModelKind  # the configured one
    unfit: str | None  # why it cannot be trained
    base: BaseNetwork | None
    no_base: str | None  # why there is no base network

    @property
    def trains(self) -> bool:
        """True if the configured kind is to be trained, beside what needs no training."""
        return self.unfit is None and self.kind.kind != BASE

    @property
    def tunable(self) -> ModelKind:
        """The configured kind, which starts at the base network if there is one."""
        return self.kind if self.base is None else self.kind.started_at(self.base.network)


def prepare(ws: Workspace, markets: Sequence[Market]) -> Prepared:
    """Read and split the candles, and see which models can be trained on them."""
    kind = models.get(ws.settings.model.kind)
    material = gather(ws, markets)
    unfit = _unfit(ws.settings.data, kind, material)
    if unfit is not None:
        # Neither the random walk nor a base network needs a long window: with a short one even
        # 24 candles give some.
        material = gather(ws, markets, lookback=_SHORT_LOOKBACK)
    if kind.kind == WALK:
        return Prepared(material, kind, "[model] kind asks for the random walk", None, None)
    base, no_base = base_for(ws.settings.model, material)
    return Prepared(material, kind, unfit, base, no_base)


def _unfit(settings: DataSettings, kind: ModelKind, material: Material) -> str | None:
    """Return why this kind cannot be trained or validated on the material, or None."""
    if (needed := lacking(settings, kind, material)) is not None:
        return f"too few candles for the {kind.kind}: {needed} would suffice"
    parts = {"train": material.split.train, "validation": material.split.validation}
    for name, part in parts.items():
        windows = (material.market_windows(i, part) for i in range(len(material.markets)))
        if not any(np.isfinite(of_market.targets).any() for of_market in windows):
            return (
                f"too many gaps for the {kind.kind}: the {name} part holds no whole window of "
                f"{material.lookback} candles with an outcome"
            )
    return None


def ahead_of(ws: Workspace, name: str | None, markets: Sequence[Market], seed: int) -> Ahead | None:
    """Return what a pipeline will compute, or None if an earlier run of that name has begun."""
    if name is not None and ws.registry().versions({PIPELINE: name}):
        return None
    prepared, settings = prepare(ws, markets), ws.settings
    plans = trainings(prepared, settings.model.levels, seed)
    if not prepared.trains:
        return Ahead(prepared.material, tuple(plans.values()), None)
    model = prepared.tunable
    best = TrainingPlan(model, model.defaults(), settings.model.levels, seed)
    if idle_report(model, settings.tune.trials) is not None:
        return Ahead(prepared.material, (*plans.values(), best), None)
    plan = search_plan(settings.tune, None, "", seed)
    folds, bars = settings.tune.folds, settings.data.validation_bars
    search = SearchAhead(best, plan, folds, bars)
    return Ahead(prepared.material, tuple(plans.values()), search)


def trainings(prepared: Prepared, levels: tuple[float, ...], seed: int) -> dict[str, TrainingPlan]:
    """Return the trainings that need no search, by the role of their versions."""
    plans = {WALK: TrainingPlan(models.get(WALK), {}, levels, seed)}
    if prepared.base is not None:
        network = models.get(BASE).started_at(prepared.base.network)
        plans[BASE] = TrainingPlan(network, network.defaults(), levels, seed)
    if prepared.trains and prepared.tunable is not prepared.kind:
        plans[SCRATCHED] = TrainingPlan(prepared.kind, prepared.kind.defaults(), levels, seed)
    return plans
