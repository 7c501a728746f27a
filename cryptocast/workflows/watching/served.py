"""Served forecast sets and their outcomes, as the store holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cryptocast import calibration, dataset, evaluation
from cryptocast.compute.scoring import CONSTANT, WALK, baseline
from cryptocast.config import Settings
from cryptocast.dataset import Bars, Part
from cryptocast.errors import StateError
from cryptocast.evaluation import Candidate
from cryptocast.store import Reader, Served
from cryptocast.values import DAY_SECONDS, Candles, FloatArray, IntArray, Market, Windows
from cryptocast.workflows.serving.events import ARCHIVED, PRUNED
from cryptocast.workspace import Workspace

LIVE = ("live",)
"""The modes of the sets that count."""

REPLAYED = ("replay",)
"""The modes of the sets that count if no live set has an outcome."""

_ROUNDING = 1e-8  # of 9 significant digits; a hundredth of the narrowest gap between quantiles


@dataclass(frozen=True, slots=True, eq=False)
class TrackRecord:
    """N served sets of a market as log-returns from the last close, with their outcomes."""

    market: Market
    levels: tuple[float, ...]  # [Q]
    served: Served
    targets: FloatArray  # [N, H] NaN if the candle is not there (yet)
    quantiles: FloatArray  # [N, H, Q] as served
    plain: FloatArray  # [N, H, Q] without calibration
    windows: Windows  # of the same origins
    before: Windows  # of the days before the first origin: what a baseline learns from
    bars: Bars  # that all of it was cut from
    repeatable: NDArray[np.bool_]  # [N] False: candles that the profile reads were stored later

    @property
    def has_outcomes(self) -> bool:
        """True if at least one target is known."""
        return bool(np.isfinite(self.targets).any())

    def targets_since(self, moment: float) -> FloatArray:
        """Return the targets [N, H] whose candle closed after a moment; the others are NaN."""
        steps = np.arange(1, self.targets.shape[1] + 1)
        closed = self.served.origins[:, None] + self.market.interval_seconds * steps
        return np.where(closed > moment, self.targets, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class ServedSets:
    """Served sets of a market with their outcomes, as read: nothing is computed yet."""

    mode: str
    levels: tuple[float, ...]  # [Q]
    served: Served
    targets: FloatArray  # [N, H] log-returns; NaN if the candle is not there (yet)
    # Before the first set, and at each; None if there are too few candles for a baseline.
    windows: tuple[Windows, Windows] | None


@dataclass(frozen=True, slots=True)
class ServedReader:
    """Reads served sets together with the candles up to `now` that they forecast."""

    reader: Reader
    settings: Settings
    now: float

    def track_record(
        self, market: Market, start: int, end: int, modes: Sequence[str]
    ) -> TrackRecord | None:
        """Return the served sets of a market with origins in `[start, end)`.

        None if there are none, or if fewer candles came before the first than a baseline can
        learn from.
        """
        served = self._served(market, start, end, modes)
        if not len(served):
            return None
        model, first = self.settings.model, int(served.origins[0])
        learn = first - round(self.settings.data.days * DAY_SECONDS)
        context = dataset.context_bars(model.lookback, market.interval_seconds)
        low = learn - context * market.interval_seconds
        now = market.floor(self.now)
        candles = self.reader.candles([market], low, now)[market]
        if not len(candles):
            return None
        bars = dataset.lay_out(candles, market, low, now)
        before = dataset.cut(
            bars,
            Part(learn, first),
            lookback=model.lookback,
            horizon=model.horizon,
            max_stale_bars=self.settings.loop.max_stale_bars,
        )
        if not len(before):
            return None
        repeatable = self._repeatable(served, candles, market, (low, now))
        return _track_record(served, bars, before, model.levels, repeatable)

    def _repeatable(
        self, served: Served, candles: Candles, market: Market, span: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Return [N] whether the candles that only a profile reads were the same at the origin.

        Older ones may have been fetched since, and a flush or a prune may have taken some.
        """
        recent = dataset.recent_bars(self.settings.model.lookback) * market.interval_seconds
        at = np.searchsorted(candles.open_time, [served.origins, served.origins - recent]) - 1
        fetched = self.reader.fetched(market, *span)
        repeatable = (at[1] < 0) | (np.maximum.accumulate(fetched)[at[1]] <= fetched[at[0]])
        for kind in (ARCHIVED, PRUNED):
            removed = self.reader.newest_event(kind, self.now)
            repeatable &= served.origins > (0 if removed is None else removed.at)
        return np.asarray(repeatable)

    def sets(self, market: Market, start: int, end: int) -> ServedSets | None:
        """Return the served sets with origins in `[start, end]`, or None if there are none.

        They are live ones, or if none of those has an outcome yet, replayed ones that have.
        """
        first = None
        for modes in (LIVE, REPLAYED):
            sets = self._sets(market, start, end + 1, modes)
            if sets is not None and np.isfinite(sets.targets).any():
                return sets
            first = first or sets
        return first

    def _sets(
        self, market: Market, start: int, end: int, modes: Sequence[str]
    ) -> ServedSets | None:
        levels = self.settings.model.levels
        record = self.track_record(market, start, end, modes)
        if record is not None:
            windows = record.before, record.windows
            return ServedSets(modes[0], levels, record.served, record.targets, windows)
        served = self._served(market, start, end, modes)
        if not len(served):
            return None
        return ServedSets(modes[0], levels, served, self._targets(market, served), None)

    def _served(self, market: Market, start: int, end: int, modes: Sequence[str]) -> Served:
        model = self.settings.model
        return self.reader.ledger.between(
            market, start, end, modes=modes, levels=model.levels, horizon=model.horizon
        )

    def _targets(self, market: Market, served: Served) -> FloatArray:
        """Return the log-returns [N, H] from the last close as served, NaN if unknown."""
        horizon, interval = self.settings.model.horizon, market.interval_seconds
        context = (dataset.WAIT_BARS + 1) * interval  # by which a level shift is told
        start, end = int(served.origins[0]) - context, market.floor(self.now)
        candles = self.reader.candles([market], start, end)[market]
        if not len(candles):
            return np.full((len(served), horizon), np.nan)
        bars = dataset.lay_out(candles, market, start, end)
        return _targets(served, bars, (served.origins - start) // interval, horizon)


@dataclass(frozen=True, slots=True)
class LiveReport:
    """Scores (`schemas.SCORES`) of what was served at origins of `[start, end)`."""

    start: int
    end: int
    modes: tuple[str, ...]  # live, or replay if nothing was served live
    scores: pl.DataFrame
    scale: dict[str, FloatArray]  # [H] of each market: the mean widening


def live(ws: Workspace, *, days: float | None = None) -> LiveReport:
    """Score what was served in the last `days` (default `[data] days`), by market and step.

    The rows are `served`, the same forecasts without calibration, and the baselines. Sets of mode
    `live` count, or if there are none, those of a replay. Raises StateError if nothing that was
    served has an outcome yet.
    """
    markets, now = ws.markets(), ws.clock.now()
    end = markets[0].floor(now)
    start = end - round((days or ws.settings.data.days) * DAY_SECONDS)
    for modes in (LIVE, REPLAYED):
        scores, scale = [], {}
        for market in markets:  # what is read of one is gone before the next
            with ws.store.read() as reader:
                served = ServedReader(reader, ws.settings, now)
                record = served.track_record(market, start, end, modes)
            if record is not None and record.has_outcomes:
                scores.append(_scores(record))
                scale[market.id] = record.served.scale.mean(axis=0)
        if scores:
            break
    if not scores:
        raise StateError(
            "nothing that was served has an outcome yet",
            code="state.no_outcomes",
            hint="cryptocast forecast --once, and wait for its candles; or cryptocast replay",
        )
    return LiveReport(start, end, modes, pl.concat(scores), scale)


def _track_record(
    served: Served,
    bars: Bars,
    before: Windows,
    levels: tuple[float, ...],
    repeatable: NDArray[np.bool_],
) -> TrackRecord:
    """Turn served prices into log-returns, and add the windows and targets of their origins."""
    lookback, horizon = before.inputs.shape[1], served.quantiles.shape[1]
    returns = np.log(served.quantiles / served.last_close[:, None, None])
    # Prices are served rounded: a median that is the last price but for that is no direction.
    returns[np.abs(returns) < _ROUNDING] = 0.0
    plain = calibration.unwiden(returns, served.scale, served.body, levels)
    at = (served.origins - bars.first) // bars.market.interval_seconds
    windows = dataset.before(bars, at, lookback)
    targets = _targets(served, bars, at, horizon)
    windows = dataclasses.replace(windows, targets=targets)
    return TrackRecord(
        bars.market, levels, served, targets, returns, plain, windows, before, bars, repeatable
    )


def _targets(served: Served, bars: Bars, at: IntArray, horizon: int) -> FloatArray:
    """Return the log-returns [N, H] from the last close as served, NaN if unknown."""
    # From what was served as the last price: a candle may have been revised since.
    revision = bars.log_close[at - 1] - np.log(served.last_close)
    return dataset.log_returns(bars, at, horizon, len(bars)) + revision[:, None]


def _scores(record: TrackRecord) -> pl.DataFrame:
    candidates = [Candidate("served", None, record.quantiles)]
    if (record.quantiles != record.plain).any():
        candidates.append(Candidate("served, uncalibrated", None, record.plain))
    seconds = record.market.interval_seconds
    candidates += [
        baseline(kind, record.before, record.windows, record.levels, seconds)
        for kind in (WALK, CONSTANT)
    ]
    return evaluation.score(candidates, record.targets, record.levels, record.market.id)
