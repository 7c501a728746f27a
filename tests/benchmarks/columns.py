"""What a network may be told besides what the shipped one sees: [T, P] of a track's T bars.

Each takes all tracks of one era and interval, for some look at other coins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from eras import Track

from cryptocast.dataset.features import PROFILE_DAYS, PROFILE_DECAY, average
from cryptocast.models._base import predictors
from cryptocast.values import FEATURES, FloatArray

Columns = Callable[[Track, Sequence[Track]], FloatArray]

_DAY = 86_400
_SPANS = (0.8, 0.94, 0.98, 0.9965)
_LASTING = (288, 864, 2016, 8064)  # half-lives in bars: of 5 minutes a day, 3, 7 and 28
_OWN_STEPS = (1, 6, 24)
_OWN_MOST = 12.0  # a larger move, in sigmas, counts as this
_OWN_SHARPNESS = 2000.0  # how much the walk of the least loss outweighs the others
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


def lasting(track: Track, others: Sequence[Track]) -> FloatArray:
    """Volatilities of spans of days, which the shipped features do not look back to."""
    moves, told = track.moves()
    made = []
    for half_life in _LASTING:
        decay = 0.5 ** (1 / half_life)
        squares, weights = (_slow_sum(values, decay) for values in (moves**2 * told, told))
        made.append(np.sqrt(squares / np.maximum(weights, 1e-9)))
    return np.clip(_logs(np.stack(made), track), -4, 4)


def own_walk(track: Track, others: Sequence[Track]) -> FloatArray:
    """The volatility of the random walk that was best on the market's own days before.

    Of 13 decays the one with the least log-loss over `PROFILE_DAYS`, for steps 1, 6 and 24, of what
    was known by then. How long volatility lasts differs between markets and years.
    """
    widths, targets = track.widths(), track.targets(np.arange(len(track.bars)))
    made = []
    for step in _OWN_STEPS:
        size = np.abs(targets[:, step - 1])
        known = _later(np.isfinite(size).astype(np.float64), step)
        ratio = np.minimum(np.nan_to_num(size), _OWN_MOST) * np.exp(-widths)
        count = np.maximum(_over_days(known, track), 1.0)
        mean_ratio = _over_days(_later(ratio, step) * known, track) / count
        mean_width = _over_days(_later(widths, step) * known, track) / count
        loss = np.log(np.maximum(mean_ratio, 1e-6)) + mean_width
        weight = np.exp((loss.min(axis=0) - loss) * _OWN_SHARPNESS / np.sqrt(step))
        made.append((weight * widths).sum(axis=0) / weight.sum(axis=0))
    return np.clip(np.stack(made, axis=1), -4, 4)


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


def _slow_sum(values: FloatArray, decay: float) -> FloatArray:
    """[T] exponentially weighted sums over all that came before, a day at a time."""
    sums, before = np.empty_like(values), 0.0
    for start in range(0, len(values), 288):
        part = values[start : start + 288]
        power = decay ** np.arange(1, len(part) + 1)
        sums[start : start + 288] = power * (before + np.cumsum(part / power))
        before = sums[start + len(part) - 1]
    return sums


def _over_days(values: FloatArray, track: Track) -> FloatArray:
    """[..., T] sums over `PROFILE_DAYS` before, a day further back counting for less."""
    a_day = _DAY // track.bars.market.interval_seconds
    summed = np.cumsum(values, axis=-1)
    day = summed - _later(summed, a_day)
    total = np.zeros_like(day)
    for ago in range(PROFILE_DAYS):
        total += PROFILE_DECAY**ago * _later(day, ago * a_day)
    return total


def _later(values: FloatArray, bars: int) -> FloatArray:
    """[..., T] what the values were some bars before, 0 before the first."""
    moved = np.zeros_like(values)
    moved[..., bars:] = values[..., : values.shape[-1] - bars]
    return moved


def _smooth(values: FloatArray, weights: FloatArray, decays: Sequence[float]) -> FloatArray:
    """[decays, T]."""
    return average(values, np.stack([weights] * len(decays)), np.array(decays))


def _logs(volatilities: FloatArray, track: Track) -> FloatArray:
    """[T, P] their logs against sigma."""
    return np.clip(np.log(np.maximum(volatilities, 1e-6) / track.sigma), -8, 8).T
