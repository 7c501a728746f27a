"""The library: whole residual paths of several coins, each standardised by the scale curve.

A path of one coin keeps what no formula draws: quiet and wild hours come in runs, and large
moves are more frequent than a normal distribution has them. The paths of all coins at one
origin happened together, which makes simulated markets move together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryptocast.paths.curve import ScaleCurve
from cryptocast.paths.predictors import CONTEXT_DAYS, Grid, day_bars, predictors
from cryptocast.values import FloatArray

LARGEST = 40.0
"""The largest residual that a code holds, in mean sizes of a move."""

OWN_ORIGINS = 200
"""How many origins of a market's own past are looked at."""

_LEAST_OWN = 60  # usable origins: of 18 days, besides the week before them
_LEAST_BEHIND_DAYS = 7
_PRIOR_OWN = 50  # usable origins that count as much as the library does
_CODES = 127
_LEAST_LEVELLED = 100  # paths: the mean of fewer is mostly what these paths are
_RANKED = 0.999  # of the sizes: those above rest on few days, and keep their ratio to it


def past_bars(interval_seconds: int) -> int:
    """Return how many bars before an origin its paths look at.

    They begin four weeks before the oldest origin of the market's own past.
    """
    day = day_bars(interval_seconds)
    return (CONTEXT_DAYS + 1) * day + _own_stride(day) * (OWN_ORIGINS - 1)


def _own_stride(day: int) -> int:
    """Return the bars between own origins: some 7 hours, so that the oldest is 60 days back.

    It shares no factor with the day of any interval, so that every time of the day comes.
    """
    return round(0.295 * day) | 1


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
    """Where each of N paths comes from: the same for all markets of a simulation."""

    origin: NDArray[np.intp]  # [N] of the library
    rotation: NDArray[np.intp]  # [N] of its coins
    own: NDArray[np.intp]  # [N] the number of an origin in the market's own past; none: -1
    sign: NDArray[np.float32]  # [N]

    @classmethod
    def of(cls, paths: int, library: Library, seed: int, origin: int) -> Draw:
        """Draw N paths; the same seed and origin (Unix seconds) give the same ones.

        Every second path is the one before it upside down: as many paths say more.
        """
        rng = np.random.default_rng([seed, origin])
        origins, coins, _ = library.codes.shape
        pairs = -(-paths // 2)
        own = np.full(pairs, -1)
        # Each as often as any other: the same path drawn twice would say nothing new.
        own[: pairs // 2] = np.resize(rng.permutation(OWN_ORIGINS), pairs // 2)
        rng.shuffle(own)
        sign = (2 * rng.integers(2, size=pairs) - 1).astype(np.float32)
        return cls(
            rng.integers(origins, size=pairs).repeat(2)[:paths],
            rng.integers(coins, size=pairs).repeat(2)[:paths],
            own.repeat(2)[:paths],
            np.column_stack([sign, -sign]).ravel()[:paths],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """Residual paths of C coins at O common origins."""

    codes: NDArray[np.int8]  # [O, C, D]

    def residuals(self, draw: Draw, place: int, own: Own | None = None) -> NDArray[np.float32]:
        """Return the drawn paths [N, D] for the coin at a place (0, 1 ...).

        Different places get different coins of the same origins. From the C-th on origins are
        others, so that no two places get the same path. `own` is what followed the market's own
        origins: about half of the paths come from there, and the sizes of the others are
        distributed as those were. The mean size of many paths is the same at every step: it
        would vary by chance.
        """
        origins, coins, _ = self.codes.shape
        around, coin = divmod(place, coins)
        shifted = (draw.origin + around * (origins // 2 + 1)) % origins
        codes = self.codes[shifted, (draw.rotation + coin) % coins]
        if own is None:
            drawn = decode(codes)
        else:
            its = (draw.own >= 0) & own.usable[draw.own]
            drawn = own.table(codes)[codes.view(np.uint8)]
            drawn[its] = own.residuals[draw.own[its]]
        if len(drawn) >= _LEAST_LEVELLED:
            means = np.abs(drawn).mean(axis=0)
            drawn *= means.mean() / means
        drawn *= draw.sign[:, None]
        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """Residual paths of one market after `OWN_ORIGINS` origins of its last two months."""

    residuals: NDArray[np.float32]  # [OWN_ORIGINS, D]
    usable: NDArray[np.bool_]  # [OWN_ORIGINS] False: too little is stored around it

    def table(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return the residual [256] of each code, such that these codes get our distribution.

        A code's size is drawn towards the one that as many of the market's own residuals are
        smaller than: on another venue moves are more often none, and more often large.
        """
        signed = np.bincount(codes.view(np.uint8).ravel(), minlength=256)
        count = signed[: _CODES + 1] + np.append(0, signed[:_CODES:-1])[: _CODES + 1]
        rank = (np.cumsum(count) - count / 2) / codes.size
        ranked = np.sort(np.abs(self.residuals[self.usable]), axis=None)
        place = np.minimum((rank * len(ranked)).astype(np.intp), len(ranked) - 1)
        theirs = _table()[: _CODES + 1]
        last = min(int(np.searchsorted(rank, _RANKED)), _CODES)
        ours = np.where(rank < _RANKED, ranked[place], theirs * ranked[place[last]] / theirs[last])
        sizes = theirs + self._share() * (ours - theirs)
        return np.concatenate([sizes, [0.0], -sizes[:0:-1]]).astype(np.float32)

    def _share(self) -> float:
        """Return how much the market's own past counts beside the library, between 0 and 1."""
        count = int(self.usable.sum())
        return count / (count + _PRIOR_OWN)

    def widen(self, moves: FloatArray, size: FloatArray) -> None:
        """Give whole days of moves [N, D] in place the size that the market's own days had.

        `size` [D] is the curve. Moves of the same size add up to more where they follow each
        other, and to less where they bounce: of that the library knows other markets. The mean
        size of the paths' days is drawn towards that of the usable ones, and what a day gains or
        loses is spread over its steps.
        """
        days = moves.sum(axis=1)
        ours, its = np.abs(days).mean(), np.abs(self.residuals[self.usable] @ size).mean()
        if ours > 0 and its > 0:
            factor = (its / ours) ** self._share()
            moves += ((factor - 1) / moves.shape[1] * days)[:, None]


def own_residuals(curve: ScaleCurve, bars: Grid) -> Own | None:
    """Return what followed the origins in the last two months of bars, in units of the curve.

    The newest of them is a day before the end of the bars. None if too few are usable.
    """
    day = len(curve.day)
    at = len(bars.open_time) - day - _own_stride(day) * np.arange(OWN_ORIGINS)
    week = _LEAST_BEHIND_DAYS * day
    seen = np.concatenate([[0], np.cumsum(~bars.missing)])
    ahead = seen[np.maximum(at + day, 0)] - seen[np.maximum(at, 0)]
    behind = seen[np.maximum(at, 0)] - seen[np.maximum(at - week, 0)]
    usable = (ahead >= 0.9 * day) & (behind >= 0.9 * week)
    if usable.sum() < _LEAST_OWN:
        return None
    residuals = np.zeros((OWN_ORIGINS, day), dtype=np.float32)
    moves = bars.log_return[at[usable, None] + np.arange(day)]
    residuals[usable] = moves / curve.sizes(predictors(bars, at[usable]))
    return Own(np.clip(residuals, -LARGEST, LARGEST), usable)
