"""The training data of one market for a base network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """N origins of one market, with only the newest bar of each instead of a window."""

    newest: NDArray[np.float32]  # [N, F] features of the bar before the origin
    targets: NDArray[np.float32]  # [N, H] in units of sigma * sqrt(step), NaN where unknown
