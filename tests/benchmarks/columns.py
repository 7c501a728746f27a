"""What a network may be told besides what the shipped one sees: [T, P] of a track's T bars.

Each takes all tracks of one era and interval, for some look at other coins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from eras import Track

from cryptocast.dataset.features import average
from cryptocast.models._base import predictors
from cryptocast.models._network import USUAL
from cryptocast.values import FEATURES, FloatArray

Columns = Callable[[Track, Sequence[Track]], FloatArray]

_DAY = 86_400
_CLOCK = 4  # the last features
_OF_OTHERS = (
    *("return", "range", "fast_volatility", "slow_volatility", "fast_range_volatility", "volume"),
)


def shipped(track: Track, others: Sequence[Track]) -> FloatArray:
    """What the shipped network sees."""
    return predictors(track.features.astype(np.float64))


def usual(track: Track, others: Sequence[Track]) -> FloatArray:
    """The features that the LSTM of 7 days sees but the level, and the time."""
    seen = (*(name for name in USUAL if name != "level"), *FEATURES[-_CLOCK:])
    return track.features[:, [FEATURES.index(name) for name in seen]].astype(np.float64)


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


def calendar(track: Track, others: Sequence[Track]) -> FloatArray:
    """The second and third harmonic of the day, and three of the week."""
    made = []
    for period, harmonics in ((_DAY, (2, 3)), (7 * _DAY, (1, 2, 3))):
        close = track.bars.open_time + track.bars.market.interval_seconds
        angle = 2 * np.pi * (close % period) / period
        made += [turn(number * angle) for number in harmonics for turn in (np.sin, np.cos)]
    return np.stack(made, axis=1)


def profile(track: Track, others: Sequence[Track]) -> FloatArray:
    """How the next quarter, half and whole of the horizon moved at these times in 7 days before."""
    moves, told = track.moves()
    sizes, counts = (np.concatenate(([0.0], np.cumsum(x))) for x in (np.abs(moves), told))
    at = np.arange(1, len(moves) + 1)
    a_day = _DAY // track.bars.market.interval_seconds

    def total(since: int, until: int) -> tuple[FloatArray, FloatArray]:
        low, high = (np.clip(at + shift, 0, len(moves)) for shift in (since, until))
        return sizes[high] - sizes[low], counts[high] - counts[low]

    size, count = total(-7 * a_day, 0)
    usual_size = size / np.maximum(count, 1)
    made = []
    for since, until in ((0, 6), (6, 12), (12, 24)):
        past = [total(since - day * a_day, until - day * a_day) for day in range(1, 8)]
        size = sum(each[0] for each in past) / np.maximum(sum(each[1] for each in past), 1)
        made.append(np.log(np.maximum(size, 1e-6) / np.maximum(usual_size, 1e-6)))
    return np.asarray(np.clip(np.stack(made, axis=1), -8, 8))


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
