from __future__ import annotations

import numpy as np
import pytest

from cryptocast.reports.terminal import LEAST_HEIGHT, LEAST_WIDTH, Cell, fan_chart
from cryptocast.values import Candles, ForecastSet, Market, ServedModel

BTC = Market.of("BTC/EUR", "sim", "5m")
END = 1_717_405_200  # 09:00Z
LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))


def candles(n: int, step: float = 1.0, first: float = 100.0) -> Candles:
    """N candles up to END whose closes rise by `step`."""
    opened = first + step * np.arange(n)
    times = END - 300 * np.arange(n, 0, -1)
    return Candles.of(times, opened, opened + max(step, 0), opened + min(step, 0), opened + step)


def forecast(horizon: int = 24, price: float = 100.0, width: float = 1.0) -> ForecastSet:
    places = np.linspace(-1, 1, 19)
    steps = np.sqrt(np.arange(1, horizon + 1))
    quantiles = price + width * steps[:, None] * places
    model = ServedModel("2", "lstm", None)
    return ForecastSet(BTC, END, END + 11.0, price, 0, "live", model, LEVELS, quantiles)


def lines(rows: list[list[Cell]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


def test_candles_stand_left_of_the_fan() -> None:
    drawn = lines(fan_chart(candles(12, 0.5, 94), BTC, END, forecast(8), width=30, height=7))
    assert drawn == [
        "102                      ░░░░",
        "                     ░░▒▒▒▒▒▒",
        "                   ╻┃━━━━━━━━",
        " 98             ╻┃╹╹   ░░░░░░",
        "              ╻┃╹            ",
        "           ╻┃╹╹              ",
        " 95      ╻┃╹                 ",
        "    07:35Z        09:00Z",
    ]


@pytest.mark.parametrize("width", [LEAST_WIDTH, 30, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("height", [LEAST_HEIGHT, 12, 40])
@pytest.mark.parametrize("plain", [False, True])
def test_no_row_is_wider_than_it_may_be(width: int, height: int, plain: bool) -> None:
    rows = fan_chart(candles(500), BTC, END, forecast(), width=width, height=height, plain=plain)
    drawn = lines(rows)
    assert len(drawn) == height + 1
    assert max(map(len, drawn)) <= width
    assert all(line.isascii() for line in drawn) or not plain


def test_all_steps_are_there_however_narrow() -> None:
    wide = lines(fan_chart(candles(500), BTC, END, forecast(), width=120, height=9))
    narrow = lines(fan_chart(candles(500), BTC, END, forecast(), width=40, height=9))
    for drawn in (wide, narrow):
        assert drawn[-1].endswith("11:00Z")
        assert "09:00Z" in drawn[-1]
    assert max(line.count("━") for line in wide) == 24
    assert max(line.count("━") for line in narrow) == 12


def test_rising_and_falling_candles_have_styles_of_their_own() -> None:
    for step, style in ((1.0, "rising"), (-1.0, "falling")):
        rows = fan_chart(candles(30, step), BTC, END, None, width=60, height=9)
        styles = {style for row in rows for _, style in row}
        assert styles == {style, "axis", ""}


def test_a_gap_stays_empty() -> None:
    c = candles(40, 0.0)
    c = Candles.of(c.open_time, c.open, c.high + 1, c.low - 1, c.close)
    without = c.take(np.r_[0:30, 33:40])
    whole = lines(fan_chart(c, BTC, END, None, width=60, height=5))
    gapped = lines(fan_chart(without, BTC, END, None, width=60, height=5))
    lost = [i for i, (a, b) in enumerate(zip(whole[2], gapped[2], strict=False)) if a != b]
    assert len(lost) == 3


def test_stale_candles_leave_room_to_the_origin() -> None:
    stale = candles(40).take(slice(0, 35))
    drawn = lines(fan_chart(stale, BTC, END, forecast(price=135.0), width=80, height=9))
    fan = min(line.index("━") for line in drawn if "━" in line)
    assert all(line[fan - 5 : fan].strip() == "" for line in drawn[:-1])


@pytest.mark.parametrize(
    ("width", "height"), [(LEAST_WIDTH - 1, 20), (80, LEAST_HEIGHT - 1), (0, 0), (-3, 9)]
)
def test_without_room_nothing_is_drawn(width: int, height: int) -> None:
    assert fan_chart(candles(9), BTC, END, forecast(), width=width, height=height) == []


def test_without_anything_to_draw_nothing_is_drawn() -> None:
    assert fan_chart(Candles.empty(), BTC, END, None, width=80, height=12) == []


def test_a_forecast_alone_or_one_candle_is_drawn() -> None:
    assert fan_chart(Candles.empty(), BTC, END, forecast(), width=80, height=12)
    assert fan_chart(candles(1), BTC, END, None, width=80, height=12)


@pytest.mark.parametrize("price", [1e-8, 1.0, 123_456_789.0])
def test_prices_that_never_move_are_drawn(price: float) -> None:
    flat = candles(40, 0.0, price)
    drawn = lines(fan_chart(flat, BTC, END, None, width=60, height=7))
    assert sum("╻" in line or "┃" in line or "╹" in line for line in drawn) >= 1


@pytest.mark.parametrize("price", [1.23e-7, 0.05, 65_000.0])
def test_neighbouring_labels_differ(price: float) -> None:
    made = forecast(price=price, width=price * 1e-3)
    drawn = lines(fan_chart(Candles.empty(), BTC, END, made, width=80, height=12))
    labels = [line.split()[0] for line in drawn[:-1:3]]
    assert len(set(labels)) == len(labels) == 4


def test_days_are_told_by_their_date() -> None:
    daily = Market.of("BTC/EUR", "sim", "1d")
    times = 86_400 * np.arange(19_000, 19_040)
    c = Candles.of(times, *(np.linspace(1, 2, 40) for _ in range(4)))
    drawn = lines(fan_chart(c, daily, 86_400 * 19_040, None, width=60, height=7))
    assert "2022-02-17" in drawn[-1]


def test_a_year_is_drawn_in_no_time() -> None:
    import time

    c = candles(105_120, 0.001)
    began = time.thread_time()
    fan_chart(c, BTC, END, forecast(288), width=200, height=40)
    assert time.thread_time() - began < 1
