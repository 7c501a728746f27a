"""How good the forecasts of a market are: its figures, tables and words."""

from __future__ import annotations

import numpy as np

from cryptocast.reports import _words as words
from cryptocast.reports._data import pairs
from cryptocast.reports._figure import SCORE, SHOWN_ROWS, pair, picture, scored
from cryptocast.reports._html import Markup, moment, percent, price, span, table
from cryptocast.reports.facts import CoverageCurve, MarketOutcomes, ReportFacts


def quality(facts: ReportFacts, found: MarketOutcomes, place: int) -> list[Markup]:
    """All figures that need outcomes."""
    return [
        _actual(facts, found, place),
        _skill(found, place),
        pair(_by_step(facts, found, place), _width(facts, found, place)),
        pair(_coverage(found.by_step, place, "step"), _coverage(found.by_hour, place, "hour")),
        _calibration(facts, found, place),
    ]


def _actual(facts: ReportFacts, found: MarketOutcomes, place: int) -> Markup:
    what = (
        "How far the price moved (dots) from where it was when the forecast was made, and the "
        "range that was forecast for the move. Orange dots fell outside the 90 % range: one in ten "
        "should. Triangles lie beyond the edge."
    )
    tables = [_newest_outcomes(facts, found)]
    return picture(
        "actual", place, "Forecast against actual", what, words.actual_now(found, facts), *tables
    )


def _newest_outcomes(facts: ReportFacts, found: MarketOutcomes) -> Markup:
    _, low, high = min(pairs(found.levels), key=lambda pair: abs(pair[0] - 0.8))
    known = np.flatnonzero(np.isfinite(found.targets[:, 0]))[::-1][:SHOWN_ROWS]
    rows = []
    for i in known:
        ends = found.last_close[i] * np.exp(found.quantiles[i, 0, [low, high]])
        came = float(found.last_close[i] * np.exp(found.targets[i, 0]))
        place = "inside" if ends[0] <= came <= ends[1] else "outside"
        at = int(found.origins[i]) + facts.interval_seconds
        rows.append([moment(at), f"{price(ends[0])} to {price(ends[1])}", price(came), place])
    ahead = span(facts.interval_seconds)
    columns = ("for", "80 % range", "actual", "it lay")
    caption = f"The newest {len(rows)} outcomes, {ahead} ahead"
    return table(caption, columns, rows, words=("it lay",))


def _skill(found: MarketOutcomes, place: int) -> Markup:
    window = "" if found.rolling is None else f" over {found.rolling.window_bars} origins"
    what = (
        "How much smaller the error of the whole distribution (CRPS) is than that of a random "
        f"walk whose volatility follows the market, rolling{window}, with its 90 % interval. Above "
        "zero is better. Dashed lines: a version was deployed; dotted: what it promised at the "
        "gate."
    )
    rows = ((moment(at)[:10], *scored(score)) for at, score in sorted(found.days.items()))
    days = table("By day (UTC) of the forecast", ("day", *SCORE), rows)
    return picture("skill", place, "Skill over time", what, words.skill_now(found), days)


def _by_step(facts: ReportFacts, found: MarketOutcomes, place: int) -> Markup:
    what = "Skill against the random walk by how far ahead the forecast looks; 90 % intervals."
    rows = (
        (f"{step} ({span(step * facts.interval_seconds)})", *scored(score))
        for step, score in enumerate(found.steps, 1)
    )
    steps = table("By step", ("step", *SCORE), rows)
    return picture("steps", place, "Skill by distance", what, words.steps_now(found, facts), steps)


def _width(facts: ReportFacts, found: MarketOutcomes, place: int) -> Markup:
    what = (
        "Do wide forecasts come before wild moves? A dot is a tenth of the forecasts, alike in "
        "width; on the diagonal the moves were as large as forecast. A flat row of dots would say "
        "that the widths know nothing."
    )
    return picture(
        "width",
        place,
        "Width against movement",
        what,
        words.width_now(found, facts.horizon, span(facts.horizon * facts.interval_seconds)),
    )


def _coverage(found: CoverageCurve, place: int, by: str) -> Markup:
    unit = "the step ahead" if by == "step" else "the hour of day (UTC) of the forecast"
    what = (
        f"How often the price came into the range, by {unit}: the lines should lie at 80 and 90 %. "
        "Bands: 90 % intervals."
    )
    ends = ((found.low80, found.share80, found.high80), (found.low90, found.share90, found.high90))
    rows = [
        [str(at), f"{n:,}"]
        + [
            text
            for low, share, high in ends
            for text in (percent(share[i], 1), f"{percent(low[i], 1)} to {percent(high[i], 1)}")
        ]
        for i, (at, n) in enumerate(zip(found.at.tolist(), found.n.tolist(), strict=True))
    ]
    columns = (by, "scored", "in 80 %", "interval", "in 90 %", "interval")
    return picture(
        f"coverage-{by}",
        place,
        f"Coverage by {'step' if by == 'step' else 'hour of day'}",
        what,
        words.coverage_now(found, by),
        table(f"Coverage by {by}", columns, rows),
    )


def _calibration(facts: ReportFacts, found: MarketOutcomes, place: int) -> Markup:
    columns = ("quantile", *(span(c.step * facts.interval_seconds) for c in found.calibrations))
    rows = [
        [percent(level), *(percent(float(c.below[i]), 1) for c in found.calibrations)]
        for i, level in enumerate(found.levels)
    ]
    shares = table("Share of prices at or below each quantile", columns, rows)
    histogram = picture(
        "pit",
        place,
        "Where prices fell in the forecast (PIT)",
        "Each bar is the space between two neighbouring quantiles; calibrated, each holds as much "
        "as the line says. High edges: ranges too narrow; a hump: too wide. Dashed: luck, 9 times "
        "of 10.",
        words.edges_now(found, facts),
    )
    curve = picture(
        "reliability",
        place,
        "Reliability",
        "How much more or less often than forecast the price lay below each quantile, in "
        "percentage points. Calibrated forecasts lie on zero.",
        words.calibration_now(found, facts),
        shares,
    )
    return pair(histogram, curve)
