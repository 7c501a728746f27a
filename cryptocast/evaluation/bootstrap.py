"""The circular block bootstrap: how far a mean of autocorrelated differences may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from cryptocast.values import FloatArray

_FEWEST_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class Resampling:
    """The plan by which a series of `n` is resampled: block length, number of draws, and seed."""

    n: int
    block: int
    resamples: int
    seed: int = 0

    @classmethod
    def of(cls, n: int, block: int, resamples: int) -> Resampling:
        """Plan blocks of that length, or of half the series if it is shorter than two of them."""
        return cls(n, max(min(block, n // _FEWEST_BLOCKS), 1), resamples)

    @property
    def blocks(self) -> float:
        """Number of blocks that the series holds."""
        return self.n / self.block


def block_length(n: int, overlap: int) -> int:
    """Return twice the origins whose targets overlap, and no less than the cube root of `n`.

    The rate is that of Hall, Horowitz & Jing (1995) for the variance of a mean.
    """
    return max(2 * overlap, math.ceil(math.cbrt(n)))


def resampled_sums(values: FloatArray, plan: Resampling) -> FloatArray:
    """Return sums [R, K] over resamples of the rows of `values` [N, K]; NaN counts as zero.

    Blocks of consecutive rows are drawn with replacement (Künsch 1989) from the series closed
    to a circle (Politis & Romano 1992), so that every row is drawn equally often. All columns
    share the draws: a ratio or difference of sums is resampled with its parts paired.
    """
    n, columns = values.shape
    filled = np.where(np.isnan(values), 0.0, values)
    edge = np.zeros((1, columns))
    running = np.cumsum(np.concatenate([edge, filled, filled[: plan.block]]), axis=0)
    sums = np.ascontiguousarray((running[plan.block :] - running[: -plan.block])[:n].T)  # [K, N]
    draws = math.ceil(plan.blocks)
    random = np.random.default_rng(plan.seed)
    starts = random.integers(0, n, (plan.resamples, draws))
    # A column at a time: [R, draws, K] of a year of origins would not fit in memory.
    whole = np.stack([column[starts].sum(axis=1) for column in sums], axis=1)
    return np.asarray(whole * (n / (draws * plan.block)))


def bounds(
    estimate: float, resampled: FloatArray, plan: Resampling, confidence: float
) -> tuple[float, float]:
    """Return the lower and the upper bound of an estimate, each one-sided at that confidence.

    They are percentiles of the resamples [R]; their distance from the estimate is stretched by
    what few blocks hide (`stretch`). Both together hold `2 * confidence - 1`.
    """
    ends = np.quantile(resampled, [1 - confidence, confidence])
    low, high = estimate + stretch(plan, confidence) * (ends - estimate)
    return float(low), float(high)


def standard_error(resampled: FloatArray, plan: Resampling) -> float:
    """Return the standard error of the resampled statistic [R], corrected for few blocks."""
    return float(resampled.std()) * _unbiased(plan)


def stretch(plan: Resampling, confidence: float) -> float:
    """Return the factor by which percentiles of few blocks are too close to the estimate.

    Resampled block sums vary about their own mean, as a sample variance divided by the number
    of blocks does, and that variance is itself estimated: Student's t instead of the normal.
    """
    quantiles = stats.t.ppf(confidence, plan.blocks - 1) / stats.norm.ppf(confidence)
    return float(quantiles) * _unbiased(plan)


def _unbiased(plan: Resampling) -> float:
    return math.sqrt(plan.blocks / (plan.blocks - 1))
