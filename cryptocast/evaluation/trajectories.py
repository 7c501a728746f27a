"""Scores of simulated price paths. Paths are closes [N, S + 1], the first one at the origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryptocast.evaluation.metrics import BP
from cryptocast.values import FloatArray, IntArray

_SCALES = {"30m": 1800, "3h": 10_800, "24h": 86_400}

Figure = Callable[[NDArray[np.bool_]], float]
"""A figure of the origins that a mask [N] keeps."""

_SHARES = (0.8, 0.9)


@dataclass(frozen=True, slots=True, eq=False)
class Increments:
    """The scores of one market's paths at each of K scales; a scale beyond the paths is NaN."""

    crps: FloatArray  # [K] in bp, summed over the path, as the league does
    inside: FloatArray  # [2, K] share of increments inside the 80 and 90 % range


def day_scales(interval: str, seconds: int) -> dict[str, int]:
    """Return the lengths in steps of the increments that the league Synth scores, by name.

    They are a step (the league's has 5 minutes), 30 minutes, 3 hours and a day.
    """
    return {interval: 1, **{name: length // seconds for name, length in _SCALES.items()}}


def increments(paths: FloatArray, actual: FloatArray, scales: Sequence[int]) -> Increments:
    """Return the CRPS and coverage of relative increments without overlap, at each scale."""
    count = len(paths)
    weight = 2 * np.arange(1, count + 1) - count - 1
    crps, inside = np.full(len(scales), np.nan), np.full((2, len(scales)), np.nan)
    for i, scale in enumerate(scales):
        if scale >= len(actual):
            break
        moves, move = (
            BP * np.diff(w[..., ::scale]) / w[..., :-1:scale][..., : (len(actual) - 1) // scale]
            for w in (paths, actual)
        )
        ranked = np.sort(moves, axis=0)
        # The league's estimate: mean |x - y| less half the mean |x - x'| of all pairs.
        apart = np.abs(ranked - move).mean(axis=0)
        crps[i] = float((apart - weight @ ranked / count**2).sum())
        for j, share in enumerate(_SHARES):
            low, high = (_of_ranked(ranked, (1 + side * share) / 2) for side in (-1, 1))
            inside[j, i] = float(((low <= move) & (move <= high)).mean())
    return Increments(crps, inside)


def _of_ranked(ranked: FloatArray, level: float) -> FloatArray:
    """Return the quantile [K] at a level of rising values [N, K]."""
    below, share = divmod(level * (len(ranked) - 1), 1)
    first = int(below)
    last = min(first + 1, len(ranked) - 1)
    return np.asarray((1 - share) * ranked[first] + share * ranked[last])


def energy(paths: FloatArray, actual: FloatArray) -> float:
    """Return the energy score of points [N, D] against what came [D] (Gneiting & Raftery 2007).

    The distance between paths is that of each to a fifth of the others, which is near enough.
    """
    near = np.linalg.norm(paths - actual, axis=1).mean()
    shifts = range(1, len(paths) // 2, 5)
    apart = [np.linalg.norm(paths - np.roll(paths, s, axis=0), axis=1).mean() for s in shifts]
    return float(near - np.mean(apart) / 2)


def relative(ours: FloatArray, theirs: FloatArray, blocks: IntArray) -> tuple[float, float | None]:
    """Return the sum of losses [N] relative to another's, less 1, and its standard error.

    The error is a jackknife over blocks of neighbouring origins, None if there is one only.
    """
    gain = float(ours.sum() / theirs.sum() - 1)
    return gain, jackknife(blocks, lambda kept: float(ours[kept].sum() / theirs[kept].sum()))


def jackknife(blocks: IntArray, figure: Figure) -> float | None:
    """Return the standard error of a figure of the origins kept, by leaving out block by block."""
    every = np.unique(blocks)
    if len(every) < 2:
        return None
    left = [figure(blocks != block) for block in every]
    return float(np.sqrt((len(every) - 1) * np.var(left)))


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same probability: what they said on average, and how often it came."""

    n: int
    said: float
    came: float


def reliability(said: FloatArray, came: FloatArray, bins: int = 10) -> Sequence[Bin]:
    """Return the bins of probabilities [N] that hold any, from unlikely to likely."""
    place = np.minimum((said * bins).astype(np.intp), bins - 1)
    return tuple(
        Bin(int((place == b).sum()), float(said[place == b].mean()), float(came[place == b].mean()))
        for b in range(bins)
        if (place == b).any()
    )
