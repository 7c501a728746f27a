"""Windows, which hold what is known at an origin, and their targets.

Inputs are strided views into the features. The target of step h is the log-return from the last
close at the origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cryptocast.dataset import features
from cryptocast.dataset.bars import Bars
from cryptocast.dataset.folds import Part
from cryptocast.dataset.shifts import spans_shift
from cryptocast.values import FloatArray, IntArray, Windows

_DIGITS = 9  # significant digits of a stored price
_ALL = slice(None)


def usable(bars: Bars, at: IntArray, lookback: int, max_stale_bars: int) -> NDArray[np.bool_]:
    """Return whether the windows [N] that end before bars `at` can be trusted.

    At most a quarter of a lookback may be missing, and the newest candle may be at most
    `max_stale_bars` bars old.
    """
    gone = np.concatenate(([0], np.cumsum(bars.missing)))
    missing = gone[at] - gone[at - lookback]
    return np.asarray((missing <= lookback // 4) & (bars.age[at - 1] <= max_stale_bars))


def unfit(bars: Bars, at: IntArray, lookback: int, max_stale_bars: int) -> list[str | None]:
    """Return why each window [N] that ends before bars `at` cannot be trusted, or None."""
    stale = bars.age[at - 1] > max_stale_bars
    good = usable(bars, at, lookback, max_stale_bars)
    return [
        "stale_data" if old else None if fine else "missing_bars"
        for old, fine in zip(stale, good, strict=True)
    ]


def cut(
    bars: Bars,
    part: Part,
    *,
    lookback: int,
    horizon: int,
    max_stale_bars: int,
    market: int = 0,
    chosen: slice = _ALL,
) -> Windows:
    """Return the usable windows of all origins of a part, with targets purged at its end.

    `chosen` takes some of them; the others cost no more than `origins` does.
    """
    at = origins(bars, part, lookback, max_stale_bars)[chosen]
    end = min(bars.index(part.end), len(bars))
    return _at(bars, at, lookback, log_returns(bars, at, horizon, end), market)


def origins(bars: Bars, part: Part, lookback: int, max_stale_bars: int) -> IntArray:
    """Return the bars [N] just after the origins of a part that have a usable window."""
    first = max(bars.index(part.start), lookback)
    end = min(bars.index(part.end), len(bars))
    at = np.arange(first, max(first, end), dtype=np.int64)
    return at[usable(bars, at, lookback, max_stale_bars)]


def before(bars: Bars, at: IntArray, lookback: int, market: int = 0) -> Windows:
    """Return the windows [N, L, F] that end before bars `at` (rising), with no targets."""
    windows = _at(bars, at, lookback, np.empty((len(at), 0)), market)
    # A view would keep the features of all bars in memory, for hundreds of markets at once.
    return replace(windows, inputs=windows.inputs.copy())


def before_each(asked: Sequence[tuple[Bars, IntArray, int]], lookback: int) -> Windows:
    """Return the windows of all that is asked: those that `before` cuts of each, in this order.

    Markets whose bars span the same range share the calls of NumPy.
    """
    alike: dict[tuple[int, int, int], list[int]] = {}
    for place, (bars, at, _) in enumerate(asked):
        alike.setdefault((bars.first, len(bars), int(at[0])), []).append(place)
    parts: dict[int, Windows] = {}
    for (_, _, first), places in alike.items():
        several = [asked[place][0] for place in places]
        found = features.compute_alike(several, first - lookback)
        for place, computed in zip(places, found, strict=True):
            bars, at, market = asked[place]
            targets = np.empty((len(at), 0))
            parts[place] = _cut(bars, at, lookback, targets, market, computed)
    return Windows.concatenate([parts[place] for place in range(len(asked))])


def at_origin(bars: Bars, lookback: int) -> Windows:
    """Return the one window [1, L, F] at the end of the bars."""
    return before(bars, np.array([len(bars)], dtype=np.int64), lookback)


def _at(bars: Bars, at: IntArray, lookback: int, targets: FloatArray, market: int) -> Windows:
    low = int(at[0]) - lookback if len(at) else 0
    return _cut(bars, at, lookback, targets, market, features.compute(bars, low))


def _cut(
    bars: Bars,
    at: IntArray,
    lookback: int,
    targets: FloatArray,
    market: int,
    computed: features.Features,
) -> Windows:
    """Return windows of features that begin with the first window, at bar 0 without any."""
    low = int(at[0]) - lookback if len(at) else 0
    if len(at) == 1:
        inputs = computed.values[None, :lookback]  # as below, of which most ticks have thousands
    elif len(at):
        # [T - L + 1, L, F]: view k covers the L bars from bar low + k on.
        views = sliding_window_view(computed.values, lookback, axis=0).transpose(0, 2, 1)
        contiguous = at[-1] == at[0] + len(at) - 1
        inputs = views[slice(0, len(at)) if contiguous else at - lookback - low]
    else:  # fewer bars than a lookback give no view
        inputs = np.empty((0, lookback, computed.values.shape[1]), dtype=np.float32)
    return Windows(
        inputs=inputs,
        sigma=computed.sigma[at - 1 - low],
        log_close=bars.log_close[at - 1],
        origin=bars.first + at * bars.market.interval_seconds,
        targets=targets,
        market=np.full(len(at), market, dtype=np.intp),
    )


def log_returns(bars: Bars, at: IntArray, horizon: int, end: int) -> FloatArray:
    """Return log-returns [N, H] from the last close before bar `at` to the close of step h.

    Step h is bar `at + h - 1`. NaN if its candle is missing, if its index is not below `end`, or
    if a level shift lies between or was not known yet, as far as the bars before `end` tell.
    """
    bar = at[:, None] + np.arange(horizon)
    end = min(end, len(bars))
    known = (bar < end) & ~spans_shift(bars, at[:, None], bar, end)
    bar = np.where(known, bar, 0)
    known &= ~bars.missing[bar]
    return np.where(known, bars.log_close[bar] - bars.log_close[at - 1][:, None], np.nan)


def to_prices(log_quantiles: FloatArray, last_close: float | FloatArray) -> FloatArray:
    """Return quantiles of log-returns [..., H, Q] as prices, rounded to 9 significant digits."""
    prices = last_close * np.exp(log_quantiles)
    with np.errstate(divide="ignore"):
        digits = _DIGITS - 1 - np.floor(np.log10(prices))
    power = 10.0 ** np.clip(digits, -300, 300)
    return np.asarray(np.rint(prices * power) / power)
