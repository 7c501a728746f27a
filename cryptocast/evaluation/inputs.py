"""Tests of the inputs of served forecasts: sums like those of `monitoring`, but of faults.

- `inputs`: an input differs from what its candles give. Both are computed from the same candles,
  so no market, however wild, causes a fault, and 12 bars decide.
- `still`: the close moves, but range, place or volume repeat themselves, more often than where
  the model learned: the venue sends something else than before. A market without volume is no
  fault: it raises `watch` at most.
- `answers`: what was served is not what the model answers to the stored candles.

None of them says that the model has aged: a new one would learn from the same inputs.

On 16 markets of 2018, 2020-21 and 2024, a fortnight after each week that was learned from (579),
no input was ever wrong and no `still` came above 0.22 of its threshold; on 8 replays of 14 days
no answer was another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cryptocast.evaluation.monitoring import CEILING, Test, cusum
from cryptocast.values import FEATURES, FloatArray, InputArray, IntArray

TESTS = ("inputs", "still", "answers")
"""The tests of this module, by name."""

_TOLERANCE, _SLACK = 0.01, 1e-3  # of what the candles give, and besides
_OFF = 0.001  # of the width of a forecast
_FADING = 0.005  # of a value: a little more than the slowest average forgets in a bar
_BLOCK = 72  # bars over which the stillest hours of a model's past are measured
_HALF = 0.5
_WRONG_LIMIT, _STILL_LIMIT, _OFF_LIMIT = 6.0, 18.0, 3.0
_CANDLE_FEATURES = ("range", "place", "volume")  # what a candle says besides its close
_HABIT, _HABIT_CEILING = "volume", 0.9  # short of the threshold
_PSI_BINS = 10
_EVEN = 0.02  # a factor that varies less than this counts as one factor


def inputs_test(
    inputs: FloatArray, counted: FloatArray, names: Sequence[str], bars: IntArray
) -> Test:
    """Compare the inputs [N, I] of windows that end with `bars` [N] with what their candles give.

    Inputs on which others rest come first among the `names` [I]: the first that declines is the
    one that the test reports.
    """
    wrong = ~(np.abs(inputs - counted) <= _TOLERANCE * np.abs(counted) + _SLACK)  # NaN is wrong
    sums = _sums(wrong, np.full(len(names), _HALF), np.full(len(names), CEILING * _WRONG_LIMIT))
    worst = int(np.argmax(np.minimum(sums[-1], _WRONG_LIMIT)))
    test = Test.of("inputs", sums[:, worst], _WRONG_LIMIT, bars)
    if test.since is None:
        return test
    rows = wrong[:, worst] & (bars >= test.since)
    fault = _fault(inputs[rows, worst], counted[rows, worst])
    return replace(test, feature=names[worst], fault=fault)


def still_test(newest: InputArray, learned: InputArray, bars: IntArray) -> Test | None:
    """Look for candles in which only the close moves.

    `newest` [N, 2, F] are the last two bars of the windows, `learned` [M, F] what the model
    learned from. None if that is too little, or if no close has moved.
    """
    moved = newest[:, 1, FEATURES.index("return")] != 0
    usual = _stillest(learned)
    if usual is None or not moved.any():
        return None
    ceilings = np.array(
        [_HABIT_CEILING if name == _HABIT else CEILING for name in _CANDLE_FEATURES]
    )
    # Half way from the stillest hours to never moving.
    same = _same(newest[moved, 0], newest[moved, 1])
    sums = _sums(same, (1 + usual) / 2, ceilings * _STILL_LIMIT)
    worst = int(np.argmax(sums[-1]))
    test = Test.of("still", sums[:, worst], _STILL_LIMIT, bars[moved])
    return test if test.since is None else replace(test, feature=_CANDLE_FEATURES[worst])


def answers_test(served: FloatArray, answers: FloatArray, bars: IntArray) -> Test:
    """Compare what was served [N, H, Q], uncalibrated, with what the model answers now."""
    width = answers[..., -1:] - answers[..., :1]
    off = ~(np.abs(served - answers) <= _OFF * width)
    other = np.any(off, axis=(1, 2), keepdims=True)[..., 0]
    sums = _sums(other, np.array([_HALF]), np.array([CEILING * _OFF_LIMIT]))
    return Test.of("answers", sums[:, 0], _OFF_LIMIT, bars)


def _sums(faults: NDArray[np.bool_], allowances: FloatArray, ceilings: FloatArray) -> FloatArray:
    """Return Page's sums of the faults of each input, [N, I]."""
    columns = zip(faults.T.astype(np.float64), allowances, ceilings, strict=True)
    return np.stack([cusum(each, allowed, top) for each, allowed, top in columns], axis=1)


def _stillest(learned: InputArray) -> FloatArray | None:
    """Return the largest share of bars in a block that repeat a feature though the close moved."""
    moved = learned[1:, FEATURES.index("return")] != 0
    same = _same(learned[:-1], learned[1:])[moved]
    if len(same) < 2 * _BLOCK:
        return None
    return np.asarray(sliding_window_view(same, _BLOCK, axis=0).mean(axis=-1).max(axis=0))


def _same(before: InputArray, after: InputArray) -> NDArray[np.bool_]:
    """Return where a feature repeats itself: it stays, or fades with an average under it."""
    places = [FEATURES.index(name) for name in _CANDLE_FEATURES]
    then, now = before[:, places], after[:, places]
    return np.asarray(np.abs(now - then) <= _FADING * np.abs(then))


def _fault(inputs: FloatArray, counted: FloatArray) -> str:
    """Return in words what an input [N] is instead of what its candles give [N]."""
    if np.ptp(inputs) == 0:
        return f"stuck at {inputs[0]:z.2f}"
    factors = inputs[counted != 0] / counted[counted != 0]
    if len(factors):
        low, middle, high = np.quantile(factors, (0.1, 0.5, 0.9))
        if high - low <= _EVEN * abs(middle):
            return f"{middle:.2f} times what its candles give"
    return "not what its candles give"


def stability_index(learned: InputArray, now: InputArray) -> FloatArray:
    """Return the population stability index (PSI) of each feature, [F].

    `learned` [N, F] are the rows that a model learned from, `now` [M, F] the recent ones. The
    index is `sum((p - q) * log(p / q))` over the deciles of what was learned from (Siddiqi 2006,
    "Credit Risk Scorecards"): under 0.1 is called stable, over 0.25 a shift. Both figures are
    for independent rows; features of neighbouring bars are not, and a calm day alone exceeds
    them. Equal deciles count once, and a share is never taken below half a row. NaN if there is
    no row.
    """
    if not len(learned) or not len(now):
        return np.full(learned.shape[1], np.nan)
    return np.array([_index(*columns) for columns in zip(learned.T, now.T, strict=True)])


def _index(learned: InputArray, now: InputArray) -> float:
    edges = np.unique(np.quantile(learned, np.arange(1, _PSI_BINS) / _PSI_BINS))
    then, today = (_shares(values, edges) for values in (learned, now))
    return float(np.sum((today - then) * np.log(today / then)))


def _shares(values: InputArray, edges: InputArray) -> FloatArray:
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    return np.asarray(np.maximum(counts, 0.5) / len(values))
