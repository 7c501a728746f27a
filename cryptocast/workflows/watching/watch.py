"""What the monitor sees of one market: windows, tests, drift, scorecard, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast import dataset
from cryptocast.bundles import Bundle
from cryptocast.bundles import Card as ModelCard
from cryptocast.evaluation.drift import stability_index
from cryptocast.evaluation.inputs import TESTS
from cryptocast.evaluation.monitoring import (
    DECLINED,
    HEALTHY,
    UNKNOWN,
    WATCH,
    Test,
    sequential_tests,
)
from cryptocast.evaluation.scorecard import Card, WindowFigures, scorecard, window_figures
from cryptocast.store import Reader
from cryptocast.values import DAY_SECONDS, FEATURES, FloatArray, Market, iso
from cryptocast.workflows.learning.scoring import WALK, baseline
from cryptocast.workflows.watching import inputs
from cryptocast.workflows.watching.live import Outcome
from cryptocast.workspace import Workspace

WINDOWS: Mapping[str, int] = {"2h": 7_200, "day": 86_400, "week": 604_800}
"""The windows by name, and their seconds up to now."""

LEAST_BARS = 2_016
"""The tests look at the last week, or at so many bars where a week holds fewer."""

CARD_MINUTES = (5, 30, 60, 120)
_UNMOVED = ("missing", "day_sin", "day_cos", "week_sin", "week_cos")


@dataclass(frozen=True, slots=True)
class Production:
    """The version that is watched, and the skill that it was promoted with; None: unknown."""

    version: str
    promise: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the version that is watched."""

    bundle: Bundle
    learned: FloatArray | None  # [N, F] features of what it learned from; None: not there


@dataclass(frozen=True, slots=True)
class Watched:
    """One market: empty, with a reason, where too little is there."""

    market: Market
    verdict: str
    reason: str
    windows: Mapping[str, WindowFigures]
    tests: tuple[Test, ...]
    drift: Mapping[str, Mapping[str, float]]  # by window and feature
    cards: tuple[Card, ...]


def unknown(market: Market, why: str) -> Watched:
    """A market of which nothing can be said."""
    return Watched(market, UNKNOWN, why, {}, (), {}, ())


def look_back(market: Market, horizon: int) -> int:
    """How many seconds of origins hold the outcomes of the tests and of every window."""
    week = max(WINDOWS["week"], LEAST_BARS * market.interval_seconds)
    return week + horizon * market.interval_seconds


def watch(
    ws: Workspace,
    found: Outcome,
    production: Production,
    now: int,
    known: Known | None,
    window: str | None,
) -> Watched:
    """Judge what was served up to `now`, a moment on the grid; `known` None: a bundle is gone.

    `window` is the only one that is told, and the scorecard's; None: all, and the week.
    """
    levels, market = ws.settings.model.levels, found.market
    interval = market.interval_seconds
    walk = baseline(WALK, found.before, found.windows, levels).quantiles
    steps = np.arange(1, found.targets.shape[1] + 1)
    closed = found.served.origins[:, None] + interval * steps
    recent = {
        name: np.where(closed > now - seconds, found.targets, np.nan)
        for name, seconds in WINDOWS.items()
        if window in (None, name)
    }
    figures = {
        name: window_figures(found.quantiles, walk, targets, levels)
        for name, targets in recent.items()
    }
    cards = scorecard(
        found.quantiles, recent[window or "week"], levels, card_steps(market, len(steps))
    )
    drift = {} if known is None or known.learned is None else _drift(found, known.learned, now)
    tests = _tests(ws, found, walk, production, known)
    if not tests:
        needed = ws.settings.monitor.least_origins
        why = f"fewer than {needed} outcomes of version {production.version}"
        return Watched(market, UNKNOWN, why, figures, (), drift, tuple(cards))
    verdict = max((t.verdict for t in tests), key=(HEALTHY, WATCH, DECLINED).index)
    today = np.where(closed > now - DAY_SECONDS, found.targets, np.nan)
    day = window_figures(found.quantiles, walk, today, levels)
    reason = "; ".join(
        _words(test, market, day, production) for test in tests if test.verdict == verdict
    )
    return Watched(
        market, verdict, "" if verdict == HEALTHY else reason, figures, tests, drift, tuple(cards)
    )


def learned_from(reader: Reader, market: Market, card: ModelCard) -> FloatArray | None:
    """[N, F] features of the bars that a version learned from; None where they are not there."""
    if market.id not in card.markets:
        return None
    low = card.data_start - dataset.context_bars(card.lookback) * market.interval_seconds
    candles = reader.candles([market], low, card.data_end)[market]
    if not len(candles) or candles.open_time[-1] < card.data_start:
        return None
    bars = dataset.lay_out(candles, market, low, card.data_end)
    there = ~bars.missing & (bars.open_time >= card.data_start)
    return dataset.compute(bars).values[there]


def card_steps(market: Market, horizon: int) -> Sequence[int]:
    """The steps of 5, 30, 60 and 120 minutes that there are, or else the first and the last."""
    seconds = [60 * minutes for minutes in CARD_MINUTES]
    steps = [s // market.interval_seconds for s in seconds if s % market.interval_seconds == 0]
    return [step for step in steps if 1 <= step <= horizon] or sorted({1, horizon})


def _tests(
    ws: Workspace,
    found: Outcome,
    walk: FloatArray,
    production: Production,
    known: Known | None,
) -> tuple[Test, ...]:
    """The tests over production's own sets; none where they have too few outcomes."""
    rule, interval = ws.settings.monitor, found.market.interval_seconds
    levels = ws.settings.model.levels
    mine = np.array([version == production.version for version in found.served.versions])
    if np.isfinite(found.targets[mine]).any(axis=1).sum() < rule.least_origins:
        return ()
    of_outcomes = sequential_tests(
        found.quantiles[mine],
        walk[mine],
        found.targets[mine],
        levels,
        found.served.origins[mine] // interval,
        promise=production.promise or 0.0,
        false_alarm_bars=rule.false_alarm_days * DAY_SECONDS / interval,
    )
    bundle, learned = (None, None) if known is None else (known.bundle, known.learned)
    of_inputs = inputs.input_tests(found, np.flatnonzero(mine), bundle, learned, levels)
    return *of_outcomes, *of_inputs


def _drift(found: Outcome, learned: FloatArray, now: int) -> Mapping[str, Mapping[str, float]]:
    places = [i for i, name in enumerate(FEATURES) if name not in _UNMOVED]
    newest = found.windows.inputs[:, -1, places]
    indices = {
        name: stability_index(
            learned[:, places], newest[found.windows.origin > now - WINDOWS[name]]
        )
        for name in ("day", "week")
    }
    return {
        name: dict(zip((FEATURES[i] for i in places), psi.tolist(), strict=True))
        for name, psi in indices.items()
    }


def _words(test: Test, market: Market, day: WindowFigures, production: Production) -> str:
    """Why a test raises its voice."""
    since = "" if test.since is None else f" since {iso(test.since * market.interval_seconds)}"
    if test.name in TESTS:
        return inputs.words(test, production.version) + since
    if test.name == "loss":
        promise = 0.0 if production.promise is None else production.promise
        told = f"its CRPS is beyond what was promised{since}"
        if day.skill_vs_random_walk is None:
            return told
        return f"{told} (skill {day.skill_vs_random_walk:+.1%} in the last day, not {promise:+.1%})"
    told = f"its ranges are too {test.name}{since}"
    if day.coverage80 is None:
        return told
    return f"{told} ({day.coverage80:.0%} of the last day's outcomes lie in its 80 % range)"
