"""Plain words beside each picture: what it says today, in numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cryptocast.reports._data import pairs, width
from cryptocast.reports._html import between, counted, moment, number, percent, price, skill, span
from cryptocast.reports.facts import CoverageCurve, MarketFacts, MarketOutcomes, ReportFacts, Score

_NOTICEABLE = 0.02  # a coverage this far off is called so


def forecast_now(found: MarketFacts) -> str:
    """Where the price is, and where it will be."""
    newest, quote = found.newest, found.market.quote
    if newest is None:
        if not len(found.candles):
            return "There is no candle in this range."
        last = price(float(found.candles.close[-1]))
        return f"The last price is {last} {quote}. There is no forecast yet."
    share, low, high = pairs(newest.levels)[0]
    ends = newest.quantiles[-1, low], newest.quantiles[-1, high]
    half = (ends[1] - ends[0]) / 2 / newest.last_close
    ahead = span(len(newest.quantiles) * found.market.interval_seconds)
    stand_in = f" A stand-in made it ({newest.model.fallback})." if newest.model.fallback else ""
    return (
        f"At {moment(newest.origin)} the price was {price(newest.last_close)} {quote}; {ahead} "
        f"later it lies, {percent(share)} sure, between {price(ends[0])} and {price(ends[1])} "
        f"(±{percent(half, 2)}).{stand_in}"
    )


def actual_now(found: MarketOutcomes, facts: ReportFacts) -> str:
    """How often the price came as forecast, a step ahead and at the horizon."""
    told = [
        f"{span(step * facts.interval_seconds)} ahead {_inside(found.steps[step - 1])}"
        for step in dict.fromkeys((1, facts.horizon))
    ]
    return (
        f"{counted(len(found.origins), 'forecast')} {_kind(found)}: the price came into the "
        f"80{NBSP}% range {'; '.join(told)}."
    )


NBSP = "\N{NO-BREAK SPACE}"


def _inside(score: Score) -> str:
    return f"in {percent(score.coverage80, 1)} of {score.n:,}"


def _kind(found: MarketOutcomes) -> str:
    return "served live" if found.mode == "live" else "made by replay (none was served live yet)"


def mode_note(found: MarketOutcomes) -> str:
    """Which sets count."""
    if found.mode == "live":
        return "Scores are of forecasts that were served live."
    return "No forecast served live has an outcome yet: scores are of replayed ones."


def skill_now(found: MarketOutcomes) -> str:
    """Is it better than a random walk, and is that more than luck?"""
    total = found.total
    if total.skill is None:
        return "There were too few candles before the first forecast to fit a random walk to."
    range_ = between(total.low, total.high)
    luck = ""
    if total.low is not None and total.high is not None:
        if total.low > 0:
            luck = " That is better than the random walk, by more than luck."
        elif total.high < 0:
            luck = " That is worse than the random walk, by more than bad luck."
        else:
            luck = " That may be luck: 0 lies inside the interval."
    shown = f" (90{NBSP}% interval {range_})" if range_ else ""
    day = ""
    if found.rolling is not None:
        last = [values[-1] for values in (found.rolling.low, found.rolling.high)]
        inside = between(*map(float, last))
        day = f" In the newest window: {skill(float(found.rolling.skill[-1]))} ({inside})."
    return (
        f"CRPS {number(total.crps_bp)} bp against {number(total.walk_bp)} bp of the random walk: "
        f"a skill of {skill(total.skill)}{shown}.{luck}{day}"
    )


def steps_now(found: MarketOutcomes, facts: ReportFacts) -> str:
    """Where it is best and worst."""
    known = {i: s.skill for i, s in enumerate(found.steps, 1) if s.skill is not None}
    if not known:
        return "There is no random walk to compare with."
    best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    names = [span(step * facts.interval_seconds) for step in (best, worst)]
    return (
        f"Best {names[0]} ahead ({skill(known[best])}), "
        f"worst {names[1]} ahead ({skill(known[worst])})."
    )


def width_now(found: MarketOutcomes, step: int, ahead: str) -> str:
    """What came after the narrowest and the widest forecasts."""
    groups = width(found, step)
    if groups is None:
        return "There are too few outcomes yet."
    forecast, actual = groups["forecast"], groups["actual"]
    share = percent(groups["share"])
    narrow, wide = (
        [f"±{number(column[i], 1)} bp" for column in (forecast, actual)] for i in (0, -1)
    )
    return (
        f"{ahead} ahead: after the narrowest tenth ({narrow[0]} forecast) {share} of the prices "
        f"stayed within {narrow[1]}, after the widest ({wide[0]}) within {wide[1]}."
    )


def coverage_now(found: CoverageCurve, name: str) -> str:
    """How far coverage is off, and where most."""
    if not np.isfinite(found.share80).any():
        return "Nothing is known yet, or the levels hold no 80 % range."
    weight = np.where(np.isfinite(found.share80), found.n, 0)
    mean = float(np.average(np.nan_to_num(found.share80), weights=weight))
    off = np.abs(found.share80 - 0.8)
    worst = int(np.nanargmax(off))
    outside = int(((found.low80 > 0.8) | (found.high80 < 0.8)).sum())
    clear = (
        f"Luck alone explains all but {outside} of {int((weight > 0).sum())}."
        if outside
        else "Luck alone explains all of them."
    )
    return (
        f"{percent(mean, 1)} came into the 80{NBSP}% range; furthest off is {name} "
        f"{found.at[worst]} with {percent(float(found.share80[worst]), 1)}. {clear}"
    )


def calibration_now(found: MarketOutcomes, facts: ReportFacts) -> str:
    """Mean distance from calibration of each shown step, and which way it errs."""
    levels = np.asarray(found.levels)
    told = []
    for each in found.calibrations:
        if each.n:
            off = each.below - levels
            told.append(f"{number(100 * float(np.abs(off).mean()), 1)} points "
                        f"{span(each.step * facts.interval_seconds)} ahead")  # fmt: skip
    if not told:
        return "Nothing is known yet."
    return f"On average the curve is off by {', '.join(told)}. {_shape(found)}"


def edges_now(found: MarketOutcomes, facts: ReportFacts) -> str:
    """How many prices fell beyond the outermost quantiles."""
    told = [
        f"{percent(float(each.between[0]), 1)} and {percent(float(each.between[-1]), 1)} "
        f"{span(each.step * facts.interval_seconds)} ahead"
        for each in found.calibrations
        if each.n
    ]
    if not told:
        return "Nothing is known yet."
    right = percent(found.levels[0])
    beyond = "Below the lowest and above the highest quantile fell"
    return f"{beyond} {'; '.join(told)} ({right} is right)."


def _shape(found: MarketOutcomes) -> str:
    coverage = found.total.coverage80
    if coverage is None:
        return ""
    if coverage > 0.8 + _NOTICEABLE:
        return "The ranges are too wide: prices fall into the middle too often."
    if coverage < 0.8 - _NOTICEABLE:
        return "The ranges are too narrow: prices fall outside too often."
    return "The ranges are about as wide as they should be."


def versions_now(facts: ReportFacts, found: MarketFacts) -> str:
    """What serves a market, and since when."""
    deployed = facts.deployed(found.market)
    if not deployed:
        return "No version is in production: type cryptocast init."
    production = deployed[-1]
    age = span(max(facts.now - production.at, 0))
    return (
        f"Version {production.model_version} serves since {moment(production.at)} ({age}): "
        f"{production.reason}"
    )


def incidents_now(found: MarketFacts) -> str:
    """Counts, of each kind that there is."""
    counts: Counter[str] = Counter()
    for each in found.incidents:
        counts[each.kind] += each.count
    names = {
        "gap": "candle missing", "missed": "tick missed", "failed": "tick failed",
        "late": "tick late", "fallback": "forecast of a stand-in",
    }  # fmt: skip
    plural = {
        "gap": "candles missing", "missed": "ticks missed", "failed": "ticks failed",
        "late": "ticks late", "fallback": "forecasts of a stand-in",
    }  # fmt: skip
    told = [f"{n:,} {(names if n == 1 else plural).get(k, k)}" for k, n in counts.items()]
    ran = sum(found.ticks.values())
    went = f"{counted(ran, 'tick')} in this range, {found.ticks.get('ok', 0):,} as they should."
    return f"{', '.join(told) if told else 'Nothing went wrong'}. {went}"
