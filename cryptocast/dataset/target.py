"""The target of a forecast: the log-return from the last close; and the way back to prices."""

from __future__ import annotations

import numpy as np

from cryptocast.dataset.bars import Bars
from cryptocast.values import FloatArray, IntArray

_DIGITS = 9  # significant digits of a stored price


def log_returns(bars: Bars, at: IntArray, horizon: int, end: int) -> FloatArray:
    """[N, H] log-returns from the last close before bar `at` to the close of bar `at + h - 1`.

    NaN where that bar's candle is missing or its index is not below `end`.
    """
    bar = at[:, None] + np.arange(horizon)
    inside = bar < min(end, len(bars))
    bar = np.where(inside, bar, 0)
    known = inside & ~bars.missing[bar]
    return np.where(known, bars.log_close[bar] - bars.log_close[at - 1][:, None], np.nan)


def to_prices(log_quantiles: FloatArray, last_close: float) -> FloatArray:
    """[H, Q] quantiles of log-returns as prices, rounded to 9 significant digits."""
    prices = last_close * np.exp(log_quantiles)
    with np.errstate(divide="ignore"):
        digits = _DIGITS - 1 - np.floor(np.log10(prices))
    power = 10.0 ** np.clip(digits, -300, 300)
    return np.asarray(np.rint(prices * power) / power)
