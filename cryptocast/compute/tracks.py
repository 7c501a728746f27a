"""tracks: the state of calibration per market and version, from the ledger and the candles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np

from cryptocast import calibration
from cryptocast.config import Settings
from cryptocast.values import Candles, FloatArray, ForecastSet, IntArray, Market, Past, Ranges


class SpanOf(Protocol):
    """The extent of a market's candles."""

    @property
    def last(self) -> int:
        """The last open time."""


class Remembered(Protocol):
    """The forecast sets that were stored before: `store.Ledger`, or what it said."""

    def past(
        self,
        pairs: Sequence[tuple[Market, str]],
        origin: int,
        *,
        since: int,
        until: int | None,
        shape: tuple[int, int],
        inner: int | None,
        served: bool,
    ) -> Mapping[tuple[Market, str], Past]:
        """Return what each pair's newest sets from `since` on and before an origin said.

        Targets after `until` may be left out.
        """


class Held(Protocol):
    """The candles and sets that forecasts are made from: `store.Reader`, or what it said."""

    def candles(self, markets: Sequence[Market], start: int, end: int) -> Mapping[Market, Candles]:
        """Return the candles of each market with open time in `[start, end)`."""

    def spans(self, markets: Sequence[Market], end: float) -> Mapping[Market, SpanOf]:
        """Return how much of each market is stored before `end`, if any."""

    @property
    def ledger(self) -> Remembered:
        """The forecast sets."""


MEMORY_BARS = 2016
"""A version that served nothing for this many bars starts at no widening again."""


@dataclass(slots=True)
class _Track:
    """The newest sets of one market by one version, and the widening of the last of them."""

    scale: FloatArray  # [H]
    body: FloatArray  # [H]
    origin: int  # of the last set
    known_until: int  # when the newest candle that the last set knew closed
    parts: list[Ranges] = field(default_factory=list)  # of sets whose outcomes may still come

    @classmethod
    def of(cls, past: Past) -> _Track:
        """Take up what the ledger holds."""
        return cls(past.scale, past.body, past.origin, past.known_until, [past.ranges])

    def ranges(self) -> Ranges:
        """Return all of the ranges."""
        if len(self.parts) == 1:
            return self.parts[0]
        columns = ([getattr(part, name) for part in self.parts] for name in _COLUMNS)
        return Ranges(*(np.concatenate(column) for column in columns))


_COLUMNS = tuple(each.name for each in fields(Ranges))


@dataclass(frozen=True, slots=True, eq=False)
class Calibrating:
    """A market at an origin, and all that the calibration of its quantiles goes by."""

    market: Market
    version: str
    origin: int
    known_until: int  # when the newest of its candles closed
    candles: Candles  # the market's own: another venue's show no outcome of it
    shifts: IntArray  # open times of suspected shifts: what they part from its origin says nothing


@dataclass(frozen=True, slots=True, eq=False)
class Widening:
    """The quantiles [N, H, Q] of log-returns, and scale and body [N, H] if they were widened."""

    scale: FloatArray | None
    body: FloatArray | None
    log_quantiles: FloatArray


class Tracks:
    """Calibration of a run of sets: first what the ledger holds, then what this run adds.

    A set made one tick at a time and one made in a replay of many go through the same steps,
    so they get the same widening.
    """

    def __init__(self, settings: Settings, *, served: bool) -> None:
        """Begin with no track; `served` selects the served sets, not those of shadows."""
        self.levels = settings.model.levels
        self._horizon = settings.model.horizon
        self._enabled = settings.calibration.enabled
        self._own_past = settings.calibration.own_past
        self._inner = calibration.inner_place(self.levels)
        self._served = served
        self._tracks: dict[tuple[Market, str], _Track | None] = {}  # None: there is none
        self._recent_bars = 0

    def load(
        self,
        reader: Held,
        origins: Mapping[tuple[Market, str], int],
        recent_bars: int,
        until: int | None = None,
    ) -> None:
        """Read the track of each (market, version) as it was before the given origin.

        Those that were read before stay as they are. Outcomes further back than `recent_bars`
        before an origin are ignored: no forecast may depend on how much else is stored. If no
        forecast of an origin after `until` is asked for, no more is read than these need.
        """
        self._recent_bars = recent_bars
        if not self._enabled:
            return
        alike: dict[int, list[tuple[Market, str]]] = {}
        for pair, origin in origins.items():
            if pair not in self._tracks:
                alike.setdefault(origin, []).append(pair)
        shape = (self._horizon, len(self.levels))
        for origin, pairs in alike.items():
            pasts = reader.ledger.past(
                pairs,
                origin,
                since=origin - MEMORY_BARS * pairs[0][0].interval_seconds,
                until=until,
                shape=shape,
                inner=self._inner,
                served=self._served,
            )
            self._tracks |= dict.fromkeys(pairs)
            self._tracks |= {pair: _Track.of(past) for pair, past in pasts.items()}

    def calibrate(self, several: Sequence[Calibrating], log_quantiles: FloatArray) -> Widening:
        """Return the quantiles [N, H, Q] of N markets, widened, and by what.

        If candles are always late, their outcomes are learned a tick later, and not lost.
        """
        if not self._enabled:
            return Widening(None, None, log_quantiles)
        count, horizon, _ = log_quantiles.shape
        scale, body = np.ones((2, count, horizon))
        known, missed, beyond = np.zeros((3, count, horizon), dtype=np.int64)
        for place, one in enumerate(several):
            interval = one.market.interval_seconds
            track = self._tracks.get((one.market, one.version))
            if track is None or track.origin < one.origin - MEMORY_BARS * interval:
                continue
            outcomes = calibration.outcomes(
                track.ranges(),
                one.candles,
                interval,
                horizon=horizon,
                after=max(track.known_until, one.origin - self._recent_bars * interval),
                until=one.known_until,
                shifts=one.shifts,
            )
            scale[place], body[place] = track.scale, track.body
            known[place], missed[place] = outcomes.known, outcomes.missed
            beyond[place] = outcomes.beyond
        levels, share = self.levels, calibration.share_outside(self.levels)
        scale = calibration.advance(scale, known, missed, share)
        body = (
            calibration.advance_body(body, known, beyond, levels)
            if self._own_past
            else np.ones_like(body)
        )
        return Widening(scale, body, calibration.widen(log_quantiles, scale, body, levels))

    def remember(self, forecast: ForecastSet) -> None:
        """Go on from a set that was just made."""
        if forecast.scale is None or forecast.body is None:
            return
        key, interval = (forecast.market, forecast.model.version), forecast.market.interval_seconds
        origin, horizon = forecast.origin, len(forecast.scale)
        known_until = origin - forecast.stale_bars * interval
        before = self._tracks.get(key)
        reach = known_until - horizon * interval
        parts = [] if before is None else [p for p in before.parts if p.origin[-1] > reach]
        inner = self._inner or 0
        ends = (0, -1, inner, len(self.levels) - 1 - inner)
        steps = np.arange(1, horizon + 1)
        parts.append(Ranges(np.full(horizon, origin), steps, *forecast.quantiles[:, ends].T))
        self._tracks[key] = _Track(forecast.scale, forecast.body, origin, known_until, parts)
