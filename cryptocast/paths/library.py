"""The library: whole residual paths of several coins, each standardised by the scale curve.

A path of one coin keeps what no formula draws: quiet and wild hours come in runs, and large
moves are more frequent than a normal distribution has them. The paths of all coins at one
origin happened together, which makes simulated markets move together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryptocast.values import FloatArray

LARGEST = 40.0
"""The largest residual that a code holds, in mean sizes of a move."""

_CODES = 127


def encode(residuals: FloatArray) -> NDArray[np.int8]:
    """Return residuals as codes: the square root of their size, so that small ones are finer."""
    root = np.sqrt(np.minimum(np.abs(residuals), LARGEST) / LARGEST)
    return np.asarray(np.rint(np.sign(residuals) * root * _CODES), dtype=np.int8)


def decode(codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the residuals of codes."""
    return np.asarray(_table()[codes.view(np.uint8)])


def _table() -> NDArray[np.float32]:
    """Return the residual of each code, at the place of its unsigned byte."""
    codes = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64) / _CODES
    return (np.sign(codes) * codes**2 * LARGEST).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """The origin, rotation and sign of N paths: the same for all markets of a simulation."""

    origin: NDArray[np.intp]  # [N]
    rotation: NDArray[np.intp]  # [N] of the coins
    sign: NDArray[np.float32]  # [N]

    @classmethod
    def of(cls, paths: int, library: Library, seed: int, origin: int) -> Draw:
        """Draw N paths; the same seed and origin (Unix seconds) give the same ones."""
        rng = np.random.default_rng([seed, origin])
        origins, coins, _ = library.codes.shape
        return cls(
            rng.integers(origins, size=paths),
            rng.integers(coins, size=paths),
            (2 * rng.integers(2, size=paths) - 1).astype(np.float32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """Residual paths of C coins at O common origins."""

    codes: NDArray[np.int8]  # [O, C, LEADS]

    def residuals(self, draw: Draw, place: int, steps: int) -> NDArray[np.float32]:
        """Return the first steps [N, steps] of the drawn paths for the coin at a place (0, 1 ...).

        Different places get different coins of the same origins. From the C-th on origins are
        others, so that no two places get the same path.
        """
        origins, coins, _ = self.codes.shape
        around, coin = divmod(place, coins)
        shifted = (draw.origin + around * (origins // 2 + 1)) % origins
        codes = self.codes[shifted, (draw.rotation + coin) % coins, :steps]
        return decode(codes) * draw.sign[:, None]
