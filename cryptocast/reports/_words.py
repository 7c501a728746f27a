"""The sentence beside each picture: what it says today, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from cryptocast.display import (
    NBSP,
    between,
    counted,
    moment,
    number,
    price,
    skill,
    span,
    typeset_percent,
)
from cryptocast.reports._data import pairs, width
from cryptocast.reports.facts import (
    CoverageCurve,
    MarketFacts,
    MarketOutcomes,
    ReportFacts,
    Score,
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


def forecast_now(market: MarketFacts) -> str:
    """Say where the price is, and where it is forecast to be at the horizon."""
    newest, quote = market.newest, market.market.quote
    if newest is None:
        if not len(market.candles):
            return "There are no candles in this range."
        last = price(float(market.candles.close[-1]))
        return f"The last price is {last} {quote}. There is no forecast yet."
    share, low, high = pairs(newest.levels)[0]
    ends = newest.quantiles[-1, low], newest.quantiles[-1, high]
    half = (ends[1] - ends[0]) / 2 / newest.last_close
    ahead = span(len(newest.quantiles) * market.market.interval_seconds)
    fallback = newest.model.fallback
    stand_in = f" A stand-in made this forecast ({fallback})." if fallback else ""
    return (
        f"At {moment(newest.origin)} the price was {price(newest.last_close)} {quote}; {ahead} "
        f"later it should lie between {price(ends[0])} and {price(ends[1])} (±{typeset_percent(half, 2)}) "
        f"with a probability of {typeset_percent(share)}.{stand_in}"
    )


def actual_now(outcomes: MarketOutcomes, facts: ReportFacts) -> str:
    """Say how often the price fell into the forecast range, at the first and the last step."""
    shares = [
        f"in {typeset_percent(score.coverage80, 1)} of {score.n:,} cases "
        f"{span(step * facts.interval_seconds)} ahead"
        for step in dict.fromkeys((1, facts.horizon))
        for score in [outcomes.steps[step - 1]]
    ]
    origin = "served live"
    if outcomes.mode != "live":
        origin = "made by replay (none has been served live yet)"
    return (
        f"{counted(len(outcomes.origins), 'forecast')} {origin}: the price fell into the "
        f"80{NBSP}% range {' and '.join(shares)}."
    )


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


def skill_now(outcomes: MarketOutcomes) -> str:
    """Say whether the forecasts beat the random walk, and whether that could be luck."""
    total = outcomes.total
    if total.skill is None:
        return "There were too few candles before the first forecast to fit a random walk."
    newest = ""
    if outcomes.rolling is not None:
        rolling = outcomes.rolling
        interval = between(float(rolling.low[-1]), float(rolling.high[-1]))
        newest = f" In the newest window: {skill(float(rolling.skill[-1]))} ({interval})."
    return (
        f"CRPS {number(total.crps_bp)} bp against {number(total.walk_bp)} bp for the random walk: "
        f"a skill of {skill(total.skill)}{_luck(total)}{newest}"
    )


def _luck(total: Score) -> str:
    """Finish the sentence about a skill with its interval, and what that says about luck."""
    if total.low is None or total.high is None:
        return "."
    verdict = "This may be luck: the interval contains 0."
    if total.low > 0:
        verdict = "This is better than the random walk by more than luck."
    elif total.high < 0:
        verdict = "This is worse than the random walk by more than bad luck."
    return f" (90{NBSP}% interval {between(total.low, total.high)}). {verdict}"


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
    if not np.isfinite(curve.share80).any():
        return "Nothing is known yet, or the quantile levels include no 80 % range."
    weight = np.where(np.isfinite(curve.share80), curve.n, 0)
    mean = float(np.average(np.nan_to_num(curve.share80), weights=weight))
    worst = int(np.nanargmax(np.abs(curve.share80 - 0.8)))
    outside = int(((curve.low80 > 0.8) | (curve.high80 < 0.8)).sum())
    luck = "Luck alone explains all of them."
    if outside:
        luck = f"Luck alone explains all but {outside} of {int((weight > 0).sum())}."
    return (
        f"{typeset_percent(mean, 1)} of the prices fell into the 80{NBSP}% range; furthest off is {name} "
        f"{curve.at[worst]} with {typeset_percent(float(curve.share80[worst]), 1)}. {luck}"
    )


def edges_now(outcomes: MarketOutcomes, facts: ReportFacts) -> str:
    """Say how many prices fell beyond the outermost quantiles, at each pictured step."""
    shares = [
        f"{typeset_percent(float(one.between[0]), 1)} and {typeset_percent(float(one.between[-1]), 1)} "
        f"{span(one.step * facts.interval_seconds)} ahead"
        for one in outcomes.calibrations
        if one.n
    ]
    if not shares:
        return "Nothing is known yet."
    expected = typeset_percent(outcomes.levels[0])
    beyond = "Share of prices below the lowest and above the highest quantile"
    return f"{beyond}: {'; '.join(shares)} ({expected} each is expected)."


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
    elif coverage > 0.8 + _NOTICEABLE:
        shape = "The ranges are too wide: prices fall into the middle too often."
    elif coverage < 0.8 - _NOTICEABLE:
        shape = "The ranges are too narrow: prices fall outside too often."
    return f"On average the curve is off by {', '.join(distances)}. {shape}"


def versions_now(facts: ReportFacts, market: MarketFacts) -> str:
    """Say which version serves a market, and since when."""
    deployed = facts.deployed(market.market)
    if not deployed:
        return "No version is in production: type cryptocast init."
    production = deployed[-1]
    age = span(max(facts.now - production.at, 0))
    return (
        f"Version {production.model_version} has been serving since {moment(production.at)} "
        f"({age}): {production.reason}"
    )


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
