"""The rolling origins that a search is judged on, and the random walk's score on each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryptocast.dataset import Part, rolling
from cryptocast.errors import StateError
from cryptocast.seams import ModelKind
from cryptocast.values import FloatArray, Windows
from cryptocast.workflows.learning.material import Material
from cryptocast.workflows.learning.scoring import walk_crps
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One rolling origin, used as training will be: learn, stop early, then be judged unseen.

    The windows are cut when they are asked for: those of all folds of many markets would not
    fit into memory together.
    """

    material: Material
    parts: tuple[Part, Part, Part]
    walk: FloatArray  # [N, H] CRPS of the random walk on what judges, bp

    @property
    def learn(self) -> Windows:
        """What is learned from."""
        return self.material.windows(self.parts[0])

    @property
    def stop(self) -> Windows:
        """What stops the training early."""
        return self.material.windows(self.parts[1])

    @property
    def judge(self) -> Windows:
        """What judges it."""
        return self.material.windows(self.parts[2])


def rolling_folds(ws: Workspace, material: Material, model: ModelKind) -> list[Fold]:
    """As many folds as `[tune] folds` says and the candles allow.

    Each stops early on the last bars of what it learns from (`[data] validation_bars`, a
    quarter at most), as training does, not on the stretch that judges it: on 7 (coin, week)
    pairs that flattered a trial by 0.9 % of CRPS, where an unseen stretch was right to 0.1 %
    and chose better parameters for the two days after. Raises StateError where nothing can
    be judged.
    """
    bar = material.interval_seconds
    least = model.least_bars(material.lookback, material.horizon)
    for wanted in range(ws.settings.tune.folds, 0, -1):
        found = []
        for before, judge in rolling(material.learned, bar, folds=wanted):
            stop = min(ws.settings.data.validation_bars, before.bars(bar) // 4)
            cut = before.end - stop * bar
            learn = Part(before.start, cut)
            if judge.bars(bar) > material.horizon and learn.bars(bar) >= least:
                found.append(_fold(ws, material, learn, Part(cut, before.end), judge))
        if len(found) == wanted and all(map(_can_judge, found)):
            return found
    # Too few, or too many gaps: the split of the training itself, judged by what stops it.
    split = material.split
    last = _fold(ws, material, split.train, split.validation, split.validation)
    if not _can_judge(last):
        raise StateError(
            f"the {model.kind} cannot be tuned: no origin has a whole window and an outcome",
            code="state.no_windows",
            hint="more [data] days in cryptocast.toml, then cryptocast fetch",
        )
    return [last]


def _fold(ws: Workspace, material: Material, learn: Part, stop: Part, judge: Part) -> Fold:
    first, second, third = (material.windows(part) for part in (learn, stop, judge))
    walk = np.empty((0, material.horizon))
    if len(first) and len(second) and len(third):
        walk = walk_crps(first, second, third, ws.settings.model.levels)
    return Fold(material, (learn, stop, judge), walk)


def _can_judge(fold: Fold) -> bool:
    return bool(np.isfinite(fold.walk).any())
