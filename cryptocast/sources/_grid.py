"""Times of rows: how far apart they are, and which of them fit no candle."""

from __future__ import annotations

import numpy as np

from cryptocast.sources._content import bad_file
from cryptocast.values import Candles, IntArray, Market, iso

# As many rows that do not fit are told; more show that the times are not what they seem: at the
# end of daylight saving time, local times of 15 minutes repeat 4 bars.
_FEW_ROWS = 3

_MOST = 0.75

PLAUSIBLE_SECONDS = (10**9, 10**10)
"""2001 to 2286: no time in another unit looks like one of these."""

SECONDS_OF_INTERVALS = {
    **{"1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200},
    **{"4h": 14_400, "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400, "3d": 259_200},
    **{"1w": 604_800, "1mo": 2_592_000},
}
"""The intervals of which venues make candles."""

_SAME = 1e-6  # relative: two formats may round a price differently


def step_of(open_time: IntArray, fewest_steps: int) -> tuple[int, bool] | None:
    """Return the median distance of rows in seconds, and whether it is their interval.

    It is not the interval if bars are missing so often that the next row is usually some bars
    away. Return None if there are fewer distances than `fewest_steps`.
    """
    steps = np.diff(open_time)
    if np.any(steps <= 0):
        open_time = np.unique(open_time)
        steps = np.diff(open_time)
    if len(steps) < fewest_steps:
        return None
    step = int(np.median(steps))
    usual = step in SECONDS_OF_INTERVALS.values()
    # A few rows may be off, and local times of days are when the clocks change.
    return step, usual and bool(np.mean(steps % step == 0) >= _MOST)


def odd_times(files: str, candles: Candles, market: Market) -> list[str]:
    """Return what is odd about the times of a few rows. Raise SourceError if it is more than a few.

    `files` names where they come from.
    """
    remarks = []
    for rows, words in _misfits(candles, market.interval_seconds):
        remark = f"{files}: {rows:,} of {len(candles):,} rows {words}"
        if rows > _FEW_ROWS or 2 * rows > len(candles):
            raise bad_file(
                remark,
                hint=f"a row's time says when its candle of {market.interval} opens, in UTC; "
                'another column: [source] columns = { open_time = "its name" }',
            )
        remarks.append(remark)
    return remarks


def _misfits(candles: Candles, interval_seconds: int) -> list[tuple[int, str]]:
    """Return what is odd about the times of rows: how many rows have it, and words for it.

    The words name the first of these rows by its time.
    """
    values = np.stack([candles.open, candles.high, candles.low, candles.close, candles.volume])
    # A row with an impossible price is refused later on, and hides no other.
    sane = np.all(np.isfinite(values[:4]) & (values[:4] > 0), axis=0)
    times, values = candles.open_time[sane], values[:, sane]
    bars = times // interval_seconds
    order = np.argsort(bars, kind="stable")
    earlier, later = order[:-1], order[1:]
    shared = bars[earlier] == bars[later]
    earlier, later = earlier[shared], later[shared]
    same = np.isclose(values[:, earlier], values[:, later], rtol=_SAME, atol=0, equal_nan=True)
    found = (
        (np.flatnonzero(times % interval_seconds), "lie between the times at which candles open"),
        (np.sort(earlier[~same.all(axis=0)]), "share their candle with a row of other values"),
    )
    return [
        (len(rows), f"{words}, the first at {iso(int(times[rows[0]]))}")
        for rows, words in found
        if len(rows)
    ]
