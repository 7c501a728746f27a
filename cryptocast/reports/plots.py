"""Pictures as PNG bytes of 800 x 500 pixels: equal figures give equal bytes.

Each function draws its own figure, which `_canvas.png` renders; `plot.__wrapped__` returns the
figure before rendering. If there is nothing to show, the picture says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cryptocast.reports._canvas import (
    BLUE,
    GREY,
    RED,
    baseline,
    canvas,
    clock,
    count,
    figure,
    finish,
    label,
    moments,
    png,
    style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PERCENT = 100.0
_WALK = "random walk"
_SKILL = f"CRPS skill against the {_WALK}, %"


@png
def calibration(levels: Sequence[float], observed: Mapping[str, ArrayLike]) -> Figure:
    """Draw how much more or less often than forecast the target lay below each quantile.

    `observed` holds, per model, the share [Q] of targets below its quantile at `levels` [Q]. The
    picture shows the difference in percentage points: on a diagonal all models look alike.
    """
    drawn, axes = canvas(
        "Calibration", "quantile level", "targets below it minus the level, percentage points"
    )
    baseline(axes, "calibrated")
    level = np.asarray(levels, dtype=float)
    for i, (name, share) in enumerate(observed.items()):
        axes.plot(level, _PERCENT * (np.asarray(share) - level), marker=".", label=name, **style(i))
    axes.set_xlim(0, 1)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -5), max(high, 5))  # a point or two must not look dramatic
    finish(axes, empty=not observed, beside=True)
    return drawn


@png
def skill_by_step(
    skills: Mapping[str, ArrayLike],
    *,
    low: Mapping[str, ArrayLike] | None = None,
    high: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """Draw the CRPS skill [H] of each model, with its interval if both ends are given.

    Skills and ends are shares (0.01 is 1 %).
    """
    drawn, axes = canvas("Skill by step", "step, bars ahead", _SKILL)
    baseline(axes, _WALK)
    for i, (name, skill) in enumerate(skills.items()):
        values = _PERCENT * np.asarray(skill, dtype=float)
        steps = np.arange(1, len(values) + 1)
        axes.plot(steps, values, marker=".", label=name, **style(i))
        if low is not None and high is not None and name in low and name in high:
            lower, upper = (_PERCENT * np.asarray(end[name], dtype=float) for end in (low, high))
            axes.fill_between(steps, lower, upper, color=style(i)["color"], alpha=0.15, linewidth=0)
    count(axes, max((np.size(skill) for skill in skills.values()), default=1))
    finish(axes, empty=not skills, beside=True)
    return drawn


@png
def skill_by_hour(skill: ArrayLike, n: ArrayLike, *, title: str = "Skill by hour of day") -> Figure:
    """Draw the CRPS skill [24] by the hour (UTC) of the origin, and the number of origins n [24].

    Skills are shares (0.01 is 1 %), NaN for an hour without an origin.
    """
    drawn = figure()
    upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    label(upper, title, "", _SKILL)
    label(lower, "", "hour of the origin, UTC", "origins")
    values = _PERCENT * np.asarray(skill, dtype=float)
    hours = np.arange(len(values))
    upper.bar(hours, np.nan_to_num(values), color=[BLUE if v >= 0 else RED for v in values])
    lower.bar(hours, np.nan_to_num(np.asarray(n, dtype=float)), color=GREY)
    baseline(upper, _WALK)
    upper.set_xlim(-0.7, 23.7)
    upper.set_xticks(range(0, 24, 3))
    finish(upper, empty=not np.isfinite(values).any())
    return drawn


@png
def fan(
    times: ArrayLike,
    closes: ArrayLike,
    target_times: ArrayLike,
    levels: Sequence[float],
    quantiles: ArrayLike,
    *,
    title: str = "Forecast",
) -> Figure:
    """Draw past prices, and the forecast quantiles [H, Q] of the prices at `target_times` [H].

    `times` [N] are the moments at which `closes` [N] were known; those after the origin show
    the outcome. All times are Unix seconds. The baseline is the last price at the origin.
    """
    drawn, axes = canvas(title, "time, UTC", "price, quote currency")
    past, price = moments(times), np.asarray(closes, dtype=float).reshape(-1)
    targets, grid = moments(target_times), np.asarray(quantiles, dtype=float)
    if len(targets) and len(levels):
        before = np.flatnonzero(past < targets[0])
        if len(before):  # the fan opens at the last price
            last = before[-1]
            baseline(axes, "last price", at=float(price[last]))
            targets = np.concatenate([past[last : last + 1], targets])
            grid = np.vstack([np.full(grid.shape[1], price[last]), grid])
        pairs = len(levels) // 2
        for k in range(pairs):
            axes.fill_between(
                targets, grid[:, k], grid[:, -1 - k], color=BLUE, alpha=0.7 / pairs, linewidth=0
            )
        name = f"median and central {levels[-1] - levels[0]:.0%}"
        dot = "." if len(targets) == 1 else ""
        axes.plot(targets, grid[:, len(levels) // 2], "--", color=BLUE, marker=dot, label=name)
    axes.plot(past, price, color="black", linewidth=1.2, label="close")
    empty = not len(past) and not len(targets)
    if not empty:
        clock(axes)
    finish(axes, empty=empty)
    return drawn


@png
def history(values: Sequence[float], states: Sequence[str]) -> Figure:
    """Draw the validation skill of each trial, and the best so far.

    `values` are the CRPS relative to that of the random walk (below 1 is better), for a pruned
    trial over the folds that it saw. A trial without a number (diverged) is drawn at the lower
    edge. `states` are complete, pruned or diverged.
    """
    drawn, axes = canvas("Trials of the search", "trial", f"validation {_SKILL}")
    baseline(axes, _WALK)
    skill = _PERCENT * (1 - np.asarray(values, dtype=float))
    number = np.arange(1, len(skill) + 1)
    lost = ~np.isfinite(skill)
    complete = (np.asarray(states, dtype=str) == "complete") & ~lost
    pruned = ~complete & ~lost
    if complete.any():
        best = np.maximum.accumulate(np.where(complete, skill, -np.inf))
        best[~np.isfinite(best)] = np.nan
        axes.step(number, best, where="post", color=BLUE, label="best so far")
        axes.scatter(number[complete], skill[complete], color=BLUE, label="complete")
    if pruned.any():
        axes.scatter(
            number[pruned], skill[pruned], marker="x", color=RED, label="pruned, by the folds seen"
        )
    if lost.any():
        edge, low = axes.get_xaxis_transform(), np.full(int(lost.sum()), 0.02)
        axes.scatter(number[lost], low, marker="v", color=GREY, transform=edge, label="diverged")
    count(axes, len(skill))
    finish(axes, empty=not len(skill))
    return drawn


@png
def importance(shares: Mapping[str, float]) -> Figure:
    """Draw each parameter's share [0, 1] in what set the better trials apart, largest first."""
    drawn, axes = canvas("What mattered in the search", "importance, %", "parameter")
    rising = sorted(shares.items(), key=lambda item: item[1])
    axes.barh([name for name, _ in rising], [_PERCENT * v for _, v in rising], color=BLUE)
    axes.grid(visible=False, axis="y")
    if shares:
        axes.axvline(_PERCENT / len(shares), color=GREY, linestyle="--", label="all equal")
    finish(axes, empty=not shares)
    return drawn
