"""Where calibration stands for each market and version, out of the ledger and the candles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cryptocast import calibration
from cryptocast.calibration import Ranges
from cryptocast.store import Past, Reader
from cryptocast.values import Candles, FloatArray, ForecastSet, Market
from cryptocast.workspace import Workspace

MEMORY_BARS = 2016
"""A version that served nothing for so long starts at no widening again."""


@dataclass(slots=True)
class _Track:
    """The newest sets of one market by one version, and the widening of the last."""

    scale: FloatArray  # [H]
    known_until: int  # when the newest candle closed that the last set knew
    origins: list[int] = field(default_factory=list)
    low: list[FloatArray] = field(default_factory=list)  # each [H], prices
    high: list[FloatArray] = field(default_factory=list)

    @classmethod
    def of(cls, past: Past) -> _Track:
        origins = past.origins.tolist()
        return cls(past.scale, past.known_until, origins, list(past.low), list(past.high))

    def ranges(self) -> Ranges:
        return Ranges(np.array(self.origins), np.stack(self.low), np.stack(self.high))


class Tracks:
    """Calibration of a run of sets: what the ledger says, and then what this run adds.

    A set made one tick at a time and one made in a replay of many go through the same steps,
    so they get the same widening.
    """

    def __init__(self, ws: Workspace, *, served: bool) -> None:
        """`served`: whether it is about the served sets, or the shadows."""
        self._model = ws.settings.model
        self._enabled = ws.settings.calibration.enabled
        self._served = served
        self._tracks: dict[tuple[Market, str], _Track] = {}
        self._context_bars = 0

    def load(
        self, reader: Reader, asked: Mapping[tuple[Market, str], int], context_bars: int
    ) -> None:
        """Read where each (market, version) stood before the origin that is asked of it.

        Outcomes further back than `context_bars` are not known to anybody.
        """
        self._context_bars = context_bars
        if not self._enabled:
            return
        alike: dict[int, list[tuple[Market, str]]] = {}
        for pair, origin in asked.items():
            if pair not in self._tracks:
                alike.setdefault(origin, []).append(pair)
        shape = (self._model.horizon, len(self._model.levels))
        for origin, pairs in alike.items():
            since = origin - MEMORY_BARS * pairs[0][0].interval_seconds
            found = reader.ledger.past(pairs, origin, since=since, shape=shape, served=self._served)
            self._tracks |= {pair: _Track.of(past) for pair, past in found.items()}

    def calibrate(
        self,
        market: Market,
        version: str,
        origin: int,
        known_until: int,
        log_quantiles: FloatArray,
        candles: Candles,
    ) -> tuple[FloatArray | None, FloatArray]:
        """The widening [H] at an origin, and [H, Q] the quantiles so widened.

        `candles` are the market's own; those of another venue are no outcome of it.
        `known_until` is when the newest of them closed: where a candle is always late, its
        outcomes are learned a tick later, and not lost.
        """
        if not self._enabled:
            return None, log_quantiles
        track = self._tracks.get((market, version))
        if track is None or track.origins[-1] < origin - MEMORY_BARS * market.interval_seconds:
            return calibration.fresh(len(log_quantiles)), log_quantiles
        interval, levels = market.interval_seconds, self._model.levels
        after = max(track.known_until, origin - self._context_bars * interval)
        came = calibration.outcomes(
            track.ranges(), candles, interval, after=after, until=known_until
        )
        share = calibration.share_outside(levels)
        scale = calibration.advance(track.scale, came.known, came.missed, share)
        return scale, calibration.widen(log_quantiles, scale, levels.index(0.5))

    def remember(self, made: ForecastSet) -> None:
        """Go on from a set that was just made."""
        if made.scale is None:
            return
        key, interval = (made.market, made.model.version), made.market.interval_seconds
        known_until = made.origin - made.stale_bars * interval
        track = self._tracks.setdefault(key, _Track(made.scale, known_until))
        track.scale, track.known_until = made.scale, known_until
        track.origins.append(made.origin)
        track.low.append(made.quantiles[:, 0])
        track.high.append(made.quantiles[:, -1])
        reach = known_until - len(made.scale) * interval
        while track.origins[0] <= reach:
            for entries in (track.origins, track.low, track.high):
                entries.pop(0)
