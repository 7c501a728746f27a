from __future__ import annotations

import math

import pytest

from cryptocast.reports.terminal import bar, bars, sparkline

NAN = float("nan")


def test_a_sparkline_runs_from_the_lowest_to_the_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([-1.0, 1.0]) == "▁█"


def test_what_is_no_number_is_a_dot() -> None:
    assert sparkline([0, NAN, 1, math.inf]) == "▁·█·"
    assert sparkline([NAN, NAN]) == "··"
    assert sparkline([]) == ""


def test_values_that_are_all_alike_lie_in_the_middle() -> None:
    assert sparkline([3, 3, 3]) == "▅▅▅"


@pytest.mark.parametrize("n", [1, 7, 10, 11, 999])
def test_a_sparkline_is_no_wider_than_it_may(n: int) -> None:
    assert len(sparkline(list(range(n)), width=10)) == min(n, 10)
    assert sparkline([0.0] * n + [NAN] * n, width=2)[-1] in "·"


def test_many_values_are_shown_by_their_means() -> None:
    assert sparkline([0, 0, 1, NAN, 2, 2], width=3) == "▁▅█"


def test_bars_are_in_proportion_and_fill_the_width() -> None:
    shown = bars({"a": 0.5, "long": 1.0, "none": 0.0}, width=20)
    assert shown == [
        "a    █████       50%",
        "long ██████████ 100%",
        "none              0%",
    ]
    assert {len(line) for line in bars({"a": 0.5, "long": 1.0, "none": 0.0}, width=20)} == {20}


def test_what_has_no_size_has_no_bar() -> None:
    shown = bars({"a": NAN, "b": -0.01, "c": 0.02}, width=12)
    assert shown == ["a          -", "b        -1%", "c ██████  2%"]
    assert bars({}) == []
    assert bars({"a": 0.0}, width=10) == ["a       0%"]


def test_a_name_that_leaves_no_room_is_kept_whole() -> None:
    assert bars({"a long name": 1.0}, width=5) == ["a long name █ 100%"]


@pytest.mark.parametrize(("share", "drawn"), [(1, "████"), (0.5, "██"), (0.53125, "██▏"), (0, "")])
def test_a_bar_is_drawn_to_an_eighth(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn
    assert bar(2, 4) == "████"
