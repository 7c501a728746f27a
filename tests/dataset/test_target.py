from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptocast.dataset import log_returns, to_prices
from cryptocast.dataset.averages import SIGMA_FLOOR
from cryptocast.models import reference_shape
from cryptocast.models._quantiles import MIN_STEP
from support.synthetic import LEVELS, bars


def test_a_step_is_the_return_from_the_last_close_to_the_close_of_its_bar() -> None:
    laid = bars(30, 1)
    found = log_returns(laid, np.array([10, 12]), 3, 30)
    for row, origin in enumerate((10, 12)):
        for step in (1, 2, 3):
            expected = laid.log_close[origin + step - 1] - laid.log_close[origin - 1]
            assert found[row, step - 1] == expected


def test_a_target_whose_candle_never_came_is_unknown() -> None:
    found = log_returns(bars(30, 1, [11]), np.array([10]), 3, 30)
    assert np.isnan(found).tolist() == [[False, True, False]]


@pytest.mark.parametrize(("end", "known"), [(30, 3), (13, 3), (12, 2), (11, 1), (10, 0)])
def test_a_target_at_or_after_the_end_is_unknown(end: int, known: int) -> None:
    found = log_returns(bars(30, 1), np.array([10]), 3, end)
    assert np.isfinite(found).sum() == known


def test_a_target_beyond_the_last_bar_is_unknown() -> None:
    assert np.isfinite(log_returns(bars(30, 1), np.array([30]), 3, 99)).sum() == 0


prices = st.floats(min_value=-9, max_value=9).map(lambda exponent: 10**exponent)


@given(prices)
def test_prices_rise_strictly_even_where_the_volatility_is_at_its_floor(price: float) -> None:
    narrow = np.arange(-9, 10) * MIN_STEP * SIGMA_FLOOR
    found = to_prices(np.stack([narrow, narrow * np.sqrt(24)]), price)
    assert (np.diff(found, axis=1) > 0).all()
    assert (np.diff(to_prices(reference_shape(LEVELS, 2) * SIGMA_FLOOR, price), axis=1) > 0).all()


@given(prices, st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=5))
def test_prices_have_nine_significant_digits(price: float, moves: list[float]) -> None:
    for move, found in zip(moves, to_prices(np.array([moves]), price)[0], strict=True):
        assert found == float(f"{found:.9g}")
        assert found == pytest.approx(price * math.exp(move), rel=1e-8)


@given(prices)
def test_no_move_is_the_last_price(price: float) -> None:
    assert to_prices(np.zeros((1, 1)), price)[0, 0] == pytest.approx(price, rel=5e-9)
