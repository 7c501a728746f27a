"""A price in another currency, from two candles a bar."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryptocast.sources._rows import cross
from cryptocast.values import Candles, Page

START = 1_700_000_100  # on the grid
Row = tuple[int, float, float, float, float]


def page(*rows: Row, start: int = START, end: int = START + 3000) -> Page:
    """Rows of (seconds after START, open, high, low, close)."""
    columns = zip(*rows, strict=True) if rows else [[]] * 5
    times, *prices = (list(column) for column in columns)
    return Page(start, end, Candles.of([START + t for t in times], *prices), 1.5)


def crossed(coin: Page, token: Page) -> list[tuple[float, ...]]:
    """The derived rows, as `page` takes them."""
    candles = cross(coin, token, 300).candles
    columns = (candles.open, candles.high, candles.low, candles.close)
    times = (candles.open_time - START).tolist()
    return list(zip(times, *(column.tolist() for column in columns), strict=True))


def test_open_and_close_are_divided_and_high_and_low_are_bounds() -> None:
    assert crossed(page((0, 100, 110, 90, 105)), page((0, 2, 4, 1, 3))) == [
        (0, 50.0, 110.0, 22.5, 35.0)
    ]


def test_bounds_that_do_not_hold_open_and_close_are_widened() -> None:
    coin = page((0, 100, 100, 100, 100), (300, 90, 80, 70, 75))
    token = page((0, 1, 4, 2, 5), (300, 1, 1, 1, 1))
    assert crossed(coin, token) == [(0, 100.0, 100.0, 20.0, 20.0), (300, 90.0, 90.0, 70.0, 75.0)]


def test_both_sides_are_aligned_before_they_are_joined() -> None:
    coin = page((8, 4, 4, 4, 4), (599, 6, 6, 6, 6))
    token = page((299, 2, 2, 2, 2), (300, 2, 2, 2, 2))
    assert crossed(coin, token) == [(0, 2.0, 2.0, 2.0, 2.0), (300, 3.0, 3.0, 3.0, 3.0)]


def test_a_bar_that_either_side_lacks_is_no_row() -> None:
    coin = page((0, 4, 4, 4, 4), (300, 4, 4, 4, 4))
    token = page((300, 2, 2, 2, 2), (600, 2, 2, 2, 2))
    assert [row[0] for row in crossed(coin, token)] == [300]
    assert crossed(coin, page()) == []
    assert crossed(page(), token) == []


def test_of_two_rows_of_one_bar_the_later_one_wins() -> None:
    coin = page((0, 4, 4, 4, 4), (0, 6, 6, 6, 6))
    token = page((0, 1, 1, 1, 1), (5, 2, 2, 2, 2))
    assert crossed(coin, token) == [(0, 3.0, 3.0, 3.0, 3.0)]


def test_an_impossible_row_never_hides_a_sane_one() -> None:
    coin = page((0, 4, 4, 4, 4), (0, -6, 6, 6, 6), (0, 6, 5, 6, 6))
    token = page((0, 2, 2, 2, 2), (0, float("nan"), 2, 2, 2), (0, 0, 2, 2, 2))
    assert crossed(coin, token) == [(0, 2.0, 2.0, 2.0, 2.0)]


def test_an_impossible_price_on_either_side_is_a_row_that_is_refused_later() -> None:
    sane, broken = (0, 4.0, 4.0, 4.0, 4.0), (0, 4.0, 4.0, 0.0, 4.0)
    for coin, token in ((sane, broken), (broken, sane)):
        (row,) = crossed(page(coin), page(token))
        assert row[0] == 0
        assert np.isnan(row[1:]).all()


def test_prices_beyond_all_numbers_are_not_invented() -> None:
    (row,) = crossed(page((0, 1e300, 1e300, 1e300, 1e300)), page((0, 1e-300, 1, 1e-300, 1e-300)))
    assert row[1] == float("inf")


def test_the_page_is_what_both_sides_cover() -> None:
    rows: list[Row] = [(t, 4, 4, 4, 4) for t in range(0, 3000, 300)]
    derived = cross(page(*rows, end=START + 1200), page(*rows, start=START + 600), 300)
    assert (derived.start, derived.end) == (START + 600, START + 1200)
    assert (derived.candles.open_time - START).tolist() == [600, 900]
    assert (derived.derived, derived.skew_seconds) == (True, 1.5)
    assert np.isnan(derived.candles.volume).all()


price = st.floats(0.01, 1e6)


@given(st.lists(st.tuples(*[price] * 8), max_size=5))
def test_derived_candles_hold_their_open_and_close(bars: list[tuple[float, ...]]) -> None:
    def side(number: int, values: tuple[float, ...]) -> Row:
        low, one, other, high = sorted(values)
        return (300 * number, one, high, low, other)

    coin = page(*(side(n, bar[:4]) for n, bar in enumerate(bars)))
    token = page(*(side(n, bar[4:]) for n, bar in enumerate(bars)))
    c = cross(coin, token, 300).candles
    assert len(c) == len(bars)
    assert (c.high >= np.maximum(c.open, c.close)).all()
    assert (c.low <= np.minimum(c.open, c.close)).all()
    assert np.allclose(c.open * token.candles.open, coin.candles.open, rtol=1e-15, atol=0)
