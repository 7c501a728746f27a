"""Fit a model on material, and score it on its validation part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryptocast import evaluation
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.compute.scoring import crps, walk_crps
from cryptocast.seams import TrainingRun
from cryptocast.values import Fitted


@dataclass(frozen=True, slots=True)
class Fitting:
    """A training to be done, and how it reports."""

    plan: TrainingPlan
    run: TrainingRun

    @property
    def key(self) -> str:
        """A name that the same training on the same material has again."""
        plan = self.plan
        return f"fit {plan.model.kind} {sorted(plan.params.items())} {plan.levels} {plan.seed}"


@dataclass(frozen=True, slots=True, eq=False)
class Validated:
    """A fitted model and its CRPS on the validation part.

    In bp, and relative to the random walk's; both are NaN if that part is too short to score an
    origin.
    """

    fitted: Fitted
    crps_bp: float
    relative: float


def train(fitting: Fitting, material: Material) -> Validated:
    """Fit on the training part with early stopping on the validation part, and score it there."""
    plan = fitting.plan
    split = material.split
    # Nobody here holds these while the model learns: of many markets they are 0.1 GB each.
    parts = [material.windows(part) for part in (split.train, split.validation)]
    learned, held_out = (windows.newest() for windows in parts)  # all that the walk looks at
    fitted = plan.model.fit(
        parts.pop(0), parts.pop(0), levels=plan.levels, params=plan.params, run=fitting.run
    )
    loss = crps(fitted, material.windows(split.validation), plan.levels)
    walk = walk_crps(learned, held_out, held_out, plan.levels)
    known = np.isfinite(loss)
    in_bp = float(loss[known].mean()) if known.any() else float("nan")
    return Validated(fitted, in_bp, evaluation.relative_crps(loss, walk))
