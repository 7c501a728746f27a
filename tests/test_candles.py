from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptocast.candles import Normalised, aggregate, normalise
from cryptocast.values import Candles, Market

MARKET = Market("bitvavo", "BTC", "EUR", "5m")
BAR = MARKET.interval_seconds
START = 1_717_372_800  # 2024-06-03T00:00:00Z
FAR = START + 1_000 * BAR

Row = tuple[int, float, float, float, float, float]


def candles(rows: list[Row]) -> Candles:
    return (
        Candles.of(*(list(column) for column in zip(*rows, strict=True)))
        if rows
        else (Candles.empty())
    )


def rows_of(found: Candles) -> list[Row]:
    columns = (found.open_time, found.open, found.high, found.low, found.close, found.volume)
    # NaN differs from itself; None doesn't.
    return [
        tuple(None if value != value else value for value in row)  # type: ignore[misc]
        for row in zip(*(column.tolist() for column in columns), strict=True)
    ]


def sane(moment: int, price: float = 100.0, volume: float = 1.0) -> Row:
    return (moment, price, price + 1, price - 1, price, volume)


prices = st.floats(min_value=10, max_value=1e6)
offsets = st.integers(min_value=-5 * BAR, max_value=40 * BAR)
sane_rows = st.builds(
    sane, offsets.map(lambda o: START + o), prices, st.floats(0, 1e9) | st.just(float("nan"))
)
any_number = st.floats() | st.sampled_from([0.0, -1.0, float("nan"), float("inf")])
any_rows = st.tuples(
    offsets.map(lambda o: START + o), any_number, any_number, any_number, any_number, any_number
)


@given(st.lists(sane_rows | any_rows, max_size=40))
def test_normalising_twice_changes_nothing(rows: list[Row]) -> None:
    once = normalise(candles(rows), MARKET, now=FAR)
    twice = normalise(once.candles, MARKET, now=FAR)
    assert rows_of(twice.candles) == rows_of(once.candles)
    assert (twice.rejected, twice.duplicates, twice.unclosed, twice.out_of_range) == (0, 0, 0, 0)
    assert twice.example is None


@given(
    st.lists(sane_rows, max_size=40, unique_by=lambda row: row[0] // BAR).flatmap(
        lambda rows: st.tuples(st.just(rows), st.permutations(rows))
    )
)
def test_the_order_of_the_input_does_not_matter(pair: tuple[list[Row], list[Row]]) -> None:
    given_so, given_else = pair
    one = normalise(candles(given_so), MARKET, now=FAR)
    other = normalise(candles(given_else), MARKET, now=FAR)
    assert rows_of(one.candles) == rows_of(other.candles)


@given(st.lists(sane_rows | any_rows, max_size=40), st.integers(0, 40 * BAR))
def test_no_candle_is_kept_that_is_not_closed(rows: list[Row], after: int) -> None:
    now = START + after + 0.5
    found = normalise(candles(rows), MARKET, now=now)
    assert (found.candles.open_time + BAR <= now).all()
    assert found.unclosed == sum(row[0] // BAR * BAR + BAR > now for row in rows)


@given(st.lists(sane_rows | any_rows, max_size=40), st.integers(0, 40 * BAR))
def test_every_row_is_kept_or_counted_once(rows: list[Row], after: int) -> None:
    found = normalise(candles(rows), MARKET, now=START + after, start=START, end=START + 20 * BAR)
    counted = found.rejected + found.duplicates + found.unclosed + found.out_of_range
    assert len(found.candles) + counted == len(rows)
    assert (np.diff(found.candles.open_time) >= BAR).all()
    assert (found.candles.open_time % BAR == 0).all()
    assert (found.example is None) == (found.rejected == 0)


@given(st.lists(sane_rows, max_size=40))
def test_of_two_rows_for_one_open_time_the_later_wins(rows: list[Row]) -> None:
    expected = {row[0] // BAR * BAR: row[1:] for row in rows}
    found = normalise(candles(rows), MARKET, now=FAR)
    floored = [(moment, *values) for moment, values in sorted(expected.items())]
    assert rows_of(found.candles) == rows_of(candles(floored))
    assert found.duplicates == len(rows) - len(expected)


def test_a_candle_that_closes_right_now_is_closed() -> None:
    found = normalise(candles([sane(START)]), MARKET, now=START + BAR)
    assert len(found.candles) == 1


def test_the_range_holds_its_start_and_not_its_end() -> None:
    rows = [sane(START + bar * BAR) for bar in range(4)]
    found = normalise(candles(rows), MARKET, now=FAR, start=START + BAR, end=START + 3 * BAR)
    assert found.candles.open_time.tolist() == [START + BAR, START + 2 * BAR]
    assert found.out_of_range == 2


@pytest.mark.parametrize(
    ("row", "example"),
    [
        (
            (START, 100.0, 98.0, 99.0, 98.5, 1.0),
            "2024-06-03T00:00:00Z: high is below low "
            "(open 100, high 98, low 99, close 98.5, volume 1)",
        ),
        (
            (START, 0.0, 1.0, 0.0, 0.5, float("nan")),
            "2024-06-03T00:00:00Z: a price is not above zero "
            "(open 0, high 1, low 0, close 0.5, volume nan)",
        ),
        (
            (START + 7, float("nan"), 1.0, 1.0, 1.0, 2.0),
            "2024-06-03T00:00:00Z: a price is not a finite number "
            "(open nan, high 1, low 1, close 1, volume 2)",
        ),
        (
            (START, 1.0, 1.0, 1.0, 1.0, float("inf")),
            "2024-06-03T00:00:00Z: volume is infinite (open 1, high 1, low 1, close 1, volume inf)",
        ),
        (
            (START, 1.0, 1.0, 1.0, 1.0, -2.0),
            "2024-06-03T00:00:00Z: volume is negative (open 1, high 1, low 1, close 1, volume -2)",
        ),
    ],
)
def test_an_impossible_row_is_counted_with_an_example(row: Row, example: str) -> None:
    found = normalise(candles([sane(START + BAR), row]), MARKET, now=FAR)
    assert (found.rejected, found.example) == (1, example)
    assert found.candles.open_time.tolist() == [START + BAR]


def test_the_example_is_the_oldest_of_the_impossible_rows() -> None:
    rows = [(START + bar * BAR, 1.0, 1.0, 2.0, 1.0, 0.0) for bar in (5, 2, 9)]
    found = normalise(candles(rows), MARKET, now=FAR)
    assert found.rejected == 3
    assert found.example is not None
    assert found.example.startswith("2024-06-03T00:10:00Z: ")


def test_an_impossible_row_does_not_hide_a_sane_one_of_the_same_time() -> None:
    broken = (START, 100.0, 90.0, 110.0, 100.0, 1.0)
    found = normalise(candles([sane(START), broken]), MARKET, now=FAR)
    assert rows_of(found.candles) == [sane(START)]
    assert (found.rejected, found.duplicates) == (1, 0)


def test_an_open_outside_high_and_low_is_kept_as_given() -> None:
    row = (START, 105.0, 101.0, 99.0, 100.0, 1.0)
    assert rows_of(normalise(candles([row]), MARKET, now=FAR).candles) == [row]


def test_no_candle_at_all_normalises_to_none() -> None:
    found = normalise(Candles.empty(), MARKET, now=FAR)
    assert isinstance(found, Normalised)
    assert len(found.candles) == 0


# Finer candles put together to longer ones.


def minutes(kept: list[int], seed: int = 1, step: int = BAR) -> Candles:
    """Candles of `step` seconds at these places after START, of one random path."""
    n = max(kept, default=0) + 1
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, n)))
    opening = np.append(100.0, close[:-1])
    edge = random.random((2, n)) / 10
    every = Candles.of(
        START + step * np.arange(n),
        opening,
        np.maximum(opening, close) + edge[0],
        np.minimum(opening, close) - edge[1],
        close,
        random.integers(0, 100, n).astype(float),
    )
    return every.take(np.array(kept, dtype=np.intp))


def slowly(found: Candles, finer: int, seconds: int) -> list[Row]:
    """The same by a loop over the times that a longer candle needs."""
    rows = {row[0]: row for row in rows_of(found)}
    made = []
    for start in sorted({moment // seconds * seconds for moment in rows}):
        parts = [rows.get(moment) for moment in range(start, start + seconds, finer)]
        if all(part is not None for part in parts):
            whole = [part for part in parts if part is not None]
            high, low = max(p[2] for p in whole), min(p[3] for p in whole)
            volume = sum(p[5] for p in whole)
            made.append((start, whole[0][1], high, low, whole[-1][4], volume))
    return made


places = st.lists(st.integers(0, 80), unique=True, max_size=81).map(sorted)


@given(places | st.integers(0, 80).map(lambda n: list(range(n))), st.integers(1, 13))
def test_longer_candles_are_those_that_a_slow_loop_puts_together(kept: list[int], n: int) -> None:
    given_so = minutes(kept)
    found = aggregate(given_so, BAR, n * BAR)
    assert rows_of(found) == slowly(given_so, BAR, n * BAR)
    assert (found.open_time % (n * BAR) == 0).all()


@given(places, st.integers(0, 5))
def test_put_together_twice_is_put_together_at_once(kept: list[int], seed: int) -> None:
    quarters = aggregate(minutes(kept, seed), BAR, 3 * BAR)
    hours = aggregate(quarters, 3 * BAR, 12 * BAR)
    assert rows_of(hours) == rows_of(aggregate(minutes(kept, seed), BAR, 12 * BAR))


def test_one_without_all_of_its_parts_is_left_out() -> None:
    whole = list(range(6 * 12))
    for lost in (12, 17, 23):
        found = aggregate(minutes([b for b in whole if b != lost]), BAR, 12 * BAR)
        assert found.open_time.tolist() == [START + 3600 * h for h in (0, 2, 3, 4, 5)]


def test_a_first_and_a_last_one_that_are_cut_are_left_out() -> None:
    found = aggregate(minutes(list(range(1, 35))), BAR, 12 * BAR)
    assert found.open_time.tolist() == [START + 3600]


def test_a_volume_that_is_unknown_in_a_part_is_unknown_in_the_whole() -> None:
    known = minutes(list(range(6)))
    volume = np.where(np.arange(6) == 4, np.nan, known.volume)
    found = aggregate(replace(known, volume=volume), BAR, 3 * BAR)
    assert np.isnan(found.volume).tolist() == [False, True]
    assert np.isfinite(found.close).all()


@pytest.mark.parametrize("candle_count", [0, 2])
def test_too_few_for_one_are_none(candle_count: int) -> None:
    found = aggregate(minutes(list(range(candle_count))), BAR, 3 * BAR)
    assert len(found) == 0


def test_a_day_of_minutes_takes_far_less_than_ten_milliseconds() -> None:
    minute = Market("coincap", "BTC", "USD", "1m")
    raw = candles([sane(START + bar * 60) for bar in range(1_440)])
    times = []
    for _ in range(5):
        began = time.thread_time()
        normalise(raw, minute, now=FAR)
        times.append(time.thread_time() - began)
    assert min(times) < 0.01
