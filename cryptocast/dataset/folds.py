"""Divide bars into those that teach, validate and judge: parts, splits and rolling folds.

An (origin, step) belongs to the part that holds its target, and its origin is not before
that part's first open time. So a target never straddles two parts (the purge), and the
number of origins falls by one with each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """The bars with open time in `[start, end)`, Unix seconds on the grid."""

    start: int
    end: int

    def bars(self, interval_seconds: int) -> int:
        """Return how many bars it holds."""
        return (self.end - self.start) // interval_seconds


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of one rolling-origin plan in order of time: train, validation, gate, test."""

    train: Part
    validation: Part
    gate: Part
    test: Part

    @property
    def judged(self) -> Part:
        """The gate's origins, which nothing else may use: gate and test together."""
        return Part(self.gate.start, self.test.end)


def plan(
    start: int,
    end: int,
    interval_seconds: int,
    *,
    test_bars: int,
    gate_bars: int,
    validation_bars: int,
) -> Split:
    """Split the bars `[start, end)` from the newest backwards.

    If there are few bars, a part takes at most a quarter of those left for it (and at least
    one), so that any range of 24 bars and more can be split.
    """
    left = (end - start) // interval_seconds
    cuts = [end]
    for wanted in (test_bars, gate_bars, validation_bars):
        taken = min(wanted, max(left // 4, 1))
        left -= taken
        cuts.append(cuts[-1] - taken * interval_seconds)
    test, gate, validation = cuts[1], cuts[2], cuts[3]
    return Split(Part(start, validation), Part(validation, gate), Part(gate, test), Part(test, end))


def rolling(learned: Part, interval_seconds: int, *, folds: int) -> Iterator[tuple[Part, Part]]:
    """Yield rolling-origin folds: each trains on all before the stretch that it validates on.

    The last half of the part is cut into `folds` stretches of equal length; the newest
    fold comes last.
    """
    bars = learned.bars(interval_seconds)
    stretch = bars // 2 // folds
    for fold in range(folds):
        first = learned.end - (folds - fold) * stretch * interval_seconds
        yield Part(learned.start, first), Part(first, first + stretch * interval_seconds)
