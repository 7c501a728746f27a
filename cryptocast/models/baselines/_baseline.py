"""What all baselines share: nothing to tune, nothing random, nothing held out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryptocast.errors import ConfigError
from cryptocast.seams import Params, Trial
from cryptocast.values import FEATURES, Epoch, Fitted, FloatArray, IntArray, Windows


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """The origins that a baseline learns from, N in all.

    Both parts are used: nothing is selected, so nothing is held out. They are never joined
    as a whole, for the windows are views of one array of features and a copy of a year of
    them takes a gigabyte.
    """

    parts: tuple[Windows, ...]

    @property
    def lookback(self) -> int:
        """L, the bars of a window."""
        return int(self.parts[0].inputs.shape[1])

    @property
    def horizon(self) -> int:
        """H, the steps of a target."""
        return int(self.parts[0].targets.shape[1])

    @property
    def origin(self) -> IntArray:
        """[N] Unix seconds."""
        return np.concatenate([part.origin for part in self.parts])

    @property
    def market(self) -> NDArray[np.intp]:
        """[N] index of the market."""
        return np.concatenate([part.market for part in self.parts])

    @property
    def bar_seconds(self) -> int:
        """The least time between two origins; 0 where there are no two."""
        apart = np.diff(np.unique(self.origin))
        return int(apart.min()) if len(apart) else 0

    @property
    def sigma(self) -> FloatArray:
        """[N] volatility of one bar at the origin."""
        return np.concatenate([part.sigma for part in self.parts])

    @property
    def targets(self) -> FloatArray:
        """[N, H] log-returns from the last close; NaN where unknown."""
        return np.concatenate([part.targets for part in self.parts])

    @property
    def standardised(self) -> FloatArray:
        """[N, H] the targets in units of sigma * sqrt(step)."""
        return np.concatenate([part.standardised for part in self.parts])

    def newest(self, *names: str) -> FloatArray:
        """[N, len(names)] features of the last bar."""
        places = [FEATURES.index(name) for name in names]
        return np.concatenate([part.inputs[:, -1, places] for part in self.parts])

    def feature(self, name: str) -> FloatArray:
        """[N, L] one feature of every bar of every window."""
        place = FEATURES.index(name)
        return np.concatenate([part.inputs[:, :, place] for part in self.parts])


class Baseline(ABC):
    """A model kind without parameters; a child says what it learns from the past."""

    kind: str
    notes: tuple[str, ...] = ()
    """What its fitted parameters may tell that nobody can set: accepted, so that a training
    can be repeated with them, and found anew."""

    def started_at(self, network: str) -> Baseline:
        """Itself: it starts at nothing."""
        return self

    def least_bars(self, lookback: int, horizon: int) -> int:
        """Any number of training bars will do."""
        return 1

    def defaults(self) -> Params:
        """No parameters."""
        return {}

    def suggest(self, trial: Trial) -> Params:
        """Nothing to search."""
        return {}

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        levels: Sequence[float],
        params: Params,
        seed: int,
        on_epoch: Callable[[Epoch, int], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Fitted:
        """Learn from both parts. Raises ConfigError for any parameter."""
        unknown = set(params) - set(self.notes)
        if unknown:
            raise ConfigError(
                f"the {self.kind} has no parameter '{min(unknown)}'",
                code="config.params",
                hint="it takes none",
            )
        return self.learn(Past((train, validation)), levels)

    @abstractmethod
    def learn(self, past: Past, levels: Sequence[float]) -> Fitted:
        """What `fit` gives, whatever the past holds: no window, only zeros, a crash."""
