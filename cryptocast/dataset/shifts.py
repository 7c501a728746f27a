"""Find level shifts: a coin that is redenominated or split moves to another level, and stays.

Bar s is one if its close lies 35 % or more above the last close before it, or as far below (a
factor of 1.35), and if the closes of the 12 bars before it, and those of the 12 bars from it on,
keep within an eighth of that move of the level on their side. After a gap of more than 12 bars
nothing tells how far a price would have moved by itself, so a factor of 1.9 is asked for. A crash
with aftershocks and a spike that reverts within 12 bars are none.

It is known when 12 bars have closed, and no feature may know the future: the rows of bars s to
s + 10 are computed as if it were a move. From the row of bar s + 11 on, its return counts as none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cryptocast.dataset.bars import LONGEST_SPAN_BARS, Bars
from cryptocast.values import IntArray

WAIT_BARS = 12
"""The bars from a shift on that are waited for, and those before it that are looked at.

More of them before it would not fit into what a feature remembers (`features.context_bars`).
"""

_LEAST = np.log(1.35)
_LEAST_AFTER_GAP = np.log(1.9)
_STAYS_WITHIN = 1 / 8


class Stretch(NamedTuple):
    """The rows of bars `[first, end)`, at which the same level shifts are known."""

    first: int
    end: int
    shifts: IntArray  # [S] bars, rising


def suspected(bars: Bars, end: int) -> IntArray:
    """Return the bars [S] before `end` that are level shifts by all that the bars before it say.

    Those of the last 12 bars may still turn out to be none.
    """
    jumps = np.flatnonzero(np.abs(bars.log_return[:end]) >= _LEAST)
    return np.array([s for s in jumps if _is_shift(bars, int(s), end)], dtype=np.int64)


def lasting(bars: Bars, end: int) -> IntArray:
    """Return the bars [S] that are known to be level shifts when bar `end - 1` has closed."""
    shifts = suspected(bars, end)
    return shifts[shifts + WAIT_BARS <= end]


def spans_shift(bars: Bars, at: IntArray, bar: IntArray, end: int) -> NDArray[np.bool_]:
    """Return whether a suspected shift lies between the close before bars `at` and that of `bar`.

    The same goes for origins `at` at which a shift was not known yet: it had blown up their sigma.
    `at` and `bar` are of shapes that broadcast.
    """
    spans = np.zeros(np.broadcast_shapes(at.shape, bar.shape), dtype=bool)
    for shift in suspected(bars, end):
        spans |= (at < shift + WAIT_BARS) & (shift <= bar)
    return spans


def stretches(bars: Bars) -> Iterator[Stretch]:
    """Yield the stretches of all rows; without a shift there is one."""
    shifts = lasting(bars, len(bars))
    firsts = [0, *(shifts + WAIT_BARS - 1).tolist(), len(bars)]
    for known in range(len(shifts) + 1):
        yield Stretch(firsts[known], firsts[known + 1], shifts[:known])


def without(bars: Bars, shifts: IntArray) -> Bars:
    """Return the bars as features see them once these shifts are known.

    The return of a shift is that of a gap which is too long. A range that spans it is none.
    Volumes of before are gone: they may be in another unit.
    """
    if not len(shifts):
        return bars
    age, log_range, log_volume = bars.age.copy(), bars.log_range.copy(), bars.log_volume.copy()
    near = shifts[age[shifts - 1] < LONGEST_SPAN_BARS]
    wide = log_range[near] >= np.abs(bars.log_return[near]) / 2
    log_range[near[wide]] = 0.0
    age[near - 1] = LONGEST_SPAN_BARS
    log_volume[: shifts[-1]] = np.nan
    return replace(bars, age=age, log_range=log_range, log_volume=log_volume)


def _is_shift(bars: Bars, s: int, end: int) -> bool:
    move = abs(bars.log_return[s])
    if bars.age[s - 1] >= LONGEST_SPAN_BARS and move < _LEAST_AFTER_GAP:
        return False
    near = np.arange(max(s - WAIT_BARS, 0), min(s + WAIT_BARS, end))
    near = near[~bars.missing[near]]
    level = np.where(near < s, bars.log_close[s - 1], bars.log_close[s])
    return bool(np.abs(bars.log_close[near] - level).max() <= _STAYS_WITHIN * move)
