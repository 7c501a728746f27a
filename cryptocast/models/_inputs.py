"""Inputs of a training besides its parameters: the data of a market, and how the training runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryptocast.values import Epoch


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """N origins of one market for a base network: the newest bar of each instead of a window."""

    newest: NDArray[np.float32]  # [N, F] features of the bar before the origin
    targets: NDArray[np.float32]  # [N, H] in units of sigma * sqrt(step), NaN where unknown


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One run of a training: its seed, its reports, the file of its state, and its time limit.

    `on_epoch` is called with each epoch and the highest possible number of epochs. `checkpoint`
    is the file of a training that was interrupted, or may be. No epoch begins after `deadline`,
    on the monotonic clock.
    """

    seed: int
    on_epoch: Callable[[Epoch, int], None] | None = None
    checkpoint: Path | None = None
    deadline: float = math.inf
