"""Compute what a market's last month says: how large its moves were, and how long that lasts.

Volatilities of spans of days, and of the random walk that fits the market best: markets and years
differ in how long a wild hour stays wild. A base network that reads them for its later steps
gains over 24 steps on other years and venues (`make ablation`).

A month is long, so it is read in blocks of eight bars, and only three times a day, at 00:00, 08:00
and 16:00 UTC: until the next time, what was known then holds. Level shifts are no moves here
either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cryptocast.dataset.averages import DECAYS, MEMORY_BARS, Moves, sweep, volatility
from cryptocast.dataset.bars import Bars
from cryptocast.dataset.days import DAY_DECAY, days_back, runs, shifted
from cryptocast.values import DAY_SECONDS, FloatArray

TIMES_A_DAY = 3
"""How often the month is read."""

BLOCK_BARS = 8
"""Bars of a block: it divides a third of a day of an hour's candles, and the memory."""

HALF_LIVES = (1, 3, 7, 28)  # days, of the volatilities of spans of days
WALK_BLOCKS = (1, 3)  # steps ahead, in blocks, for which a walk is chosen
LARGEST_MOVE = 12.0  # a larger one, in sigmas, counts as this

_SPARE_DAYS = 2  # less than features remember, for the first block's own memory
_MEMORY = MEMORY_BARS // BLOCK_BARS
_BLOCK_DECAYS = np.tile(DECAYS**BLOCK_BARS, 2)


@dataclass(frozen=True, slots=True)
class Month:
    """Answers of the month before each of R rows, of one market or of M."""

    squares: FloatArray  # [4, ..., R] the mean square of a bar's move by `HALF_LIVES`, or 0
    walks: FloatArray  # [2, 4, ..., R] how much the walk of each decay counts, by `WALK_BLOCKS`


def month_days(interval_seconds: int) -> int:
    """Return how many days are read, 0 for candles over an hour."""
    return max(days_back(interval_seconds) - _SPARE_DAYS, 0)


def month(bars: Bars, told: Moves, first: int) -> Month:
    """Return what is known at the rows from `first` on; `told` are the `moves` of the bars."""
    step = bars.market.interval_seconds
    days, third = month_days(step), DAY_SECONDS // step // TIMES_A_DAY
    rows = np.arange(first, len(bars))
    if not days:
        shape = *bars.age.shape[:-1], len(rows)
        walks = np.full((len(WALK_BLOCKS), len(DECAYS), *shape), 1 / len(DECAYS))
        return Month(np.zeros((len(HALF_LIVES), *shape)), walks)
    lead = bars.first // step % third + third  # bars that are empty, from a time of reading on
    last = (lead + rows + 1) // third - 1  # of the thirds of days, the one that ended before
    blocks = _Blocks.of(bars, told, lead, (int(last[-1]) + 1) * third)
    window = _Window(int(last[0]), third // BLOCK_BARS, days)
    at = last - last[0]
    return Month(_squares(blocks, window)[..., at], _walks(blocks, window)[..., at])


@dataclass(frozen=True, slots=True)
class _Blocks:
    """B blocks of bars, the first of them empty."""

    squares: FloatArray  # [..., B] sums of squared moves
    moved: FloatArray  # [..., B] how many moves that were
    variance: FloatArray  # [4, ..., B] by `DECAYS`, all moves of a block alike; 0 if there is none
    move: FloatArray  # [..., B] the sum of the log-returns
    ends: FloatArray  # [..., B] 1 where the last bar has a candle

    @classmethod
    def of(cls, bars: Bars, told: Moves, lead: int, length: int) -> _Blocks:
        """Divide the bars after so many empty ones into blocks, up to a length in bars."""

        def blocks(values: FloatArray) -> FloatArray:
            held = np.zeros((*values.shape[:-1], length))
            held[..., lead:] = values[..., : max(length - lead, 0)]
            return held.reshape(*values.shape[:-1], -1, BLOCK_BARS)

        per_bar, moved = told
        sizes = blocks(np.stack([per_bar**2, moved])).sum(axis=-1)
        swept = sweep(np.repeat(sizes, len(DECAYS), axis=0), _BLOCK_DECAYS, 0, _MEMORY)
        sums, weights = np.split(swept, 2)
        return cls(
            squares=sizes[0],
            moved=sizes[1],
            variance=sums / np.where(weights > 0, weights, 1.0),
            move=blocks(bars.log_return).sum(axis=-1),
            ends=blocks((~bars.missing).astype(np.float64))[..., -1],
        )


@dataclass(frozen=True, slots=True)
class _Window:
    """The days before each time of reading from the first one on."""

    first: int
    blocks: int  # between one time and the next
    days: int

    def sums(self, values: FloatArray, decay: float | FloatArray) -> FloatArray:
        """Return sums [..., R] of the values [..., B] of blocks, a day further back by `decay`.

        Every sum adds as many numbers in the same order, so that the bits don't depend on R.
        """
        read = values.reshape(*values.shape[:-1], -1, self.blocks).sum(axis=-1)
        length = TIMES_A_DAY * self.days
        before = np.zeros((*read.shape[:-1], length))
        kept = np.concatenate((before, read), axis=-1)[..., self.first + 1 :]
        weights = decay ** (np.arange(length)[::-1] // TIMES_A_DAY)
        return np.asarray((sliding_window_view(kept, length, axis=-1) * weights).sum(axis=-1))


def _squares(blocks: _Blocks, window: _Window) -> FloatArray:
    """Return the mean squares [4, ..., R] of moves by `HALF_LIVES`."""
    half_lives = np.array(HALF_LIVES).reshape(-1, *[1] * (blocks.squares.ndim + 1))
    sums, counts = (
        window.sums(each, 0.5 ** (1 / half_lives)) for each in (blocks.squares, blocks.moved)
    )
    return np.asarray(sums / np.where(counts > 0, counts, 1.0))


def _walks(blocks: _Blocks, window: _Window) -> FloatArray:
    """Return [2, 4, ..., R], how likely each walk made the moves of the days before.

    A walk's moves are Laplace's, as wide as its volatility times a factor of its own. Moves over
    several blocks overlap, so each counts for one block's share.
    """
    width = volatility(blocks.variance)
    known = (blocks.variance[0] > 0) * blocks.ends
    told = np.stack([_told(blocks, width, known, step) for step in WALK_BLOCKS])
    found = window.sums(told, DAY_DECAY)
    ratios, logs, counts = np.split(found, [len(DECAYS), 2 * len(DECAYS)], axis=1)
    once_each = np.where(counts > 0, counts, 1.0)
    loss = np.log(np.maximum(ratios / once_each, 1e-6)) + logs / once_each
    share = counts / np.array(WALK_BLOCKS).reshape(-1, *[1] * (counts.ndim - 1))
    likely = np.exp((loss.min(axis=1, keepdims=True) - loss) * share)
    return np.asarray(likely / likely.sum(axis=1, keepdims=True))


def _told(blocks: _Blocks, width: FloatArray, known: FloatArray, step: int) -> FloatArray:
    """Return [9, ..., B] of the moves that end at each block: size in widths, log of width, count.

    The widths of the four walks are those when the move began, `step` blocks before.
    """
    move, there = np.abs(runs(blocks.move, [step])[0]), shifted(known, step) * blocks.ends
    before = np.where(there > 0, shifted(width, step), 1.0)
    largest = LARGEST_MOVE * np.sqrt(step * BLOCK_BARS) * before[0]
    sizes = np.minimum(move, largest) / before
    return np.concatenate([there * sizes, there * np.log(before), there[None]])
