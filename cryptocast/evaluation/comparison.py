"""Tests and intervals for autocorrelated series: is one forecast better, or was it lucky?

Some come from the long-run variance, others from the circular block bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from cryptocast.values import FloatArray

_LEAST = 8  # origins: with fewer nothing is said
_FEWEST_BLOCKS = 2


def diebold_mariano(difference: FloatArray, step: int) -> float | None:
    """Return the one-sided p-value that the mean of `difference` is not above zero.

    `difference` [N] is the loss of the baseline minus the loss of the model, in the order of
    time, NaN if unscored. The test is that of Diebold & Mariano (1995) with the variance of
    `long_run_variance`, and the small-sample correction and Student's t of Harvey, Leybourne &
    Newbold (1997). None if there are too few values. If targets overlap, a 5 % test rejects
    6 to 12 % of equal forecasts.
    """
    loss = difference[np.isfinite(difference)]
    n = len(loss)
    variance = long_run_variance(loss, step)
    correction = (n + 1 - 2 * step + step * (step - 1) / n) / n if n else 0.0
    if variance is None or correction <= 0:
        return None
    statistic = float(loss.mean()) / math.sqrt(variance / n) * math.sqrt(correction)
    return float(special.stdtr(n - 1, -statistic))


def effective_n(series: FloatArray, step: int) -> float | None:
    """Return how many independent origins would say as much of the mean as these N that overlap.

    This is N times variance over long-run variance, at most N. None if there are too few values.
    """
    known = series[np.isfinite(series)]
    variance = long_run_variance(known, step)
    if variance is None:
        return None
    return float(min(len(known), len(known) * known.var() / variance))


def long_run_variance(series: FloatArray, step: int) -> float | None:
    """Return N times the variance of the mean of an autocorrelated series [N] without NaN.

    It uses Bartlett weights (Newey & West 1987) over at least the `step - 1` lags that
    overlapping targets share. None for fewer than 8 values, or if all of them overlap or are
    equal.
    """
    n = len(series)
    if n < _LEAST or n <= step:
        return None
    lags = max(step - 1, math.floor(4 * (n / 100) ** (2 / 9)))
    centred = series - series.mean()
    variance = float(centred @ centred) / n
    for lag in range(1, lags + 1):
        weight = 1 - lag / (lags + 1)
        variance += 2 * weight * float(centred[lag:] @ centred[:-lag]) / n
    return variance if variance > 0 else None


def wilson(share: float, n: float, confidence: float) -> tuple[float, float]:
    """Return the interval of a share that was observed in `n` (effective) independent trials.

    Wilson's interval (1927) stays inside 0 and 1, and holds its confidence for small `n` too.
    """
    z = float(special.ndtri(0.5 + confidence / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


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
    quantiles = special.stdtrit(plan.blocks - 1, confidence) / special.ndtri(confidence)
    return float(quantiles) * _unbiased(plan)


def _unbiased(plan: Resampling) -> float:
    return math.sqrt(plan.blocks / (plan.blocks - 1))
