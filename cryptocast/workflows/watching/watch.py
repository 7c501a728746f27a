"""The monitor's judgement of one market: windows, tests, drift, scorecard, and the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryptocast import dataset
from cryptocast.bundles import Bundle, Card
from cryptocast.compute.scoring import WALK, baseline, quantiles
from cryptocast.config import MonitorSettings
from cryptocast.dataset.features import OF_DAYS
from cryptocast.dataset.recount import INPUTS, recount
from cryptocast.errors import StateError
from cryptocast.evaluation.inputs import TESTS as INPUT_TESTS
from cryptocast.evaluation.inputs import answers_test, inputs_test, stability_index, still_test
from cryptocast.evaluation.monitoring import (
    DECLINED,
    HEALTHY,
    UNKNOWN,
    WATCH,
    Test,
    sequential_tests,
)
from cryptocast.evaluation.scorecard import StepCard, WindowFigures, scorecard, window_figures
from cryptocast.store import Reader
from cryptocast.values import (
    DAY_SECONDS,
    FEATURES,
    FloatArray,
    InputArray,
    IntArray,
    Market,
    iso,
)

if TYPE_CHECKING:
    from cryptocast.workflows.watching.served import TrackRecord

WINDOWS: Mapping[str, int] = {"2h": 7_200, "day": DAY_SECONDS, "week": 7 * DAY_SECONDS}
"""The windows by name, with their length in seconds up to now."""

LEAST_BARS = 2_016
"""The tests look at the last week, or at this many bars if a week holds fewer."""

CARD_MINUTES = (5, 30, 60, 120)
"""How far ahead the steps of the scorecard look."""

_UNMOVED = ("missing", "day_sin", "day_cos", "week_sin", "week_cos", *OF_DAYS)  # without drift
_LATEST = 288  # origins: a sum of faults has risen, and has recovered, within far fewer
_ASKED_EVERY = 6  # origins: half an hour of 5-minute candles
_REVISED = 1e-7  # of a price, which is served with 9 digits


@dataclass(frozen=True, slots=True)
class Production:
    """The version that is watched, and the skill that it promised; None: unknown."""

    version: str
    promise: float | None


@dataclass(frozen=True, slots=True, eq=False)
class WatchedModel:
    """The model of the version that is watched."""

    bundle: Bundle
    learned: InputArray | None  # [N, F] features that it learned from; None: no longer stored


@dataclass(frozen=True, slots=True)
class Watched:
    """The judgement of one market; empty, with a reason, if too little is known."""

    market: Market
    verdict: str
    reason: str
    windows: Mapping[str, WindowFigures]
    tests: tuple[Test, ...]
    drift: Mapping[str, Mapping[str, float]]  # by window and feature
    cards: tuple[StepCard, ...]


def unknown(market: Market, reason: str) -> Watched:
    """Return the judgement of a market about which nothing can be said."""
    return Watched(market, UNKNOWN, reason, {}, (), {}, ())


def look_back(market: Market, horizon: int) -> int:
    """Return how many seconds of origins hold the outcomes of the tests and of every window."""
    week = max(WINDOWS["week"], LEAST_BARS * market.interval_seconds)
    return week + horizon * market.interval_seconds


def watch(
    record: TrackRecord,
    production: Production,
    model: WatchedModel | None,
    rule: MonitorSettings,
    now: int,
    window: str | None,
) -> Watched:
    """Judge what was served up to `now`, a moment on the grid.

    `model` is None if the bundle of the version is gone. `window` names the only window to
    report, which is the scorecard's too; None: all windows, and the week for the scorecard.
    """
    market, levels = record.market, record.levels
    walk = baseline(WALK, record.before, record.windows, levels, market.interval_seconds).quantiles

    def figures(seconds: int) -> WindowFigures:
        return window_figures(record.quantiles, walk, record.targets_since(now - seconds), levels)

    windows = {
        name: figures(seconds) for name, seconds in WINDOWS.items() if window in (None, name)
    }
    steps = card_steps(market, record.targets.shape[1])
    targets = record.targets_since(now - WINDOWS[window or "week"])
    cards = tuple(scorecard(record.quantiles, targets, levels, steps))
    drift = {} if model is None or model.learned is None else _drift(record, model.learned, now)
    tests = _tests(record, walk, production, model, rule)
    if tests:
        verdict, reason = _verdict(tests, market, figures(DAY_SECONDS), production)
    else:
        verdict = UNKNOWN
        version = production.version
        reason = f"fewer than {rule.least_origins} forecasts of version {version} have an outcome"
    return Watched(market, verdict, reason, windows, tests, drift, cards)


def learned_from(reader: Reader, market: Market, card: Card) -> InputArray | None:
    """Return the features [N, F] of the bars that a version learned from, or None if gone."""
    if market.id not in card.markets:
        return None
    low = card.data_start - card.context_bars * market.interval_seconds
    candles = reader.candles([market], low, card.data_end)[market]
    if not len(candles) or candles.open_time[-1] < card.data_start:
        return None
    bars = dataset.lay_out(candles, market, low, card.data_end)
    learned = ~bars.missing & (bars.open_time >= card.data_start)
    return dataset.compute(bars).values[learned]


def card_steps(market: Market, horizon: int) -> Sequence[int]:
    """Return the steps of 5, 30, 60 and 120 minutes that exist, or else the first and the last."""
    seconds = [60 * minutes for minutes in CARD_MINUTES]
    steps = [s // market.interval_seconds for s in seconds if s % market.interval_seconds == 0]
    return [step for step in steps if 1 <= step <= horizon] or sorted({1, horizon})


def _tests(
    record: TrackRecord,
    walk: FloatArray,
    production: Production,
    model: WatchedModel | None,
    rule: MonitorSettings,
) -> tuple[Test, ...]:
    """Test production's own sets; the result is empty if they have too few outcomes."""
    interval = record.market.interval_seconds
    own = np.array([version == production.version for version in record.served.versions])
    if np.isfinite(record.targets[own]).any(axis=1).sum() < rule.least_origins:
        return ()
    of_outcomes = sequential_tests(
        record.quantiles[own],
        walk[own],
        record.targets[own],
        record.levels,
        record.served.origins[own] // interval,
        promise=production.promise or 0.0,
        false_alarm_bars=rule.false_alarm_days * DAY_SECONDS / interval,
    )
    return *of_outcomes, *_input_tests(record, np.flatnonzero(own), model)


def _input_tests(record: TrackRecord, own: IntArray, model: WatchedModel | None) -> Iterator[Test]:
    """Yield the tests of the inputs that the stored data allows.

    `own` are the rows that the version of the model served.
    """
    windows = record.windows.take(slice(-_LATEST, None))
    again = recount(record.bars, windows)
    yield inputs_test(again.held, again.counted, INPUTS, again.bars)
    if model is None:
        return
    if model.learned is not None:
        still = still_test(windows.inputs[:, -2:], model.learned, again.bars)
        if still is not None:
            yield still
    with suppress(StateError):  # the settings ask for other levels or steps by now
        yield from _answers_test(record, own[-_LATEST:], model.bundle)


def _answers_test(record: TrackRecord, own: IntArray, bundle: Bundle) -> Iterator[Test]:
    """Ask the version once more at origins for which it saw the same candles, as far as known."""
    last_close = record.windows.log_close[own]
    revised = np.abs(np.log(record.served.last_close[own]) - last_close) > _REVISED
    # A gap may be one that came, or that closed, since.
    gaps = record.windows.inputs[own, :, FEATURES.index("missing")].any(axis=1)
    rows = own[~revised & ~gaps & record.repeatable[own]][::-_ASKED_EVERY][::-1]
    windows = record.windows.take(rows)
    if len(rows) and bundle.card.lookback <= windows.inputs.shape[1]:
        bars = windows.origin // record.market.interval_seconds
        yield answers_test(record.plain[rows], quantiles(bundle, windows, record.levels), bars)


def _drift(record: TrackRecord, learned: InputArray, now: int) -> dict[str, dict[str, float]]:
    """Return the stability index by window and feature."""
    places = [i for i, name in enumerate(FEATURES) if name not in _UNMOVED]
    newest = record.windows.inputs[:, -1, places]
    drift = {}
    for window in ("day", "week"):
        recent = newest[record.windows.origin > now - WINDOWS[window]]
        indices = stability_index(learned[:, places], recent).tolist()
        drift[window] = dict(zip((FEATURES[i] for i in places), indices, strict=True))
    return drift


def _verdict(
    tests: Sequence[Test], market: Market, day: WindowFigures, production: Production
) -> tuple[str, str]:
    """Return the worst verdict of the tests and, unless it is healthy, its reasons."""
    verdict = max((t.verdict for t in tests), key=(HEALTHY, WATCH, DECLINED).index)
    if verdict == HEALTHY:
        return verdict, ""
    alarms = [test for test in tests if test.verdict == verdict]
    return verdict, "; ".join(_words(test, market, day, production) for test in alarms)


def _words(test: Test, market: Market, day: WindowFigures, production: Production) -> str:
    """Return in words what a test found."""
    since = "" if test.since is None else f" since {iso(test.since * market.interval_seconds)}"
    if test.name == "answers":
        version = production.version
        return f"what was served is not what version {version} answers to the stored candles{since}"
    if test.name in INPUT_TESTS:
        fault = "has not moved" if test.name == "still" else f"is {test.fault}"
        return f"its input {test.feature} {fault}{since}"
    if test.name == "loss":
        alarm = f"its CRPS is beyond what was promised{since}"
        if day.skill_vs_random_walk is None:
            return alarm
        skill, promise = day.skill_vs_random_walk, production.promise or 0.0
        return f"{alarm} (skill {skill:+.1%} in the last day, not {promise:+.1%})"
    alarm = f"its ranges are too {test.name}{since}"
    if day.coverage80 is None:
        return alarm
    return f"{alarm} ({day.coverage80:.0%} of the last day's outcomes lie in its 80 % range)"
