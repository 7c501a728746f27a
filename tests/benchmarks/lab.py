"""The recorded series of one interval by era, and what the two walks came to on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from eras import (
    EVERY,
    Forecast,
    Hindsight,
    Learned,
    Track,
    batches,
    crps,
    read,
    yardstick,
)
from sums import Sums

from cryptocast.values import FloatArray, IntArray


@dataclass(frozen=True)
class Lab:
    """The tracks of one interval."""

    folder: Path
    interval: str
    stride: int = EVERY  # of candles of five minutes

    @cached_property
    def tracks(self) -> list[Track]:
        """All, the newest era first."""
        return sorted(read(self.folder, self.interval), key=lambda t: (-t.bars.first, t.file))

    @cached_property
    def eras(self) -> dict[str, list[Track]]:
        """Tracks by the era that they are scored as."""
        found: dict[str, list[Track]] = {}
        for track in self.tracks:
            found.setdefault(track.era, []).append(track)
        return found

    @property
    def every(self) -> int:
        """Of the origins so many are one that is scored; of coarser candles there are few."""
        return self.stride if self.interval == "5m" else 1

    def rows(self, track: Track) -> IntArray:
        """[N] the origins that a track is scored on."""
        return track.judged(self.every)

    @cached_property
    def walks(self) -> dict[str, FloatArray]:
        """[N, H] the losses of H on each file."""
        chosen = {t.file: Hindsight.of(t, self.rows(t)) for t in self.tracks}
        return {t.file: self.losses(t, chosen[t.file].forecast(t)) for t in self.tracks}

    @cached_property
    def yardsticks(self) -> dict[str, FloatArray]:
        """[N, H] the losses of W7 on each file."""
        return {t.file: yardstick(t, self.rows(t)) for t in self.tracks}

    def score(self, learn: Callable[[Sequence[Track]], Learned]) -> dict[str, Sums]:
        """What a way to learn comes to in each era against H: learned from all other eras."""
        found = {}
        for era, tracks in self.eras.items():
            learned = learn([track for track in self.tracks if track.era != era])
            found[era] = Sums.of([self.part(t, learned(t, tracks)) for t in tracks])
        return found

    def part(self, track: Track, forecast: Forecast) -> tuple[IntArray, FloatArray, FloatArray]:
        """Origins, losses of a model, and losses of H."""
        at = track.bars.open_time[self.rows(track)]
        return at, self.losses(track, forecast), self.walks[track.file]

    def against_w7(
        self, track: Track, forecast: Forecast
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Origins, losses of a model, and losses of W7."""
        at = track.bars.open_time[self.rows(track)]
        return at, self.losses(track, forecast), self.yardsticks[track.file]

    def losses(self, track: Track, forecast: Forecast) -> FloatArray:
        """[N, H] CRPS in log-return."""
        rows = self.rows(track)
        losses = [crps(forecast(batch), track.targets(batch)) for batch in batches(rows)]
        return np.asarray(np.concatenate(losses) * track.unit[rows])
