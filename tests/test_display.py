"""Figures as people read them."""

from __future__ import annotations

import math

import pytest

from cryptocast import display


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (62_000.5, "62,000.50"),
        (100, "100.00"),
        (99.99, "99.990"),
        (0.99999, "0.99999"),
        (0.00012345, "0.00012345"),
        (8.0123e-11, "8.0123e-11"),
        (0, "0.00"),
        (math.nan, "nan"),
    ],
)
def test_a_price_has_as_many_decimals_as_its_size_asks_for(value: float, text: str) -> None:
    assert display.price(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (61_927.516, 62_072.57, "61,927.52 .. 62,072.57"),
        (0.9999, 1.00003, "0.999900 .. 1.000030"),
        (99.85, 100.15, "99.850 .. 100.150"),
        (8.01e-11, 8.03e-11, "8.0100e-11 .. 8.0300e-11"),
        (5.0, 5.0, "5.0000 .. 5.0000"),
    ],
)
def test_the_ends_of_a_range_differ_by_three_digits(low: float, high: float, text: str) -> None:
    assert display.price_range(low, high) == text


def test_prices_beside_a_narrower_range_have_its_decimals() -> None:
    assert display.price_range(1.0, 1.4, 0.0002) == "1.000000 .. 1.400000"
    assert display.price(1.2, 0.0002) == "1.200000"


def test_half_a_range_is_a_percentage_however_narrow() -> None:
    assert display.half_width(99.0, 100.0, 101.0) == "1.00%"
    assert display.half_width(0.99999, 1.0, 1.00001) == "0.0010%"


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "5 min"), (3600, "1 h"), (5400, "1.5 h"), (86_400, "24 h")]
)
def test_a_step_is_so_many_minutes_or_hours_ahead(seconds: int, text: str) -> None:
    assert display.ahead(seconds) == text


def test_a_p_value_that_rounds_to_nothing_is_less_than_a_hundredth() -> None:
    assert [display.chance(p) for p in (0.52, 0.01, 0.004)] == ["p = 0.52", "p = 0.01", "p < 0.01"]


def test_a_share_is_a_percentage_with_or_without_a_sign() -> None:
    assert display.percent(0.0123) == "+1.2%"
    assert display.percent(-0.0123, 2) == "-1.23%"
    assert display.percent(0.803, sign=False) == "80.3%"


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert display.percent(-0.00001, 2) == display.percent(0.0, 2) == "0.00%"
    assert display.skill(-0.00001) == "0.00\N{NO-BREAK SPACE}%"


def test_a_number_has_thousands_separators() -> None:
    assert display.number(1234.567) == "1,234.57"
    assert display.number(12, 0) == "12"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_figure_that_does_not_exist_is_a_dash(value: float | None) -> None:
    assert display.number(value) == display.percent(value) == display.NOTHING


def test_a_count_has_its_noun() -> None:
    assert display.counted(1, "gap") == "1 gap"
    assert display.counted(0, "gap") == "0 gaps"
    assert display.counted(2016, "candle") == "2,016 candles"


def test_a_size_is_in_decimal_units() -> None:
    sizes = [display.size(n) for n in (0, 999, 1000, 6_571_556, 79_400_000_000)]
    assert sizes == ["0 B", "999 B", "1.0 kB", "6.6 MB", "79.4 GB"]
