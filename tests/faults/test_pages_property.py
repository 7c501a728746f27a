"""Whatever pages a source gives, cut by whatever faults: after healthy ones its candles are there.

What the faults of the list leave is right at every moment. A row that is wrong and plausible
(nothing tells it from a right one) is stored as it is said, and is right again as soon as its
bar is asked for again: a fetch asks for missing bars and for the newest `OVERLAP_BARS`.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptocast.candles import Normalised, normalise
from cryptocast.clock import VirtualClock
from cryptocast.errors import ConfigError, SourceError
from cryptocast.store import Store
from cryptocast.values import Candles, Market
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.serving.fetching import MarketFetch
from cryptocast.workspace import Workspace
from faults.cases import BAD_ROWS, CUT, FAULTS, NO_CANDLES, REFUSED, UNTIDY, heal
from faults.world import (
    BARS,
    CALL,
    SOURCES,
    START,
    Table,
    World,
    copied,
    series,
    table,
    with_no_bars,
)
from support import spoil
from support.commands import INTERVAL, NOW
from support.loopback import Reply, Rewrite
from support.loopback import Request as Asked

QUIET = settings(derandomize=True, database=None)
ENDING = [
    *(name for name in REFUSED if "quota" not in name),  # after which nothing is asked for a day
    *(name for name, fault in CUT.items() if fault.code != "source.timeout"),  # which take long
    *NO_CANDLES,
]
BAD = list(BAD_ROWS)
UNTIDY_ONES = [name for name in UNTIDY if "running" not in name]  # which are of one moment alone
ROWS_OF_A_STEP = 4


def fetched(spot: World, now: int, start: int, *, repair: bool = False) -> MarketFetch | None:
    """Fetch up to a moment; None where that failed with an error of ours."""
    spot.server.now = now + 100
    with Workspace.open(spot.folder, clock=VirtualClock(now)) as ws:
        try:
            return fetch(ws, start=start, repair=repair).markets[0]
        except (SourceError, ConfigError):
            return None


def careful(step: Rewrite) -> Rewrite:
    """The step where an answer has rows enough for it."""

    def rewrite(reply: Reply) -> Reply:
        return step(reply) if len(spoil.rows_in(reply) or []) >= ROWS_OF_A_STEP else reply

    return rewrite


bars = st.integers(0, BARS - 1)
# What ends a run is drawn less often than what only spoils a page.
steps = st.one_of(
    st.none(),
    st.sampled_from(ENDING),
    *[st.sampled_from(BAD) for _ in range(2)],
    *[st.sampled_from(UNTIDY_ONES) for _ in range(3)],
)
ranges = st.tuples(
    st.integers(0, BARS - CALL),  # the first bar that is asked for
    st.integers(CALL, BARS),  # and how many, at most
)


@settings(QUIET, max_examples=45)
@given(
    source=st.sampled_from(SOURCES),
    holes=st.sets(bars, max_size=8),
    runs=st.lists(ranges, min_size=2, max_size=4),
    script=st.lists(steps, min_size=4, max_size=12),
)
def test_after_healthy_answers_the_table_is_exactly_what_the_server_has(
    source: str, holes: set[int], runs: list[tuple[int, int]], script: list[str | None]
) -> None:
    with copied(source, with_no_bars()) as spot:
        c = spot.server.candles[spot.symbol]
        there = ~np.isin(c.open_time, [START + bar * INTERVAL for bar in holes])
        spot.server.candles[spot.symbol] = c.take(there)
        for name in script:
            spoiling = FAULTS[name].script()[:4] if name else [lambda reply: reply]
            if isinstance(spoiling[0], Reply):
                spot.server.faults.extend([None, *spoiling])
            else:
                spot.server.rewrite.extend(careful(step) for step in spoiling)
        latest = START
        for start, count in runs:
            now = START + min(start + count, BARS) * INTERVAL
            fetched(spot, now, START + start * INTERVAL)
            latest = max(latest, now)
            stored = spot.stored()
            assert stored.items() <= spot.truth.items()
            assert all(t + INTERVAL <= latest for t in stored)
        heal(spot)
        healthy = fetched(spot, NOW, START, repair=True)
        assert healthy is not None
        assert spot.stored() == spot.truth
        assert healthy.missing == len(holes)


def falsified(row: int) -> Rewrite:
    """Behind a row stands another of its time with other prices: the later one wins."""

    def change(rows: list[Any]) -> list[Any]:
        found = spoil._copy(rows[row % len(rows)])
        for column in ("open", "high", "low", "close"):
            spoil._scale(found, spoil._key(found, column), lambda price: price * 1.5)
        return [*rows, found]

    return spoil.on_rows(change)


def answered(asked: Asked) -> set[int]:
    """The bars that Bitvavo was asked for."""
    start, end = (int(asked.query[name]) // 1000 for name in ("start", "end"))
    return set(range(start, end, INTERVAL))


@settings(QUIET, max_examples=15)
@given(
    lies=st.lists(st.tuples(st.integers(1, BARS), st.integers(0, 12)), min_size=1, max_size=3),
    honest=st.lists(st.integers(1, BARS), max_size=2),
)
def test_a_plausible_lie_lasts_until_its_bar_is_asked_for_again(
    lies: list[tuple[int, int]], honest: list[int]
) -> None:
    with copied("bitvavo", with_no_bars()) as spot:
        truth = spot.truth
        wrong: set[int] = set()
        runs = [*lies, *((end, None) for end in honest)]
        for end, row in [*sorted(runs, key=lambda run: run[0]), (BARS, None)]:
            spot.server.requests.clear()
            spot.server.rewrite.clear()
            if row is not None:
                spot.server.rewrite.append(falsified(row))
            before = spot.stored()
            report = fetched(spot, START + end * INTERVAL, START)
            assert report is not None
            stored = spot.stored()
            assert report.revised == sum(stored[t] != row for t, row in before.items())
            asked = {bar for request in spot.server.requests for bar in answered(request)}
            believed = {t for t, values in stored.items() if values != truth[t]} - (wrong - asked)
            assert believed <= asked
            assert len(believed) <= (row is not None)
            wrong = wrong - asked | believed
        assert spot.stored().keys() == truth.keys()


numbers = itertools.count()


@cache
def store() -> Store:
    """One for all examples, each of which has a market of its own."""
    return Store(Path(tempfile.mkdtemp()) / "cryptocast.duckdb", 60)


def put(market: Market, clean: Normalised) -> None:
    with store().write() as writer:
        writer.put_candles(market, clean.candles, provenance="backfill", fetched_at=0.0)


def held(market: Market) -> Table:
    with store().read() as reader:
        return table(reader.candles([market], 0, 2 * NOW)[market])


pages = st.lists(
    st.tuples(
        bars,
        st.integers(1, 20),  # bars
        st.integers(0, 2**16),  # how it is spoilt
        st.sets(
            st.sampled_from(
                ["short", "twice", "unordered", "unaligned", "impossible", "beyond", "disagreeing"]
            )
        ),
    ),
    max_size=8,
)


def as_given(c: Candles, seed: int, spoilt: set[str], start: int, end: int) -> Candles:
    """The candles of a page as a source with these faults gives them."""
    draw = random.Random(seed)
    page = c.take((c.open_time >= start) & (c.open_time < end))
    if "beyond" in spoilt:
        page = c.take((c.open_time >= start - 3 * INTERVAL) & (c.open_time < end + 3 * INTERVAL))
    if "short" in spoilt:
        page = page.take(np.array([draw.random() < 0.6 for _ in range(len(page))], dtype=np.bool_))
    if "unordered" in spoilt:
        page = page.take(np.array(draw.sample(range(len(page)), len(page)), dtype=np.intp))
    parts = [page]
    if "twice" in spoilt:
        parts.append(page)
    if "disagreeing" in spoilt:
        parts.insert(0, other(page, 1.5))
    if "impossible" in spoilt:
        parts.append(other(page, draw.choice([np.nan, 0.0, -1.0, np.inf])))
    given = Candles.concatenate(parts)
    late = np.array([draw.randrange(INTERVAL) if "unaligned" in spoilt else 0 for _ in given.open])
    return Candles(given.open_time + late.astype(np.int64), *_values(given))


def other(page: Candles, factor: float) -> Candles:
    """The same bars with other prices."""
    prices = (column * factor for column in _values(page)[:4])
    return Candles(page.open_time, *prices, page.volume)


def _values(c: Candles) -> tuple[Any, ...]:
    return (c.open, c.high, c.low, c.close, c.volume)


@settings(QUIET, max_examples=40)
@given(spoilt=pages, holes=st.sets(bars, max_size=8), now=bars)
def test_normalised_pages_and_then_healthy_ones_make_the_servers_candles(
    spoilt: list[tuple[int, int, int, set[str]]], holes: set[int], now: int
) -> None:
    market = Market("bitvavo", f"C{next(numbers)}", "EUR", "5m")
    c = series()
    c = c.take(~np.isin(c.open_time, [START + bar * INTERVAL for bar in holes]))
    truth = table(c)
    for bar, count, seed, how in spoilt:
        start = START + bar * INTERVAL
        end = start + count * INTERVAL
        given = as_given(c, seed, how, start, end)
        put(market, normalise(given, market, now=START + now * INTERVAL, start=start, end=end))
        stored = held(market)
        assert stored.items() <= truth.items()
        assert all(t + INTERVAL <= START + now * INTERVAL for t in stored)
    for start in range(START, NOW, 13 * INTERVAL):
        end = min(start + 13 * INTERVAL, NOW)
        put(market, normalise(c, market, now=NOW, start=start, end=end))
    assert held(market) == {t: row for t, row in truth.items() if START <= t < NOW}
