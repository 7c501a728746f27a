"""A price in another currency: candles of a coin over candles of a token of that currency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryptocast.sources._rows import between
from cryptocast.values import Candles, Page


def cross(coin: Page, token: Page, interval_seconds: int) -> Page:
    """The derived page of what both pages cover, in units of the token; no volume.

    Both are aligned to the interval first; a bar that either lacks is no row. Open and
    close are exact. When a high or low was reached within the bar is not known, so those
    are the bounds high/low and low/high, widened where they do not hold open and close. A
    bar that either has with an impossible price alone is a row of NaN, which is refused
    later on: such a bar is broken, not missing.
    """
    start, end = max(coin.start, token.start), min(coin.end, token.end)
    upper, lower = _one_a_bar(coin.candles, interval_seconds), token.candles
    lower = _one_a_bar(lower, interval_seconds)
    times, ours, theirs = np.intersect1d(upper.open_time, lower.open_time, return_indices=True)
    upper, lower = upper.take(ours), lower.take(theirs)
    with np.errstate(over="ignore", under="ignore"):  # infinite or zero, refused as such
        open_, close = upper.open / lower.open, upper.close / lower.close
        high = np.maximum(upper.high / lower.low, np.maximum(open_, close))
        low = np.minimum(upper.low / lower.high, np.minimum(open_, close))
    candles = between(Candles.of(times, open_, high, low, close), start, end)
    return Page(start, end, candles, token.skew_seconds, derived=True)


def _one_a_bar(candles: Candles, interval_seconds: int) -> Candles:
    """Aligned, rising and unique: the last sane row of each bar, else one of NaN."""
    times = candles.open_time // interval_seconds * interval_seconds
    prices = np.stack([candles.open, candles.high, candles.low, candles.close])
    sane = np.all(np.isfinite(prices) & (prices > 0), axis=0) & (candles.high >= candles.low)
    # By bar, within it the sane behind the others, among those as the answer had them.
    order = np.lexsort((sane, times))
    rising = times[order]
    wins = order[np.append(rising[1:] != rising[:-1], True)[: len(order)]]
    chosen = replace(candles, open_time=times).take(wins)
    return Candles.of(chosen.open_time, *np.where(sane[wins], prices[:, wins], np.nan))
