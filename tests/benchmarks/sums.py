"""Losses summed by week, and the skill that they come to with its standard error.

Coins of one era move together, so a standard error is a jackknife over weeks of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from eras import HORIZON

from cryptocast.dataset.days import MOST_DAYS
from cryptocast.values import FloatArray, IntArray

_WEEK = 7 * 86_400


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Summed losses of an era [B, S, H]: of B weeks and S series, a week of all of them a block."""

    model: FloatArray
    walk: FloatArray
    origins: IntArray  # [B, S] how many there are

    @classmethod
    def of(cls, parts: Sequence[tuple[IntArray, FloatArray, FloatArray]]) -> Sums:
        """From each series' origins [N], and losses [N, H] of the model and of the walk.

        Only what both have forecast counts.
        """
        weeks = [origin // _WEEK for origin, _, _ in parts]
        first = min(int(week[0]) for week in weeks)
        shape = (max(int(week[-1]) for week in weeks) - first + 1, len(parts), HORIZON)
        sums, origins = (np.zeros(shape), np.zeros(shape)), np.zeros(shape[:2], dtype=np.int64)
        for place, (week, (_, *losses)) in enumerate(zip(weeks, parts, strict=True)):
            known = np.isfinite(losses).all(axis=0)
            np.add.at(origins[:, place], week - first, 1)
            for total, loss in zip(sums, losses, strict=True):
                np.add.at(total[:, place], week - first, np.where(known, loss, 0.0))
        return cls(*sums, origins)

    def weeks_alike(self) -> Sums:
        """The skill of each week, with the same weight for every one of a series.

        Summed losses are mostly those of the wildest weeks. The first weeks are left out, until
        the profile has all its days before it, and those with fewer than half of the origins.
        """
        whole = self.origins.max(axis=0)
        before = np.cumsum(self.origins, axis=0) - self.origins
        counted = (before >= MOST_DAYS / 7 * whole) & (self.origins >= whole / 2)
        walk = np.where(counted[..., None] & (self.walk > 0), 1.0, 0.0)
        ratio = np.divide(self.model, self.walk, out=np.zeros_like(walk), where=walk > 0)
        return Sums(ratio, walk, self.origins)

    def without(self, block: int | None) -> FloatArray:
        """[H] skill, a mean over the series, with one week left out."""
        left = [np.delete(each, [] if block is None else block, axis=0).sum(axis=0)
                for each in (self.model, self.walk)]  # fmt: skip
        return np.asarray(np.mean(1 - left[0] / left[1], axis=0))

    def skill(self) -> FloatArray:
        """[H]."""
        return self.without(None)

    def left_out(self) -> FloatArray:
        """[B, H] the skill without each week."""
        return np.stack([self.without(block) for block in range(len(self.walk))])


def jackknife(left_out: FloatArray) -> float:
    """The standard error of what came out with each block left out [B]."""
    blocks = len(left_out)
    return float(np.sqrt((blocks - 1) / blocks * np.sum((left_out - left_out.mean()) ** 2)))


def in_percent(left_out: FloatArray, whole: float) -> str:
    """A figure in per cent with its standard error."""
    return f"{100 * whole:+.2f} ({100 * jackknife(left_out):.2f})"


def told(left_out: FloatArray, whole: FloatArray) -> tuple[str, str]:
    """Step 1 and the mean of all steps of [B, H] and [H], each with its standard error."""
    first = in_percent(left_out[:, 0], float(whole[0]))
    return first, in_percent(left_out.mean(axis=1), float(whole.mean()))
