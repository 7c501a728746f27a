"""What a market's last four weeks say of the size of its next moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cryptocast.values import DAY_SECONDS, FloatArray, IntArray

CONTEXT_DAYS = 28
"""Days before the origin that are looked at, or as many of them as there are."""

SIZE_HALF_LIVES = (15, 60, 180, 720, 2880, 10080, 20160)
RANGE_HALF_LIVES = (15, 60, 360, 1440)
VOLUME_HALF_LIVES = (30, 360, 10080)
"""Half-lives in minutes."""

_DAY_MINUTES, _DAY_HOURS = 1440, 24
_DAY_DECAY = 0.93  # of the weight of a day in the profile
_PRIOR_DAYS = 2.0  # a profile of fewer days stays near 1
_SMOOTH_SHARE = 48  # a half of an hour on either side, so that one slot is not noise
_FLOOR = 1e-6  # mean size of a move: 0.01 bp
_BATCH = 400  # origins at once: 13 MB a signal

Float32 = NDArray[np.float32]


class Grid(Protocol):
    """T consecutive bars; `dataset.Bars` are such."""

    @property
    def open_time(self) -> IntArray:
        """Open times [T] in Unix seconds."""

    @property
    def log_return(self) -> FloatArray:
        """Log-returns [T]."""

    @property
    def log_range(self) -> FloatArray:
        """log(high / low) [T]."""

    @property
    def log_volume(self) -> FloatArray:
        """log(1 + volume) [T], NaN without one."""

    @property
    def missing(self) -> NDArray[np.bool_]:
        """True for a bar without a candle [T]."""


def day_bars(interval_seconds: int) -> int:
    """Return how many bars a day has: as many steps has a whole path, D in shapes."""
    return DAY_SECONDS // interval_seconds


@dataclass(frozen=True, slots=True, eq=False)
class Predictors:
    """Columns that are known at N origins, and say how large the moves to come will be."""

    level: FloatArray  # [N] log of the mean size of a move over the slowest half-life
    sizes: FloatArray  # [N, P] logs relative to the level, and of volume
    profile: FloatArray  # [N, D] log of the size at each lead's time of day, own last weeks
    recent: FloatArray  # [N] the same profile, mean of the last hour
    origin: IntArray  # [N] Unix seconds

    @classmethod
    def concatenate(cls, parts: list[Predictors]) -> Predictors:
        """Return the origins of all parts."""
        names = cls.__slots__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def predictors(bars: Grid, at: IntArray) -> Predictors:
    """Return the predictors at the origins just before the bars `at`, from the bars before.

    They are a function of the bars of the last `CONTEXT_DAYS` days, which need not all be there:
    what is missing has no weight.
    """
    interval = int(bars.open_time[1] - bars.open_time[0])
    context = CONTEXT_DAYS * day_bars(interval)
    seen = np.where(bars.missing, 0.0, 1.0)
    volume = np.expm1(bars.log_volume)
    with_volume = np.where(np.isnan(volume), 0.0, seen)
    padded = [
        np.concatenate([np.zeros(context), values]).astype(np.float32)
        for values in (
            seen,
            np.abs(bars.log_return) * seen,
            bars.log_range * seen,
            with_volume,
            np.where(with_volume > 0, volume, 0.0),
        )
    ]
    windows = [sliding_window_view(values, context) for values in padded]
    origins = bars.open_time[0] + interval * at
    return Predictors.concatenate(
        [
            _of_windows([window[at[i : i + _BATCH]] for window in windows], origins[i : i + _BATCH])
            for i in range(0, len(at), _BATCH)
        ]
    )


def _of_windows(signals: Sequence[Float32], origin: IntArray) -> Predictors:
    """Return the predictors of the windows [N, T] of 5 signals, up to the origins."""
    seen, size, range_, with_volume, volume = signals
    sizes = np.log(np.maximum(_means(size, seen, SIZE_HALF_LIVES), _FLOOR))
    ranges = np.log(np.maximum(_means(range_, seen, RANGE_HALF_LIVES), _FLOOR))
    volumes = _means(volume, with_volume, VOLUME_HALF_LIVES)
    traded = np.log(np.where(volumes > 0, volumes, 1.0))
    some = (volumes > 0).all(axis=1, keepdims=True)
    level = sizes[:, -1]
    profile = np.log(_profiles(size, seen))
    return Predictors(
        level=level,
        sizes=np.hstack(
            [
                sizes[:, :-1] - level[:, None],
                ranges - level[:, None],
                np.where(some, traded[:, :-1] - traded[:, -1:], 0.0),
            ]
        ),
        profile=profile,
        recent=profile[:, -profile.shape[1] // _DAY_HOURS :].mean(axis=1),
        origin=origin,
    )


def _means(values: Float32, weights: Float32, half_lives: tuple[int, ...]) -> FloatArray:
    """Return exponentially weighted means [N, K] of values that are 0 where the weight is.

    Half-lives are in minutes.
    """
    context = values.shape[1]
    age = np.arange(context - 1, -1, -1)
    bar_minutes = CONTEXT_DAYS * _DAY_MINUTES // context
    decay = (0.5 ** (age[:, None] / (np.array(half_lives) / bar_minutes))).astype(np.float32)
    total = (weights @ decay).astype(np.float64)
    return np.asarray((values @ decay).astype(np.float64) / np.maximum(total, 1e-9))


def _profiles(size: Float32, seen: Float32) -> FloatArray:
    """Return the mean relative size [N, D] at the times of day that follow the origin."""
    shape = (len(size), CONTEXT_DAYS, size.shape[1] // CONTEXT_DAYS)
    days, present = size.reshape(shape), seen.reshape(shape)
    mean = days.sum(axis=2, keepdims=True) / np.maximum(present.sum(axis=2, keepdims=True), 1.0)
    relative = np.where(mean > 0, days / np.where(mean > 0, mean, 1.0), present)
    weight = (_DAY_DECAY ** np.arange(CONTEXT_DAYS - 1, -1, -1)).astype(np.float32)
    above = _smooth(np.einsum("d,ndl->nl", weight, relative).astype(np.float64))
    below = _smooth(np.einsum("d,ndl->nl", weight, present).astype(np.float64))
    return np.asarray((above + _PRIOR_DAYS) / (below + _PRIOR_DAYS))


def _smooth(values: FloatArray) -> FloatArray:
    """Return the mean over neighbouring times of day, around the clock."""
    bars = values.shape[1] // _SMOOTH_SHARE
    span = range(-bars, bars + 1)
    return np.asarray(sum(np.roll(values, shift, axis=1) for shift in span) / len(span))
