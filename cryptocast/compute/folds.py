"""The rolling origins that a search is judged on, and the scores on each of them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from cryptocast import evaluation
from cryptocast.compute.material import Material, TrainingPlan
from cryptocast.compute.scoring import crps, walk_crps
from cryptocast.dataset import Part, rolling
from cryptocast.errors import ModelError, StateError
from cryptocast.seams import TrainingRun
from cryptocast.tuning import FoldScore, TrialFold
from cryptocast.values import FloatArray, Windows


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One rolling origin, used as training will be: learn, stop early, then be judged unseen.

    Windows are cut on demand: those of all folds of many markets would not fit into memory.
    """

    material: Material
    parts: tuple[Part, Part, Part]
    walk: FloatArray  # [N, H] CRPS of the random walk on the windows that judge, bp

    @property
    def learn(self) -> Windows:
        """The windows that are learned from."""
        return self.material.windows(self.parts[0])

    @property
    def stop(self) -> Windows:
        """The windows that stop the training early."""
        return self.material.windows(self.parts[1])

    @property
    def judge(self) -> Windows:
        """The windows that judge the model."""
        return self.material.windows(self.parts[2])


def rolling_folds(
    material: Material, training: TrainingPlan, *, folds: int, validation_bars: int
) -> list[Fold]:
    """Return up to `folds` folds, fewer if there are too few candles.

    Each stops early on the last bars of what it learns from (`validation_bars`, a quarter at
    most), as training does, not on the stretch that judges it: on 7 (coin, week) pairs that
    flattered a trial by 0.9 % of CRPS, while an unseen stretch was right to 0.1 % and chose
    better parameters for the two days after. Raises StateError if nothing can be judged.
    """
    bar, levels = material.interval_seconds, training.levels
    least = training.model.least_bars(material.lookback, material.horizon)
    for wanted in range(folds, 0, -1):
        chosen = []
        for before, judge in rolling(material.learned, bar, folds=wanted):
            cut = before.end - min(validation_bars, before.bars(bar) // 4) * bar
            learn = Part(before.start, cut)
            if judge.bars(bar) > material.horizon and learn.bars(bar) >= least:
                chosen.append(_fold(material, levels, (learn, Part(cut, before.end), judge)))
        if len(chosen) == wanted and all(map(_can_judge, chosen)):
            return chosen
    # Too few candles or too many gaps: use the split of the training, judged by what stops it.
    split = material.split
    last = _fold(material, levels, (split.train, split.validation, split.validation))
    if not _can_judge(last):
        raise StateError(
            f"the {training.model.kind} cannot be tuned: no origin has a whole window "
            "and an outcome",
            code="state.no_windows",
            hint="more [data] days in cryptocast.toml, then cryptocast fetch",
        )
    return [last]


def _fold(material: Material, levels: tuple[float, ...], parts: tuple[Part, Part, Part]) -> Fold:
    # The last bar alone, which is more than the random walk looks at.
    learn, stop, judge = (material.windows(part).newest() for part in parts)
    walk = np.empty((0, material.horizon))
    if len(learn) and len(stop) and len(judge):
        walk = walk_crps(learn, stop, judge, levels)
    return Fold(material, parts, walk)


def _can_judge(fold: Fold) -> bool:
    return bool(np.isfinite(fold.walk).any())


@dataclass(frozen=True, slots=True, eq=False)
class FoldsPlan:
    """All that the trials of a search have in common."""

    folds: tuple[Fold, ...]
    training: TrainingPlan  # with other parameters in each trial

    @classmethod
    def of(
        cls, material: Material, training: TrainingPlan, folds: int, validation_bars: int
    ) -> FoldsPlan:
        """Lay out the folds; see `rolling_folds`."""
        laid = rolling_folds(material, training, folds=folds, validation_bars=validation_bars)
        return cls(tuple(laid), training)

    @property
    def digest(self) -> str:
        """A hash of the material, as `Material.digest`."""
        return self.folds[0].material.digest

    @property
    def scope(self) -> str:
        """The kind that is searched: trials of several kinds may have the same parameters."""
        return self.training.model.kind


def fold_score(piece: TrialFold, plan: FoldsPlan) -> FoldScore:
    """Fit a trial's parameters on a fold, and score them relative to the random walk."""
    started, fold = time.perf_counter(), plan.folds[piece.fold]
    loss = _loss(fold, replace(plan.training, params=piece.params))
    value = in_bp = math.nan
    if loss is not None:
        value, in_bp = evaluation.relative_crps(loss, fold.walk), float(np.nanmean(loss))
    return FoldScore(value, in_bp, time.perf_counter() - started)


def _loss(fold: Fold, training: TrainingPlan) -> FloatArray | None:
    """Return the CRPS [N, H] in bp of a model fit on a fold, or None if its training diverged."""
    try:
        fitted = training.model.fit(
            fold.learn,
            fold.stop,
            levels=training.levels,
            params=training.params,
            run=TrainingRun(training.seed),
        )
    except ModelError as error:
        if error.code != "model.diverged":
            raise
        return None
    loss = crps(fitted, fold.judge, training.levels)
    return loss if np.isfinite(loss[np.isfinite(fold.walk)]).all() else None
