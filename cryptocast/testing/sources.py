"""What a source of candles promises (`seams.CandleSource`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from cryptocast.seams import CandleSource
from cryptocast.testing.claims import check, check_refused
from cryptocast.values import Candles, FloatArray, Market, Page


def check_source(source: CandleSource, market: Market, start: int, end: int) -> None:
    """Assert that a source gives the candles of a market in `[start, end)`, however it is asked.

    Both ends lie on the grid, at least ten bars apart, and most candles between them are there.
    """
    bar, whole = market.interval_seconds, _ask(source, market, start, end)
    half = (end - start) // bar // 2
    check(len(rows(whole)) >= half, "half of the range's candles are missing")
    _check_pages(whole, start, end)
    middle = start + half * bar
    edges = (start, start + bar, start + bar + 1, middle, end)
    pieces = [page for a, b in pairwise(edges) for page in _ask(source, market, a, b)]
    same = rows(pieces) == rows(whole)
    check(same, "asking in pieces gives other candles than asking at once")
    for a, b in ((start, start), (start + bar, start), (start + 1, start + bar - 1)):
        check(rows(_ask(source, market, a, b)) == [], "a range without any close holds a candle")
    for flag in ("publishes_late", "metered"):
        check(isinstance(getattr(source, flag), bool), f"{flag} is neither True nor False")
    check(_is_count(source.bars_a_call), "bars_a_call is no positive whole number")
    back = source.bars_back
    check(back is None or _is_count(back), "bars_back is neither None nor a positive whole number")
    nobody = replace(market, base="NOPE")
    check_refused(lambda: _ask(source, nobody, start, end), "config.symbol", "an unknown symbol")
    source.close()
    source.close()
    again = rows(_ask(source, market, start, end)) == rows(whole)
    check(again, "after it was closed it gives other candles")


def _ask(source: CandleSource, market: Market, start: int, end: int) -> list[Page]:
    return list(source.pages(market, start, end))


def _check_pages(pages: Sequence[Page], start: int, end: int) -> None:
    """Assert that pages cover a range, oldest first, with columns of the right types."""
    check((pages[0].start, pages[-1].end) == (start, end), "the pages do not cover the range")
    following = all(left.end == right.start for left, right in pairwise(pages))
    check(following, "the pages do not follow each other, oldest first")
    for page in pages:
        times = page.candles.open_time
        inside = bool(((times >= page.start) & (times < page.end)).all())
        check(inside and page.start < page.end, "a page holds candles that lie outside of it")
        check(times.dtype == np.int64, "open_time is not of whole seconds (int64)")
        for column in prices(page.candles):
            fits = column.dtype == np.float64 and len(column) == len(times)
            check(fits, "a column is not of float64, or not as long as open_time")


def _is_count(number: object) -> bool:
    return isinstance(number, int) and number > 0


def rows(pages: Sequence[Page]) -> list[tuple[Any, ...]]:
    """Return every row of all pages, prices as texts so that NaN equals NaN."""
    if not pages:
        return []
    candles = Candles.concatenate([page.candles for page in pages])
    columns = [candles.open_time.tolist(), *([repr(p) for p in a] for a in prices(candles))]
    return list(zip(*columns, strict=True))


def prices(candles: Candles) -> tuple[FloatArray, ...]:
    """Return the columns of candles that are numbers."""
    return (candles.open, candles.high, candles.low, candles.close, candles.volume)
