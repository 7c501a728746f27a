"""Candles of a world that we know: calm and stormy stretches, or pure noise; windows of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cryptocast.dataset import Bars, Part, cut, lay_out
from cryptocast.values import Candles, Market, Windows

MARKET = Market("sim", "BTC", "EUR", "5m")
BAR = MARKET.interval_seconds
START = 1_717_372_800  # 2024-06-03T00:00:00Z
LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))
_INSIDE = 12  # moves within a bar, that high and low come from


def candles(n: int, seed: int, gaps: Iterable[int] = (), *, clustering: bool = True) -> Candles:
    """The candles of `n` bars from START; the bars in `gaps` have none.

    With `clustering` the volatility wanders (a log-AR(1) with a half-life of 34 bars),
    without it the returns are independent and alike.
    """
    random = np.random.default_rng(seed)
    level = np.zeros(n)
    shocks = random.normal(0, 0.12, n)
    if clustering:
        for bar in range(1, n):
            level[bar] = 0.98 * level[bar - 1] + shocks[bar]
    scale = 1e-3 / np.sqrt(_INSIDE) * np.exp(level)
    path = np.log(60_000) + np.cumsum(random.normal(size=(n, _INSIDE)) * scale[:, None]).reshape(
        n, _INSIDE
    )
    close = np.exp(path[:, -1])
    opening = np.concatenate(([60_000.0], close[:-1]))
    kept = np.ones(n, dtype=bool)
    kept[list(gaps)] = False
    return Candles.of(
        START + BAR * np.arange(n),
        opening,
        np.maximum(np.exp(path.max(axis=1)), opening),
        np.minimum(np.exp(path.min(axis=1)), opening),
        close,
        random.lognormal(1, 1, n),
    ).take(kept)


def bars(n: int, seed: int, gaps: Iterable[int] = (), *, clustering: bool = True) -> Bars:
    """The same laid on the grid."""
    found = candles(n, seed, gaps, clustering=clustering)
    return lay_out(found, MARKET, START, START + n * BAR)


def part(first: int, end: int) -> Part:
    """The bars `first <= bar < end` after START."""
    return Part(START + first * BAR, START + end * BAR)


def windows(laid: Bars, first: int, end: int, *, lookback: int = 16, horizon: int = 6) -> Windows:
    """The windows of the origins at bars `first <= bar < end`."""
    return cut(laid, part(first, end), lookback=lookback, horizon=horizon, max_stale_bars=3)
