"""Compute what a model sees of each bar, with one routine for training and the tick.

Every feature of a bar is a function of exactly the bars up to and including it that `context_bars`
counts, so one origin and many give the same bits, and nothing depends on what else is stored.
Everything is measured against `sigma`, so no scaler is fit on data and none can leak.

`size` is volatility by mean absolute returns, which a jump moves less than it moves their squares
(Forsberg and Ghysels 2007); `downside` is the share of the variance that falls contribute
(Barndorff-Nielsen, Kinnebrock and Shephard 2010). A base network that reads them gains 0.1 to
0.2 % of CRPS on years and venues that it never saw (`make ablation`).

Then come the market's general level of volatility, and the time of day and of the week. They are
for models with few parameters: over 7 days the time is an index of the training set, and a network
that saw it lost 0.2 % of CRPS skill at every step on 28 (coin, week) pairs.

The last four are the profile: how much the market usually moves at the times of day that come
next, against how much it moves on average, by the days before. They look back further than all
others, up to `PROFILE_DAYS`, and are 0 where nothing is known. A base network that reads them gains
0.1 % over 24 steps on other years and venues (`make ablation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from cryptocast.dataset.bars import LONGEST_SPAN_BARS, Bars, stacked
from cryptocast.dataset.shifts import lasting, stretches, without
from cryptocast.values import DAY_SECONDS, FEATURES, LEVEL_UNIT, FloatArray, InputArray

MEMORY_BARS = 1024
"""Bars that a feature looks back: a power of two, five half-lives of the slowest average."""

SIGMA_FLOOR = 1e-5
"""The least volatility of a bar, 0.1 bp, so that quantiles stay distinct."""

# Decay a bar of sigma: 0.94 as in RiskMetrics (1996), a better random walk at 5 minutes than
# 0.97. Around it a faster, a medium and a slow one (half-lives of 3, 34 and 200 bars).
DECAY = 0.94
FAST_DECAY = 0.8
MEDIUM_DECAY = 0.98
SLOW_DECAY = 0.5 ** (1 / 200)
_DECAYS = np.array([DECAY, FAST_DECAY, MEDIUM_DECAY, SLOW_DECAY])
_RANGE_DECAYS = np.array([FAST_DECAY, DECAY])

# What `_features` sweeps: squares, falls and sizes at all decays, ranges at two, volumes at one;
# and the weights of moves, ranges and volumes in the same way.
_DECAYS_OF = (_DECAYS, _DECAYS, _DECAYS, _RANGE_DECAYS, np.array([SLOW_DECAY]))
_SWEPT = np.repeat(np.arange(5), [len(decays) for decays in _DECAYS_OF])
_SWEPT_DECAYS = np.concatenate(_DECAYS_OF)
_WEIGHING = np.repeat(np.arange(3), [len(decays) for decays in _DECAYS_OF[2:]])
_WEIGHING_DECAYS = np.concatenate(_DECAYS_OF[2:])
_WEIGHT_OF = np.array([*range(4), *range(4), *range(7)])  # of each of the 15 sums

PROFILE = tuple(name for name in FEATURES if name.endswith("profile"))
"""The features of the profile."""

PROFILE_DAYS = 32
"""Days that a profile looks back: 14 give two thirds of the gain, 56 no more."""

PROFILE_DECAY = 0.97  # a day
PROFILE_STEPS = ((0, 1), (0, 6), (6, 12), (12, 24))  # of the bars that come next
PROFILE_PRIOR_DAYS = 5.0  # that say a time of day is like any other: few days are mostly noise
PROFILE_CLIP = 5.0  # a larger move, in slow volatilities, counts as this

_LONGEST_PROFILE_BARS = 9_216  # 32 days of five minutes: of finer candles the profile takes fewer
_ROWS_AT_ONCE = 20_000  # bars of markets whose features are computed together
_CLIP = 8.0
_PARKINSON = 1.0 / (4.0 * np.log(2.0))  # Parkinson (1980): variance from the high-low range
_NORMAL = np.sqrt(np.pi / 2)  # standard deviation over mean absolute value of a normal variable


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of T bars (`values.FEATURES`) and the volatility they are measured against."""

    values: InputArray  # [T, F] clipped to +-8; in single precision, which graphs read
    sigma: FloatArray  # [T] EWMA volatility of a bar's log-return, known at the bar's close


def recent_bars(lookback: int) -> int:
    """Return how many bars before an origin its window depends on, but for the profile."""
    return LONGEST_SPAN_BARS + MEMORY_BARS + lookback - 1


def context_bars(lookback: int, interval_seconds: int, features: Sequence[str] = FEATURES) -> int:
    """Return how many bars before an origin a window of these features depends on."""
    reads_profile = not set(features).isdisjoint(PROFILE)
    profile = profile_days(interval_seconds) * DAY_SECONDS // interval_seconds
    return recent_bars(lookback) + reads_profile * profile


def profile_days(interval_seconds: int) -> int:
    """Return how many days a profile looks back, 0 for candles over an hour."""
    a_day = DAY_SECONDS // interval_seconds
    if a_day < PROFILE_STEPS[-1][1]:  # yesterday's bars would reach into the future
        return 0
    return min(PROFILE_DAYS, _LONGEST_PROFILE_BARS // a_day)


def compute(bars: Bars, first: int = 0) -> Features:
    """Return the features of the bars from `first` on.

    For the first `MEMORY_BARS` bars, the weights of each average are normalised over the
    candles seen so far. A level shift is left out from the row on at which it is known.
    """
    memory = context_bars(1, bars.market.interval_seconds)
    parts = []
    for start, end, shifts in stretches(bars):
        start = max(start, first)
        if start < end:
            low = max(start - memory, 0)
            part = without(bars.part(low, end), shifts[shifts > low] - low)
            parts.append(_features(part, start - low))
    return Features(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.sigma for part in parts]),
    )


def compute_alike(several: Sequence[Bars], first: int = 0) -> list[Features]:
    """Return the features of each of several markets whose bars span the same range.

    They are those of `compute`, to the bit: some markets at a time share the calls of NumPy,
    which take as long as the numbers of one market.
    """
    memory = context_bars(1, several[0].market.interval_seconds)
    low, at_once = max(first - memory, 0), max(_ROWS_AT_ONCE // len(several[0]), 1)
    shifted = [len(lasting(bars, len(bars))) > 0 for bars in several]
    found = {
        place: compute(several[place], first)
        for place, is_shifted in enumerate(shifted)
        if is_shifted
    }
    plain = [place for place, is_shifted in enumerate(shifted) if not is_shifted]
    for begin in range(0, len(plain), at_once):
        places = plain[begin : begin + at_once]
        some = [several[place].part(low, len(several[place])) for place in places]
        together = _features(stacked(some), first - low)
        found |= zip(places, map(Features, together.values, together.sigma), strict=True)
    return [found[place] for place in range(len(several))]


def moves(bars: Bars) -> tuple[FloatArray, FloatArray]:
    """Return the log-return per bar [..., T], and 1 where it tells of its volatility, else 0.

    A return over n bars counts as n bars' worth of variance, one over too many as none.
    """
    spanned = np.full(bars.age.shape, np.inf)
    spanned[..., 1:] = 1.0 + bars.age[..., :-1]
    moved = (~bars.missing & (spanned <= LONGEST_SPAN_BARS)).astype(np.float64)
    return moved * bars.log_return / np.sqrt(spanned), moved


def _features(bars: Bars, first: int) -> Features:
    profile = _profile(bars, first)
    low = max(first - MEMORY_BARS, 0)
    first, bars = first - low, bars.part(low, len(bars))
    present = (~bars.missing).astype(np.float64)
    per_bar, moved = moves(bars)
    traded = np.isfinite(bars.log_volume).astype(np.float64)
    log_volume = np.where(traded > 0, bars.log_volume, 0.0)
    squares = per_bar**2
    falls = np.where(per_bar < 0, squares, 0.0)
    ranges = _PARKINSON * bars.log_range**2
    # Averages of all kinds in one sweep: a tick of thousands of markets is thousands of these.
    known = np.stack([squares, falls, np.abs(per_bar), ranges, log_volume])
    sums = _sweep(known[_SWEPT], _SWEPT_DECAYS, first)
    weights = _once(np.stack([moved, present, traded]))
    norms = _sweep(weights[_WEIGHING], _WEIGHING_DECAYS, first)
    means = sums / np.where(norms > 0, norms, 1.0)[_WEIGHT_OF]
    variance, fallen, size, ranged, (usual,) = np.split(means, [4, 8, 12, 14])
    sigma, *others = _volatility(np.concatenate([variance, ranged]))
    sizes = np.maximum(_NORMAL * size, SIGMA_FLOOR)
    downside = np.log(_volatility(fallen) / _volatility(variance - fallen))

    bars, per_bar = bars.part(first, len(bars)), per_bar[..., first:]
    columns = (
        per_bar / sigma,
        bars.log_range / sigma,
        *np.log(np.concatenate([others, sizes]) / sigma),
        *downside,
        (log_volume[..., first:] - usual) * traded[..., first:],
        bars.place,
        1.0 - present[..., first:],
        np.log(sigma / LEVEL_UNIT),
        *_phases(bars, DAY_SECONDS),
        *_phases(bars, 7 * DAY_SECONDS),
        *profile,
    )
    values = np.empty((*sigma.shape, len(columns)), dtype=np.float32)
    for number, column in enumerate(columns):
        values[..., number] = column
    return Features(np.clip(values, -_CLIP, _CLIP, out=values), sigma)


def _profile(bars: Bars, first: int) -> FloatArray:
    """Return [4, ..., R], how much is usual at each of `PROFILE_STEPS` against all times, as logs.

    R are the rows from `first` on.

    A move counts in units of the slow volatility before it, so that a wild day weighs no more than
    a calm one. `PROFILE_PRIOR_DAYS` that are like any other time shrink what few days say.
    """
    days = profile_days(bars.market.interval_seconds)
    if not days:
        return np.zeros((len(PROFILE_STEPS), *bars.age.shape[:-1], len(bars) - first))
    a_day = DAY_SECONDS // bars.market.interval_seconds
    per_bar, moved = moves(bars)
    weight = _once(moved[None])
    slow = _volatility(average(per_bar[None] ** 2, weight, np.array([SLOW_DECAY]))[0])
    before = np.concatenate((slow[..., :1], slow[..., :-1]), axis=-1)
    size = np.minimum(np.abs(per_bar) / before, PROFILE_CLIP) * moved
    (all_sizes, *sizes), (all_counts, *counts) = (
        _usual_runs(each, first, a_day, days) for each in (size, weight[0])
    )
    usual = all_sizes / np.where(all_counts > 0, all_counts, 1.0)
    lengths = np.array([end - start for start, end in PROFILE_STEPS])
    prior = PROFILE_PRIOR_DAYS * lengths.reshape(-1, *[1] * usual.ndim)
    at_these = (np.stack(sizes) + prior * usual) / (np.stack(counts) + prior)
    return np.log(np.where(usual > 0, at_these, 1.0) / np.where(usual > 0, usual, 1.0))


def _usual_runs(values: FloatArray, first: int, a_day: int, days: int) -> FloatArray:
    """Return [5, ..., R] sums of the values [..., T] over whole days and at `PROFILE_STEPS`."""
    runs = _runs(values, [a_day, *(end - start for start, end in PROFILE_STEPS)])
    for run, (_, end) in zip(runs[1:], PROFILE_STEPS, strict=True):
        run[:] = _shifted(run, a_day - end)  # to the row that it follows, a day later
    return _days_before(runs, first, a_day, days)


def _once(weights: FloatArray) -> FloatArray:
    """Return the weights [S, M, T] of M markets as [S, 1, T] if they are the same for all."""
    if weights.ndim == 3 and (weights == weights[:, :1]).all():
        return weights[:, :1]
    return weights


def _days_before(values: FloatArray, first: int, a_day: int, days: int) -> FloatArray:
    """Return sums [..., R] of the values [..., T] at each row and whole days before it.

    The rows are those from `first` on; a day further back counts `PROFILE_DECAY` times as much.
    """
    end = values.shape[-1]
    total = np.zeros((*values.shape[:-1], end - first))
    for day in range(days - 1, -1, -1):
        total *= PROFILE_DECAY
        ago = day * a_day
        if end > ago:
            part = values[..., max(first - ago, 0) : end - ago]
            total[..., total.shape[-1] - part.shape[-1] :] += part
    return total


def _runs(values: FloatArray, lengths: Sequence[int]) -> FloatArray:
    """Return the sums [L, ..., T] over each of L numbers of bars up to each, by doublings."""
    totals = np.zeros((len(lengths), *values.shape))
    double, span, offsets = values.copy(), 1, [0] * len(lengths)
    while span <= max(lengths):
        for i, length in enumerate(lengths):
            if length & span:
                totals[i, ..., offsets[i] :] += double[..., : max(double.shape[-1] - offsets[i], 0)]
                offsets[i] += span
        double[..., span:] += double[..., :-span]
        span *= 2
    return totals


def _shifted(values: FloatArray, bars: int) -> FloatArray:
    """Return what the values [..., T] were some bars before, 0 before the first."""
    moved = np.zeros_like(values)
    moved[..., bars:] = values[..., : max(values.shape[-1] - bars, 0)]
    return moved


def _phases(bars: Bars, period: int) -> tuple[FloatArray, FloatArray]:
    """Return sine and cosine of the time of each bar's close within a period of seconds.

    They come from a table of the whole period, so that the bits don't depend on the other bars.
    """
    step = bars.market.interval_seconds
    sine, cosine = _circle(step, period)
    at = (bars.open_time + step) % period // step
    return sine[at], cosine[at]


@cache
def _circle(step: int, period: int) -> tuple[FloatArray, FloatArray]:
    """Return sine and cosine of every step of a period, which all markets share."""
    angle = 2 * np.pi * np.arange(period // step) * step / period
    return np.sin(angle), np.cos(angle)


def _volatility(variance: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.maximum(variance, SIGMA_FLOOR**2)))


def average(values: FloatArray, weights: FloatArray, decays: FloatArray) -> FloatArray:
    """Return exponentially weighted means [S, ..., T] over exactly the last `MEMORY_BARS` bars.

    `values` is [S or 1, ..., T], `weights` [S, ..., T], `decays` [S]. If no weight was seen yet,
    the mean is 0. The bits of a bar's mean don't depend on T.
    """
    sums, norms = _sweep(values * weights, decays), _sweep(weights.copy(), decays)
    return np.asarray(sums / np.where(norms > 0, norms, 1.0))


def _sweep(values: FloatArray, decays: FloatArray, first: int = 0) -> FloatArray:
    """Return weighted sums [S, ..., R] over the last `MEMORY_BARS` bars, for the rows from `first`.

    `values` [S, ..., T] are overwritten. The sum over 2m bars is the sum over m plus `decay**m`
    times the sum over the m before (ten doublings for 1,024): elementwise, so that the bits don't
    depend on T. Few rows need ever fewer of those: of runs as long as the rows, each second one.
    """
    rows = values.shape[-1] - first
    power = decays.reshape(-1, *[1] * (values.ndim - 1))
    span = 1
    while span < min(rows, MEMORY_BARS):
        values[..., span:] += power * values[..., :-span]
        power = power * power
        span *= 2
    if span == MEMORY_BARS:
        return values[..., first:]
    lacking = max(MEMORY_BARS - values.shape[-1], 0)
    if lacking:
        values = np.concatenate((np.zeros((*values.shape[:-1], lacking)), values), axis=-1)
    runs = values[..., -MEMORY_BARS:].reshape(*values.shape[:-1], -1, span)
    power = power[..., None]
    while runs.shape[-2] > 1:
        runs = runs[..., 1::2, :] + power * runs[..., ::2, :]
        power = power * power
    return np.asarray(runs[..., 0, span - rows :])
