"""Sequential tests, with a set false-alarm rate, of whether served forecasts are what they were.

Three cumulative sums (CUSUM; Page 1954, "Continuous inspection schemes", Biometrika 41)
look at each outcome once its candle has closed:

- `loss`: CRPS beyond the promise, `(CRPS - (1 - promise) * CRPS of the walk) / scale of the
  walk`, the mean over the steps whose targets closed;
- `narrow` and `wide`: how far outcomes of the first steps lie from the median, in the served
  widths, bounded; less a part of the same in the random walk's widths. A wild market surprises
  both equally and is no alarm; a served width that no longer fits surprises one alone.

Each is blind to how volatile the market is. Targets overlap, so the sums take the series'
long-run standard deviation for that of one value: with it Siegmund (1985, "Sequential
Analysis", ch. 2) approximates the mean time to a false alarm, which gives the thresholds.

Allowances, long-run deviations and the walk's part were chosen on 80 replays of 14 days (8
markets of 2018, 2020-21 and 2024; LSTM of 7 days, calibrated online): there one false alarm in 93
days a market with the default of 30 and a promise of 0.5 %. On 80 replays of 8 other markets one
in 112 (HAR 373, random walk 1,120); of 160 breaks there, ranges suddenly 1.5 times as wide or
narrow with calibration working against it, 152 were declined within 12 hours, half of them
within 4.4 and 3.5; of 172 volatility inputs stuck at their limit that cost 2 % of CRPS or more,
93 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cryptocast.evaluation.metrics import BP, crps_bp, row_means
from cryptocast.values import FloatArray, IntArray

HEALTHY, WATCH, DECLINED, UNKNOWN = "healthy", "watch", "declined", "unknown"
"""The verdicts of the monitor."""

_FIRST_STEPS = 3  # whose targets hardly overlap
_BOUND = 2.5  # standard deviations: an outlier counts no more than this
_CONTROL = 0.75  # the share of the walk's surprise that is taken off
CEILING = 1.5
"""Thresholds at which a sum is cut, so that a recovery is seen however long the decline was."""
_TESTS = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """The allowance of a sum per bar, and the long-run deviation of its series."""

    allowance: float
    deviation: float


LOSS = Rule(0.02, 0.25)
# Ranges that are too narrow show in few large surprises, too wide ones in many small ones.
NARROW = Rule(0.12, 0.46)
WIDE = Rule(0.1, 0.43)


@dataclass(frozen=True, slots=True)
class Test:
    """One sequential test, after the last outcome."""

    __test__ = False  # pytest would take the name for a test case

    name: str  # loss, narrow, wide; inputs, still, answers
    statistic: float
    threshold: float
    since: int | None  # bar after which the sum last began to rise; None if it is low
    feature: str | None = None  # the worst input, if there is one
    fault: str | None = None  # what that input is instead of what it should be

    @classmethod
    def of(cls, name: str, sums: FloatArray, threshold: float, bars: IntArray) -> Test:
        """Return the test after the last of its sums [T], one after each of `bars` [T]."""
        statistic, low = float(sums[-1]), np.flatnonzero(sums == 0)
        rose = int(bars[low[-1] + 1 if len(low) else 0]) if statistic >= threshold / 2 else None
        return cls(name, statistic, threshold, rose)

    @property
    def verdict(self) -> str:
        """The verdict: `declined` from the threshold on, `watch` from half of it."""
        share = self.statistic / self.threshold
        return DECLINED if share >= 1 else WATCH if share >= 0.5 else HEALTHY


def sequential_tests(
    served: FloatArray,
    walk: FloatArray,
    targets: FloatArray,
    levels: Sequence[float],
    bars: IntArray,
    *,
    promise: float,
    false_alarm_bars: float,
) -> tuple[Test, ...]:
    """Run the three tests over N origins of one market.

    `served`, `walk` [N, H, Q] and `targets` [N, H] are log-returns, NaN if there is no outcome;
    `bars` [N] are the origins' places on the grid, rising. `promise` is the skill against the
    walk that the model was promoted with. One of the three gives a false alarm every
    `false_alarm_bars` bars on average; this rate is shared among them.
    """
    steps = slice(0, _FIRST_STEPS)
    surprise = [width_surprise(q[:, steps], targets[:, steps], levels) for q in (served, walk)]
    width = by_bar(surprise[0], bars) - _CONTROL * by_bar(surprise[1], bars)
    loss = by_bar(loss_beyond(served, walk, targets, levels, promise), bars)
    series = {"loss": (loss, LOSS), "narrow": (width, NARROW), "wide": (-width, WIDE)}
    tests = []
    for name, (values, rule) in series.items():
        limit = threshold(rule, false_alarm_bars * _TESTS)
        sums = cusum(values, rule.allowance, CEILING * limit)
        tests.append(Test.of(name, sums, limit, bars[0] + np.arange(len(sums))))
    return tuple(tests)


def width_surprise(
    quantiles: FloatArray, targets: FloatArray, levels: Sequence[float]
) -> FloatArray:
    """Return `min(|z|, 2.5)` less its mean for right widths, [N, H]; NaN if unscored.

    z is the normal quantile of the target's level, which is interpolated between quantiles;
    beyond the outermost it grows with the distance from the median.
    """
    z = np.asarray(special.ndtri(levels))
    low, middle, high = (quantiles[..., i] for i in (0, len(levels) // 2, -1))
    above = np.clip((targets[..., None] >= quantiles).sum(axis=-1), 1, len(levels) - 1)
    left, right = (
        np.take_along_axis(quantiles, (above - k)[..., None], axis=-1)[..., 0] for k in (1, 0)
    )
    between = z[above - 1] + (z[above] - z[above - 1]) * (targets - left) / (right - left)
    score = np.where(targets < low, z[0] * (targets - middle) / (low - middle), between)
    score = np.where(targets > high, z[-1] * (targets - middle) / (high - middle), score)
    return np.asarray(np.minimum(np.abs(score), _BOUND) - _usual_surprise())


def loss_beyond(
    served: FloatArray,
    walk: FloatArray,
    targets: FloatArray,
    levels: Sequence[float],
    promise: float,
) -> FloatArray:
    """Return the CRPS beyond what was promised, in units of the walk's expected CRPS, [N, H].

    The CRPS of a normal is its mean absolute deviation over the root of 2.
    """
    middle = walk[..., len(levels) // 2, None]
    expected = np.abs(walk - middle).mean(axis=-1) / math.sqrt(2)
    mine, theirs = (crps_bp(q, targets, levels) / BP for q in (served, walk))
    return np.asarray((mine - (1 - promise) * theirs) / expected)


def by_bar(values: FloatArray, bars: IntArray) -> FloatArray:
    """Return the mean over the steps whose target closed with each bar after `bars[0]`, [T].

    `values` [N, S] belong to the steps 1 .. S at the origins after `bars` [N]. NaN for a bar
    that closed no target.
    """
    steps = values.shape[1]
    closed = np.full((int(bars[-1] - bars[0]) + steps, steps), np.nan)
    closed[(bars - bars[0])[:, None] + np.arange(steps), np.arange(steps)] = values
    return row_means(closed)


def cusum(series: FloatArray, allowance: float, ceiling: float = math.inf) -> FloatArray:
    """Return Page's sum [T] of what exceeds the allowance, never below 0; NaN changes nothing."""

    def sums() -> Iterator[float]:
        value = 0.0
        for step in (series - allowance).tolist():
            if step == step:  # not NaN
                value = min(max(0.0, value + step), ceiling)
            yield value

    return np.fromiter(sums(), dtype=np.float64, count=len(series))


def threshold(rule: Rule, false_alarm_bars: float) -> float:
    """Return the threshold at which a sum gives one false alarm in this many bars on average.

    Siegmund's approximation: with the drift `-d` in units of the deviation and the threshold
    b, the mean time is `(exp(2 d b') - 2 d b' - 1) / (2 d^2)`, `b' = b + 1.166`.
    """
    drift = rule.allowance / rule.deviation
    wanted = 2 * drift**2 * false_alarm_bars
    # exp(v) - v - 1 = wanted, by Newton's method from above: convex, so it cannot overshoot.
    v = math.log1p(wanted) + 2
    for _ in range(50):
        v -= (math.expm1(v) - v - wanted) / math.expm1(v)
    return max(v / (2 * drift) - 1.166, 1.0) * rule.deviation


def _usual_surprise() -> float:
    """Return the mean of min(|z|, bound) of a standard normal z."""
    density = np.exp(np.array([0.0, -(_BOUND**2) / 2])) / np.sqrt(2 * np.pi)
    return float(2 * (density[0] - density[1] + _BOUND * special.ndtr(-_BOUND)))
