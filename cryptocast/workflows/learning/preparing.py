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
from cryptocast.workflows.learning.training import lacking
from cryptocast.workspace import Workspace

PIPELINE = "pipeline"
"""The tag that names the pipeline which made a run or a version."""

_SHORT_LOOKBACK = 4


@dataclass(frozen=True, slots=True)
class Prepared:
    """The material of a pipeline, and the models that can be trained on it."""

    material: Material
    kinds: tuple[ModelKind, ...]  # those to train, beside what needs no training
    unfit: str | None  # why others that are configured cannot be trained
    base: BaseNetwork | None
    no_base: str | None  # why there is no base network

    def tunable(self, kind: ModelKind) -> ModelKind:
        """Return a kind that starts at the base network if there is one."""
        return kind if self.base is None else kind.started_at(self.base.network)


def prepare(ws: Workspace, markets: Sequence[Market]) -> Prepared:
    """Read and split the candles, and see which models can be trained on them."""
    wanted = [models.get(kind) for kind in ws.settings.model.compared]
    material = gather(ws, markets)
    reasons = {kind.kind: _unfit(ws.settings.data, kind, material) for kind in wanted}
    if all(reasons.values()):
        # Neither the random walk nor a base network needs a long window: with a short one even
        # 24 candles give some.
        material = gather(ws, markets, lookback=_SHORT_LOOKBACK)
    if list(reasons) == [WALK]:
        return Prepared(material, (), "[model] kind asks for the random walk", None, None)
    base, no_base = base_for(ws.settings.model, material)
    fit = (kind for kind in wanted if reasons[kind.kind] is None)
    kinds = tuple(kind for kind in fit if kind.kind not in (WALK, BASE))
    unfit = "; ".join(filter(None, reasons.values()))
    return Prepared(material, kinds, unfit or None, base, no_base)


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
    levels, folds = settings.model.levels, settings.tune.folds
    plans, searches = [plan for _, plan in untuned(prepared, levels, seed)], []
    for kind in prepared.kinds:
        model = prepared.tunable(kind)
        if model is not kind:
            plans.append(TrainingPlan(kind, kind.defaults(), levels, seed))
        best = TrainingPlan(model, model.defaults(), levels, seed)
        if idle_report(model, settings.tune.trials) is not None:
            plans.append(best)
        else:
            plan = search_plan(settings.tune, None, "", seed)
            searches.append(SearchAhead(best, plan, folds, settings.data.validation_bars))
    return Ahead(prepared.material, tuple(plans), tuple(searches))


def untuned(
    prepared: Prepared, levels: tuple[float, ...], seed: int
) -> list[tuple[str, TrainingPlan]]:
    """Return the random walk and the base network, if there is one, with their roles."""
    plans = [(WALK, TrainingPlan(models.get(WALK), {}, levels, seed))]
    if prepared.base is not None:
        network = models.get(BASE).started_at(prepared.base.network)
        plans.append((BASE, TrainingPlan(network, network.defaults(), levels, seed)))
    return plans
