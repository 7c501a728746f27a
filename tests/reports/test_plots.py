from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cryptocast.reports import plots

LEVELS = [round(0.05 * k, 2) for k in range(1, 20)]
H = 24
RISING = np.linspace(-0.01, 0.02, H)
HOURS = np.linspace(-0.02, 0.03, 24)
TIMES = 1_717_372_800 + 300 * np.arange(40)
CLOSES = 60_000.0 + np.arange(40)
TARGETS = TIMES[29] + 300 * np.arange(1, H + 1)
QUANTILES = 60_029 + np.outer(np.sqrt(np.arange(1, H + 1)), np.arange(-9, 10)) * 10

PICTURES: dict[str, tuple[Callable[..., bytes], tuple[Any, ...], dict[str, Any]]] = {
    "calibration": (plots.calibration, (LEVELS, {"lstm v2": np.array(LEVELS) + 0.02}), {}),
    "skill by step": (
        plots.skill_by_step,
        ({"lstm v2": RISING, "har": -RISING},),
        {"low": {"lstm v2": RISING - 0.01}, "high": {"lstm v2": RISING + 0.01}},
    ),
    "skill by hour": (plots.skill_by_hour, (HOURS, np.full(24, 12)), {}),
    "fan": (plots.fan, (TIMES, CLOSES, TARGETS, LEVELS, QUANTILES), {"title": "BTC/EUR"}),
    "history": (
        plots.history,
        ([1.0, 0.99, float("nan"), 1.2], ["complete", "complete", "diverged", "pruned"]),
        {},
    ),
    "importance": (plots.importance, ({"hidden": 0.2, "bound": 0.7, "dropout": 0.1},), {}),
}
NOTHING: dict[str, tuple[Callable[..., bytes], tuple[Any, ...]]] = {
    "calibration": (plots.calibration, (LEVELS, {})),
    "skill by step": (plots.skill_by_step, ({},)),
    "skill by hour": (plots.skill_by_hour, (np.full(24, np.nan), np.zeros(24))),
    "fan": (plots.fan, ([], [], [], LEVELS, np.empty((0, 19)))),
    "history": (plots.history, ([], [])),
    "importance": (plots.importance, ({},)),
}
every_picture = pytest.mark.parametrize("name", PICTURES)


def drawn(plot: Callable[..., bytes], *arguments: Any, **named: Any) -> Figure:
    """The figure, before it is rendered."""
    figure = plot.__wrapped__(*arguments, **named)  # type: ignore[attr-defined]
    assert isinstance(figure, Figure)
    return figure


def axes(plot: Callable[..., bytes], *arguments: Any, **named: Any) -> Axes:
    return drawn(plot, *arguments, **named).axes[0]


def lines(found: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The lines by their names, as x and y."""
    return {
        str(line.get_label()): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for line in found.get_lines()
    }


def points(found: Axes, name: str) -> np.ndarray:
    """The places of the scattered points of a name."""
    (those,) = (c for c in found.collections if c.get_label() == name)
    return np.asarray(those.get_offsets())


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


@every_picture
def test_a_picture_is_a_png_of_800_x_500_and_the_same_each_time(name: str) -> None:
    plot, arguments, named = PICTURES[name]
    png = plot(*arguments, **named)
    assert size(png) == (800, 500)
    assert png == plot(*arguments, **named)


@every_picture
def test_a_picture_has_a_title_labels_and_a_baseline(name: str) -> None:
    plot, arguments, named = PICTURES[name]
    figure = drawn(plot, *arguments, **named)
    top, bottom = figure.axes[0], figure.axes[-1]
    assert top.get_title(loc="left")
    assert bottom.get_xlabel()
    assert top.get_ylabel()
    baseline = {"calibration": "calibrated", "fan": "last price", "importance": "all equal"}
    assert baseline.get(name, "random walk") in lines(top)
    assert top.get_legend() is not None or figure.legends


@pytest.mark.parametrize("name", NOTHING)
def test_where_there_is_nothing_the_picture_says_so(name: str) -> None:
    plot, arguments = NOTHING[name]
    assert size(plot(*arguments)) == (800, 500)
    texts = [text.get_text() for text in axes(plot, *arguments).texts]
    assert texts == ["nothing to show"]


def test_calibration_shows_how_far_the_share_is_from_its_level() -> None:
    found = axes(plots.calibration, LEVELS, {"lstm": np.array(LEVELS) - 0.01})
    x, y = lines(found)["lstm"]
    np.testing.assert_allclose(x, LEVELS)
    np.testing.assert_allclose(y, -1.0)
    assert found.get_ylim()[0] <= -5  # a point is no fault to be magnified
    assert found.get_ylim()[1] >= 5


def test_skill_by_step_shows_each_model_in_percent_and_the_interval_that_is_known() -> None:
    named = {"low": {"a": RISING - 0.01}, "high": {"a": RISING + 0.01}}
    found = axes(plots.skill_by_step, {"a": RISING, "b": -RISING}, **named)
    x, y = lines(found)["b"]
    np.testing.assert_array_equal(x, np.arange(1, H + 1))
    np.testing.assert_allclose(y, -100 * RISING)
    assert len(found.collections) == 1
    low, high = found.collections[0].get_datalim(found.transData).intervaly
    assert (low, high) == pytest.approx((-2.0, 3.0))


def test_twelve_lines_differ_in_colour_or_dash() -> None:
    found = axes(plots.skill_by_step, {f"model {i}": RISING + i for i in range(12)})
    looks = {
        (line.get_color(), line.get_linestyle())
        for line in found.get_lines()
        if str(line.get_label()).startswith("model")
    }
    assert len(looks) == 12


def test_skill_by_hour_shows_24_bars_and_how_many_origins_each_had() -> None:
    skill, n = HOURS.copy(), np.arange(24.0)
    skill[5] = np.nan
    upper, lower = drawn(plots.skill_by_hour, skill, n).axes
    heights = [bar.get_height() for bar in upper.patches]
    np.testing.assert_allclose(heights, np.nan_to_num(100 * skill))
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], n)
    colours = {bar.get_facecolor() for bar in upper.patches if bar.get_height() > 0}
    assert colours.isdisjoint(b.get_facecolor() for b in upper.patches if b.get_height() < 0)


def test_a_fan_opens_at_the_last_price_and_shows_what_came() -> None:
    found = axes(plots.fan, TIMES, CLOSES, TARGETS, LEVELS, QUANTILES)
    known = lines(found)
    assert known["last price"][1][0] == CLOSES[29]
    x, y = known["median and central 90%"]
    assert (y[0], y[-1]) == (CLOSES[29], QUANTILES[-1, 9])
    assert x[0] == TIMES[29].astype("datetime64[s]")
    np.testing.assert_array_equal(known["close"][1], CLOSES)
    assert len(found.collections) == 9
    assert found.get_ylabel() == "price, quote currency"


def test_a_fan_without_a_past_or_of_one_step_is_drawn_too() -> None:
    assert size(plots.fan([], [], TARGETS, LEVELS, QUANTILES)) == (800, 500)
    assert size(plots.fan(TIMES[:1], CLOSES[:1], TARGETS[:1], LEVELS, QUANTILES[:1])) == (800, 500)
    assert size(plots.fan(TIMES, CLOSES, [], LEVELS, np.empty((0, 19)))) == (800, 500)
    assert size(plots.fan([], [], TARGETS[:1], LEVELS, QUANTILES[:1])) == (800, 500)


def test_history_shows_the_best_of_the_complete_trials_and_no_number_of_diverged_ones() -> None:
    values = [float("nan"), 0.99, 0.9, 0.98, 10.0]
    states = ["diverged", "complete", "pruned", "complete", "pruned"]
    found = axes(plots.history, values, states)
    x, y = lines(found)["best so far"]
    np.testing.assert_array_equal(x, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(y, [np.nan, 1, 1, 2, 2])
    np.testing.assert_allclose(points(found, "complete"), [[2, 1], [4, 2]])
    np.testing.assert_allclose(points(found, "pruned, by the folds seen"), [[3, 10], [5, -900]])
    ((number, height),) = points(found, "diverged")
    assert (number, height) == (1, 0.02)  # at the edge, in shares of the axes


def test_history_of_one_trial_or_of_diverged_ones_alone_is_drawn_too() -> None:
    assert size(plots.history([0.99], ["complete"])) == (800, 500)
    alone = axes(plots.history, [float("nan")] * 2, ["diverged"] * 2)
    assert "best so far" not in lines(alone)
    assert len(points(alone, "diverged")) == 2


def test_importance_shows_the_greatest_on_top() -> None:
    found = axes(plots.importance, {"hidden": 0.2, "bound": 0.7, "dropout": 0.1})
    assert [t.get_text() for t in found.get_yticklabels()] == ["dropout", "hidden", "bound"]
    np.testing.assert_allclose([bar.get_width() for bar in found.patches], [10, 20, 70])
    assert lines(found)["all equal"][0][0] == pytest.approx(100 / 3)


def test_plots_load_no_matplotlib_before_they_draw_and_never_pyplot() -> None:
    script = (
        "import sys\n"
        "from cryptocast.reports import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.importance({'a': 1.0})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
