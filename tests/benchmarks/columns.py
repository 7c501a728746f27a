"""What a network may be told besides what the shipped one sees: [T, P] of a track's T bars.

Each takes all tracks of one era and interval, for some look at other coins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from eras import Track

from cryptocast.dataset.averages import average
from cryptocast.models._base import MONTH, predictors
from cryptocast.values import FEATURES, FloatArray

Columns = Callable[[Track, Sequence[Track]], FloatArray]

_DAY = 86_400
_SPANS = (0.8, 0.94, 0.98, 0.9965)
_OF_OTHERS = (
    *("return", "range", "fast_volatility", "slow_volatility", "fast_range_volatility", "volume"),
)


def shipped(track: Track, others: Sequence[Track]) -> FloatArray:
    """What the shipped network sees."""
    return predictors(track.features.astype(np.float64))


def spans(track: Track, others: Sequence[Track]) -> FloatArray:
    """Volatilities of five more spans, mean sizes of the return over four, ranges over two."""
    moves, told = track.moves()
    present = (~track.bars.missing).astype(np.float64)
    squared, sized, ranged = (0.5, 0.7, 0.9, 0.97, 0.99), (0.7, 0.9, 0.97, 0.99), (0.98, 0.9965)
    made = [
        np.sqrt(_smooth(moves**2, told, squared)),
        _smooth(np.abs(moves), told, sized) * np.sqrt(np.pi / 2),
        np.sqrt(_smooth(track.bars.log_range**2, present, ranged) / (4 * np.log(2))),
    ]
    return _logs(np.concatenate(made), track)


def bipower(track: Track, others: Sequence[Track]) -> FloatArray:
    """What jumps leave of the volatility, over two spans (bipower variation)."""
    moves, told = track.moves()
    two = np.pi / 2 * np.abs(moves) * np.abs(np.concatenate(([0.0], moves[:-1])))
    return _logs(np.sqrt(_smooth(two, told, (0.9, 0.98))), track)


def estimators(track: Track, others: Sequence[Track]) -> FloatArray:
    """Volatilities of Rogers and Satchell (1991), and of Garman and Klass (1980), of four spans."""
    bars, (_, told) = track.bars, track.moves()
    close, opened = bars.log_close, bars.log_close - bars.log_return
    high = np.maximum(close + (0.5 - bars.place) * bars.log_range, opened)
    low = np.minimum(close - (0.5 + bars.place) * bars.log_range, opened)
    satchell = (high - close) * (high - opened) + (low - close) * (low - opened)
    klass = 0.5 * (high - low) ** 2 - (2 * np.log(2) - 1) * (close - opened) ** 2
    made = [np.sqrt(np.maximum(_smooth(x * told, told, _SPANS), 0)) for x in (satchell, klass)]
    return _logs(np.concatenate(made), track)


def lagged(track: Track, others: Sequence[Track]) -> FloatArray:
    """The sizes of the five moves before, and the ranges of the three bars before."""
    sizes, ranges = np.abs(track.moves()[0]), track.bars.log_range
    before = [(sizes, lag) for lag in (1, 2, 3, 4, 5)] + [(ranges, lag) for lag in (1, 2, 3)]
    made = [np.concatenate((np.zeros(lag), x[:-lag])) / track.sigma for x, lag in before]
    return np.clip(np.stack(made, axis=1), 0, 8)


def volumes(track: Track, others: Sequence[Track]) -> FloatArray:
    """Volume of three spans against its usual."""
    traded = np.isfinite(track.bars.log_volume).astype(np.float64)
    of = _smooth(np.where(traded > 0, track.bars.log_volume, 0.0), traded, _SPANS)
    return np.clip((of[:3] - of[3]).T, -8, 8)


def unsteady(track: Track, others: Sequence[Track]) -> FloatArray:
    """How much the sizes of moves vary about their mean: volatility of volatility, two spans."""
    moves, told = track.moves()
    size = (np.log(np.maximum(np.abs(moves), 1e-5)) - np.log(track.sigma)) * told
    mean, square = (_smooth(x, told, (0.94, 0.98)) for x in (size, size**2))
    return np.sqrt(np.maximum(square - mean**2, 0)).T


def month(track: Track, others: Sequence[Track]) -> FloatArray:
    """What the last month says, which the shipped network hears for the later steps alone."""
    return track.features[:, [FEATURES.index(name) for name in MONTH]].astype(np.float64)


def level(track: Track, others: Sequence[Track]) -> FloatArray:
    """The market's general level of volatility."""
    return track.features[:, [FEATURES.index("level")]].astype(np.float64)


def calendar(track: Track, others: Sequence[Track]) -> FloatArray:
    """Three harmonics of the day, and three of the week."""
    made = []
    for period, harmonics in ((_DAY, (1, 2, 3)), (7 * _DAY, (1, 2, 3))):
        close = track.bars.open_time + track.bars.market.interval_seconds
        angle = 2 * np.pi * (close % period) / period
        made += [turn(number * angle) for number in harmonics for turn in (np.sin, np.cos)]
    return np.stack(made, axis=1)


def leader(track: Track, others: Sequence[Track]) -> FloatArray:
    """Bitcoin's newest bar, measured against its own volatility; its own for itself."""
    return _beside(track, [each for each in others if each.bars.market.base == "BTC"])


def basket(track: Track, others: Sequence[Track]) -> FloatArray:
    """The mean of all other coins' newest bars."""
    return _beside(track, [each for each in others if each is not track])


def _beside(track: Track, others: Sequence[Track]) -> FloatArray:
    """The mean over other coins of what they show; 0 where one has no such bar."""
    places = [FEATURES.index(name) for name in _OF_OTHERS]
    total = np.zeros((len(track.bars), len(places) + 1))
    for other in others:
        at = np.asarray(track.bars.open_time - other.bars.first)
        row = at // other.bars.market.interval_seconds
        there = (row >= 0) & (row < len(other.bars))
        seen = other.features[row[there]][:, places]
        size = np.abs(seen[:, :1])
        total[there] += np.hstack([seen, size]) / len(others)
    return total


def _smooth(values: FloatArray, weights: FloatArray, decays: Sequence[float]) -> FloatArray:
    """[decays, T]."""
    return average(values, np.stack([weights] * len(decays)), np.array(decays))


def _logs(volatilities: FloatArray, track: Track) -> FloatArray:
    """[T, P] their logs against sigma."""
    return np.clip(np.log(np.maximum(volatilities, 1e-6) / track.sigma), -8, 8).T
