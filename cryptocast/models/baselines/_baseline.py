"""The base of all baselines: nothing to tune, nothing random, nothing held out.

Beside it lies the correction of volatility that several of them learn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cryptocast.errors import ConfigError
from cryptocast.models._graphs import Graph
from cryptocast.seams import Params, TrainingRun, Trial
from cryptocast.values import FEATURES, Fitted, FloatArray, Windows

_CLIP = 12.0  # larger standardised targets count as this, so that one crash does not rule
_RIDGE = 400.0  # the best of 20, 100, 400 and 1,600 over 24 steps of har, within noise


@dataclass(frozen=True, slots=True, eq=False)
class PastOrigins:
    """The origins that a baseline learns from, N in all.

    Both parts of a training are used: nothing is selected, so nothing is held out. They are
    never joined as a whole, because the windows are views of one array of features and a copy
    of a year of them takes a gigabyte.
    """

    parts: tuple[Windows, ...]

    @property
    def lookback(self) -> int:
        """L, the number of bars in a window."""
        return int(self.parts[0].inputs.shape[1])

    @property
    def horizon(self) -> int:
        """H, the number of steps of a target."""
        return int(self.parts[0].targets.shape[1])

    @property
    def origins(self) -> Windows:
        """All N origins; as inputs [N, 1, F] they hold only the newest bar."""
        return Windows.concatenate([replace(p, inputs=p.inputs[:, -1:]) for p in self.parts])

    @property
    def bar_seconds(self) -> int:
        """The shortest time between two origins; 0 if there are fewer than two."""
        apart = np.diff(np.unique(self.origins.origin))
        return int(apart.min()) if len(apart) else 0

    def newest(self, *names: str) -> FloatArray:
        """Return [N, len(names)] features of the last bar, for sums in doubles."""
        places = [FEATURES.index(name) for name in names]
        return np.concatenate([part.inputs[:, -1, places] for part in self.parts], dtype=np.float64)

    def feature(self, name: str) -> FloatArray:
        """Return [N, L] one feature of every bar of every window, for sums in doubles."""
        place = FEATURES.index(name)
        return np.concatenate([part.inputs[:, :, place] for part in self.parts], dtype=np.float64)


class Baseline(ABC):
    """A model kind without parameters; a child decides what it learns from the past."""

    kind: str
    notes: tuple[str, ...] = ()
    """Keys that the fitted parameters may hold, but nobody can set: they are accepted, so that a
    training can be repeated with them, and found anew."""

    def started_at(self, network: str) -> Baseline:
        """Return itself: a baseline starts at no network."""
        return self

    def least_bars(self, lookback: int, horizon: int) -> int:
        """Return 1: any number of training bars will do."""
        return 1

    def defaults(self) -> Params:
        """Return no parameters."""
        return {}

    def suggest(self, trial: Trial) -> Params:
        """Return no parameters: there is nothing to search."""
        return {}

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        levels: Sequence[float],
        params: Params,
        run: TrainingRun,
    ) -> Fitted:
        """Learn from both parts. Raise ConfigError for any parameter."""
        unknown = set(params) - set(self.notes)
        if unknown:
            raise ConfigError(
                f"the {self.kind} has no parameter '{min(unknown)}'",
                code="config.params",
                hint="it takes none",
            )
        return self.learn(PastOrigins((train, validation)), levels)

    @abstractmethod
    def learn(self, past: PastOrigins, levels: Sequence[float]) -> Fitted:
        """Return what `fit` returns, whatever the past holds: no window, only zeros, a crash."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """A correction of log-volatility, linear in what is known at the origin.

    `log_scale = clip(x @ weights - centre, -bound, bound)`, with mean 0 in the past.
    """

    weights: FloatArray  # [P, H]
    centre: FloatArray  # [H]
    bound: float

    def log_scale(self, predictors: FloatArray) -> FloatArray:
        """Return the correction [N, H] for predictors [N, P]."""
        return np.clip(predictors @ self.weights - self.centre, -self.bound, self.bound)

    def draw(self, graph: Graph, predictors: str) -> str:
        """Draw the correction into a graph; return the name of its output."""
        linear = graph.MatMul(predictors, graph.fixed(self.weights))
        centred = graph.Sub(linear, graph.fixed(self.centre))
        return graph.Clip(centred, graph.fixed(-self.bound), graph.fixed(self.bound))


def learn_correction(
    predictors: FloatArray, paths: FloatArray, ratios: FloatArray, bound: float
) -> Correction:
    """Return the correction that the past suggests, from predictors [N, P] and ratios [N, H].

    The log-scale of an origin with predictors x [P] to step h is `x @ paths[h] @ c`. The fixed
    `paths` [H, P, C] say how the C free numbers run over predictors and steps, so that few
    numbers serve all steps: the targets of neighbouring steps overlap, and one number per step
    would be noise.

    The numbers come from a ridge regression of each standardised target's size, relative to
    the mean size of its step, on `predictors @ paths`: one step of Fisher scoring for a gamma
    regression with a log link (McCullagh & Nelder 1989, 8.3), from no correction at all. More
    steps changed nothing. Step h counts 1/h, because its targets overlap h times. If nothing
    is known, or nothing moved, there is no correction.
    """
    known = np.isfinite(ratios)
    counts = np.maximum(known.sum(axis=0), 1)
    size = np.where(known, np.minimum(np.abs(ratios), _CLIP), 0.0)
    typical = size.sum(axis=0) / counts
    excess = np.where(known & (typical > 0), size / np.where(typical > 0, typical, 1.0) - 1, 0.0)

    mean = predictors.sum(axis=0) / max(len(predictors), 1)
    centred = predictors - mean
    gram = _RIDGE * np.eye(paths.shape[2])
    slope = np.zeros(paths.shape[2])
    for step, path in enumerate(paths, start=1):
        seen = centred[known[:, step - 1]]
        gram += path.T @ (seen.T @ seen) @ path / step
        slope += path.T @ (centred.T @ excess[:, step - 1]) / step
    weights = (paths @ np.linalg.solve(gram, slope)).T
    return Correction(weights, mean @ weights, bound)
