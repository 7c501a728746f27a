from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptocast.dataset import lay_out
from cryptocast.values import Candles
from support.synthetic import BAR, MARKET, START, candles

WHOLE = candles(40, seed=1)


@given(st.sets(st.integers(0, 39), min_size=1))
def test_each_bar_is_as_a_loop_over_the_candles_would_make_it(present: set[int]) -> None:
    kept = WHOLE.take(np.array(sorted(present)))
    bars = lay_out(kept, MARKET, START, START + 40 * BAR)
    last = math.log(kept.close[0])
    age = 0
    for bar in range(40):
        before, age = last, age + 1
        if bar in present:
            last, age = math.log(WHOLE.close[bar]), 0
            assert bars.log_range[bar] == pytest.approx(math.log(WHOLE.high[bar] / WHOLE.low[bar]))
            assert bars.log_volume[bar] == pytest.approx(math.log1p(WHOLE.volume[bar]))
        assert bars.missing[bar] == (bar not in present)
        assert bars.age[bar] == age
        assert bars.log_close[bar] == pytest.approx(last)
        assert bars.log_return[bar] == pytest.approx(last - before, abs=1e-15)


def test_a_missing_bar_moves_nowhere_and_says_that_it_is_missing() -> None:
    bars = lay_out(candles(10, 1, gaps=[4, 5]), MARKET, START, START + 10 * BAR)
    assert bars.missing.tolist() == [False] * 4 + [True] * 2 + [False] * 4
    assert bars.age.tolist() == [0, 0, 0, 0, 1, 2, 0, 0, 0, 0]
    for quantity in (bars.log_return, bars.log_range, bars.place):
        assert quantity[4:6].tolist() == [0.0, 0.0]
    assert np.isnan(bars.log_volume[4:6]).all()
    assert bars.log_close[4] == bars.log_close[5] == bars.log_close[3]


def test_the_bar_after_a_gap_holds_the_move_over_the_whole_gap() -> None:
    whole = candles(10, 1)
    bars = lay_out(candles(10, 1, gaps=[4, 5]), MARKET, START, START + 10 * BAR)
    assert bars.log_return[6] == pytest.approx(math.log(whole.close[6] / whole.close[3]))


def test_candles_outside_the_range_are_left_out() -> None:
    part = lay_out(WHOLE, MARKET, START + 5 * BAR, START + 8 * BAR)
    assert len(part) == 3
    assert part.open_time.tolist() == [START + 5 * BAR, START + 6 * BAR, START + 7 * BAR]
    assert part.log_close.tolist() == np.log(WHOLE.close[5:8]).tolist()


def test_a_range_without_candles_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no candle in the range$"):
        lay_out(WHOLE, MARKET, START - 5 * BAR, START)


def test_bars_before_the_first_candle_are_missing() -> None:
    bars = lay_out(WHOLE, MARKET, START - 3 * BAR, START + 2 * BAR)
    assert bars.missing.tolist() == [True, True, True, False, False]
    assert bars.age.tolist() == [1, 2, 3, 0, 0]
    assert bars.log_return[:4].tolist() == [0.0] * 4


def test_the_index_of_a_moment_is_the_number_of_bars_that_closed_by_then() -> None:
    bars = lay_out(WHOLE, MARKET, START, START + 40 * BAR)
    assert [bars.index(START + k) for k in (0, BAR - 1, BAR, 7 * BAR)] == [0, 0, 1, 7]
    assert bars.index(START - 1) == -1


@pytest.mark.parametrize(
    ("low", "close", "high", "place"),
    [(90, 90, 110, -0.5), (90, 100, 110, 0.0), (90, 110, 110, 0.5), (100, 100, 100, 0.0)],
)
def test_the_place_says_where_in_its_range_a_bar_closed(
    low: float, close: float, high: float, place: float
) -> None:
    one = Candles.of([START], [close], [high], [low], [close])
    assert lay_out(one, MARKET, START, START + BAR).place.tolist() == [place]
