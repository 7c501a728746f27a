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

The last ten look back over days, which all others don't: the profile of the day (`profile`), the
volatilities of spans of days, and those of the walks that fitted the last month best (`month`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from cryptocast.dataset.averages import (
    DECAYS,
    MEMORY_BARS,
    RANGE_DECAYS,
    SIGMA_FLOOR,
    SLOW_DECAY,
    moves,
    once,
    sweep,
    volatility,
)
from cryptocast.dataset.bars import LONGEST_SPAN_BARS, Bars, stacked
from cryptocast.dataset.days import days_back
from cryptocast.dataset.month import Month, month
from cryptocast.dataset.profile import profile
from cryptocast.dataset.shifts import lasting, stretches, without
from cryptocast.values import DAY_SECONDS, FEATURES, LEVEL_UNIT, FloatArray, InputArray

# What `_features` sweeps: squares, falls and sizes at all decays, ranges at two, volumes at one;
# and the weights of moves, ranges and volumes in the same way.
_DECAYS_OF = (DECAYS, DECAYS, DECAYS, RANGE_DECAYS, np.array([SLOW_DECAY]))
_SWEPT = np.repeat(np.arange(5), [len(decays) for decays in _DECAYS_OF])
_SWEPT_DECAYS = np.concatenate(_DECAYS_OF)
_WEIGHING = np.repeat(np.arange(3), [len(decays) for decays in _DECAYS_OF[2:]])
_WEIGHING_DECAYS = np.concatenate(_DECAYS_OF[2:])
_WEIGHT_OF = np.array([*range(4), *range(4), *range(7)])  # of each of the 15 sums

OF_DAYS = FEATURES[FEATURES.index("next_profile") :]
"""The features that look back over days: the profile, and what the last month says."""

_ROWS_AT_ONCE = 45_000  # bars of markets whose features are computed together: 4 whole contexts
_CLIP = 8.0
_PARKINSON = 1.0 / (4.0 * np.log(2.0))  # Parkinson (1980): variance from the high-low range
_NORMAL = np.sqrt(np.pi / 2)  # standard deviation over mean absolute value of a normal variable


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of T bars (`values.FEATURES`) and the volatility they are measured against."""

    values: InputArray  # [T, F] clipped to +-8; in single precision, which graphs read
    sigma: FloatArray  # [T] EWMA volatility of a bar's log-return, known at the bar's close


def recent_bars(lookback: int) -> int:
    """Return how many bars before an origin its window depends on, but for features of days."""
    return LONGEST_SPAN_BARS + MEMORY_BARS + lookback - 1


def context_bars(lookback: int, interval_seconds: int, features: Sequence[str] = FEATURES) -> int:
    """Return how many bars before an origin a window of these features depends on."""
    reads_days = not set(features).isdisjoint(OF_DAYS)
    days = days_back(interval_seconds) * DAY_SECONDS // interval_seconds
    return recent_bars(lookback) + reads_days * days


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


def _features(bars: Bars, first: int) -> Features:
    told = moves(bars)
    usual_next, past = profile(bars, told, first), month(bars, told, first)
    low = max(first - MEMORY_BARS, 0)
    first, bars = first - low, bars.part(low, len(bars))
    present = (~bars.missing).astype(np.float64)
    per_bar, moved = (each[..., low:] for each in told)
    traded = np.isfinite(bars.log_volume).astype(np.float64)
    log_volume = np.where(traded > 0, bars.log_volume, 0.0)
    squares = per_bar**2
    falls = np.where(per_bar < 0, squares, 0.0)
    ranges = _PARKINSON * bars.log_range**2
    # Averages of all kinds in one sweep: a tick has thousands of these.
    known = np.stack([squares, falls, np.abs(per_bar), ranges, log_volume])
    sums = sweep(known[_SWEPT], _SWEPT_DECAYS, first)
    weights = once(np.stack([moved, present, traded]))
    norms = sweep(weights[_WEIGHING], _WEIGHING_DECAYS, first)
    means = sums / np.where(norms > 0, norms, 1.0)[_WEIGHT_OF]
    variance, fallen, size, ranged, (usual,) = np.split(means, [4, 8, 12, 14])
    sigma, *others = volatility(np.concatenate([variance, ranged]))
    spans = np.log(np.concatenate([others, np.maximum(_NORMAL * size, SIGMA_FLOOR)]) / sigma)
    downside = np.log(volatility(fallen) / volatility(variance - fallen))

    bars, per_bar = bars.part(first, len(bars)), per_bar[..., first:]
    columns = (
        per_bar / sigma,
        bars.log_range / sigma,
        *spans,
        *downside,
        (log_volume[..., first:] - usual) * traded[..., first:],
        bars.place,
        1.0 - present[..., first:],
        np.log(sigma / LEVEL_UNIT),
        *_phases(bars, DAY_SECONDS),
        *_phases(bars, 7 * DAY_SECONDS),
        *usual_next,
        *_of_month(past, sigma, spans),
    )
    return Features(_clipped(sigma.shape, columns), sigma)


def _clipped(shape: tuple[int, ...], columns: Sequence[FloatArray]) -> InputArray:
    """Return the columns as the last axis, in single precision."""
    values = np.empty((*shape, len(columns)), dtype=np.float32)
    for number, column in enumerate(columns):
        values[..., number] = column
    return np.clip(values, -_CLIP, _CLIP, out=values)


def _of_month(past: Month, sigma: FloatArray, spans: FloatArray) -> tuple[FloatArray, ...]:
    """Return the volatilities [..., R] of spans of days and of the best walks, as logs to sigma.

    `spans` begin with those of the decays after sigma's.
    """
    of_days = np.log(volatility(past.squares) / sigma)
    walks = np.concatenate([np.zeros_like(spans[:1]), spans[: len(DECAYS) - 1]])
    return (
        *np.where(past.squares > 0, of_days, 0.0),
        *(past.walks * walks).sum(axis=1),
    )


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
