"""The sentences beside the pictures that take some reckoning; `words.html` has the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from cryptocast.display import (
    NBSP,
    counted,
    number,
    skill,
    span,
    typeset_percent,
)
from cryptocast.reports._data import width
from cryptocast.reports.facts import (
    CoverageCurve,
    MarketFacts,
    MarketOutcomes,
    ReportFacts,
    pairs,
)

SHOWN_ROWS = 40
"""Number of the newest outcomes, deployments or incidents in a table."""

_NOTICEABLE = 0.02  # a coverage this far off is worth a word
_KINDS = {
    "gap": "missing candle",
    "missed": "missed tick",
    "failed": "failed tick",
    "late": "late tick",
    "fallback": "stand-in forecast",
}


def newest_outcomes(outcomes: MarketOutcomes) -> Iterator[tuple[int, float, float, float]]:
    """Yield the newest forecasts of one step that have an outcome, newest first.

    Each is its origin, the two ends of its 80 % range, and the price that followed.
    """
    _, low, high = min(pairs(outcomes.levels), key=lambda pair: abs(pair[0] - 0.8))
    scored = np.flatnonzero(np.isfinite(outcomes.targets[:, 0]))[::-1][:SHOWN_ROWS]
    for i in scored:
        returns = *outcomes.quantiles[i, 0, [low, high]], outcomes.targets[i, 0]
        lowest, highest, price_then = (float(outcomes.last_close[i] * np.exp(r)) for r in returns)
        yield int(outcomes.origins[i]), lowest, highest, price_then


def steps_now(outcomes: MarketOutcomes, facts: ReportFacts) -> str:
    """Say at which distance the forecasts are best and worst."""
    skills = {i: s.skill for i, s in enumerate(outcomes.steps, 1) if s.skill is not None}
    if not skills:
        return "There is no random walk to compare with."
    best, worst = max(skills, key=skills.__getitem__), min(skills, key=skills.__getitem__)
    first, last = (
        f"{span(step * facts.interval_seconds)} ahead ({skill(skills[step])})"
        for step in (best, worst)
    )
    return f"Best {first}, worst {last}."


def width_now(outcomes: MarketOutcomes, facts: ReportFacts) -> str:
    """Say which moves followed the narrowest and the widest forecasts, at the horizon."""
    groups = width(outcomes, facts.horizon)
    if groups is None:
        return "There are too few outcomes yet."
    narrow, wide = (
        [f"±{number(groups[column][i], 1)} bp" for column in ("forecast", "actual")]
        for i in (0, -1)
    )
    return (
        f"{span(facts.horizon * facts.interval_seconds)} ahead: after the narrowest tenth of the "
        f"forecasts ({narrow[0]}) {typeset_percent(groups['share'])} of the prices stayed within "
        f"{narrow[1]}; after the widest tenth ({wide[0]}), within {wide[1]}."
    )


def coverage_now(curve: CoverageCurve, name: str) -> str:
    """Say how far coverage is off, and at which `name` (step or hour) most."""
    in80 = curve.in80
    if not np.isfinite(in80.share).any():
        return "Nothing is known yet, or the quantile levels include no 80 % range."
    weight = np.where(np.isfinite(in80.share), in80.n, 0)
    mean = float(np.average(np.nan_to_num(in80.share), weights=weight))
    worst = int(np.nanargmax(np.abs(in80.share - 0.8)))
    outside = int(((in80.low > 0.8) | (in80.high < 0.8)).sum())
    luck = "Luck alone explains all of them."
    if outside:
        luck = f"Luck alone explains all but {outside} of {int((weight > 0).sum())}."
    return (
        f"{typeset_percent(mean, 1)} of the prices fell into the 80{NBSP}% range; furthest off is "
        f"{name} {curve.at[worst]} with {typeset_percent(float(in80.share[worst]), 1)}. {luck}"
    )


def calibration_now(outcomes: MarketOutcomes, facts: ReportFacts) -> str:
    """Say how far each pictured step is from calibration on average, and which way it errs."""
    levels = np.asarray(outcomes.levels)
    distances = [
        f"{number(100 * float(np.abs(one.below - levels).mean()), 1)} points "
        f"{span(one.step * facts.interval_seconds)} ahead"
        for one in outcomes.calibrations
        if one.n
    ]
    if not distances:
        return "Nothing is known yet."
    shape = "The ranges are about as wide as they should be."
    coverage = outcomes.total.coverage80
    if coverage is None:
        shape = ""
    elif width(outcomes, facts.horizon) is None:
        shape = (
            "There are too few outcomes yet to say whether the ranges are too wide or too narrow."
        )
    elif coverage > 0.8 + _NOTICEABLE:
        shape = "The ranges are too wide: prices fall into the middle too often."
    elif coverage < 0.8 - _NOTICEABLE:
        shape = "The ranges are too narrow: prices fall outside too often."
    return f"On average the curve is off by {', '.join(distances)}. {shape}"


def incidents_now(market: MarketFacts) -> str:
    """Say how many incidents of each kind there were, and how many ticks."""
    counts: Counter[str] = Counter()
    for incident in market.incidents:
        counts[incident.kind] += incident.count
    kinds = [counted(n, _KINDS.get(kind, kind)) for kind, n in counts.items()]
    ticks = counted(sum(market.ticks.values()), "tick")
    return (
        f"{', '.join(kinds) if kinds else 'Nothing went wrong'}. {ticks} in this range, "
        f"{market.ticks.get('ok', 0):,} of them without trouble."
    )
