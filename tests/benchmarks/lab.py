"""The recorded series of one interval, and the walk in hindsight on each: for `ablation.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from eras import (
    EVERY,
    Forecast,
    Hindsight,
    Learned,
    Sums,
    Track,
    batches,
    crps,
    cut,
    read,
    yardstick,
)
from learning import recipe

from cryptocast.values import FloatArray, IntArray


@dataclass(frozen=True)
class Lab:
    """The tracks of one interval, and what each era's walk came to."""

    folder: Path
    train: str
    interval: str

    @cached_property
    def tracks(self) -> list[Track]:
        """All, those to learn from among them."""
        return read(self.folder, self.train, self.interval)

    @cached_property
    def cut(self) -> int:
        """Where the held-out time begins."""
        return cut(self.tracks, recipe().validation_share)

    @cached_property
    def eras(self) -> dict[str, list[Track]]:
        """Tracks by the era that they are scored as, the held-out time first."""
        found: dict[str, list[Track]] = {}
        for track in sorted(self.tracks, key=lambda t: (not t.learned, -t.bars.first)):
            found.setdefault(_era(track), []).append(track)
        return found

    @property
    def every(self) -> int:
        """Of the origins every fifth is scored; of coarser candles there are few."""
        return EVERY if self.interval == "5m" else 1

    def rows(self, track: Track) -> IntArray:
        """[N] the origins that a track is scored on."""
        return track.judged(self.cut if track.learned else None, self.every)

    @cached_property
    def walks(self) -> dict[str, FloatArray]:
        """[N, H] the losses of H on each file."""
        chosen = {t.file: Hindsight.of(t, self.rows(t)) for t in self.tracks}
        return {t.file: self.losses(t, chosen[t.file].forecast(t)) for t in self.tracks}

    def score(self, learn: Callable[[int | None], Learned]) -> dict[str, Sums]:
        """What a way to learn comes to in each era: up to the cut, and from everything."""
        kinds = {tracks[0].learned for tracks in self.eras.values()}
        learned = {held_out: learn(self.cut if held_out else None) for held_out in kinds}
        return {
            era: Sums.of([self.part(t, learned[t.learned](t, tracks)) for t in tracks])
            for era, tracks in self.eras.items()
        }

    def part(self, track: Track, forecast: Forecast) -> tuple[IntArray, FloatArray, FloatArray]:
        """Origins, losses of a model, and losses of H."""
        at = track.bars.open_time[self.rows(track)]
        return at, self.losses(track, forecast), self.walks[track.file]

    def against_w7(
        self, track: Track, forecast: Forecast
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Origins, losses of a model, and losses of W7."""
        rows = self.rows(track)
        return track.bars.open_time[rows], self.losses(track, forecast), yardstick(track, rows)

    def losses(self, track: Track, forecast: Forecast) -> FloatArray:
        """[N, H] CRPS in log-return."""
        rows = self.rows(track)
        losses = [crps(forecast(batch), track.targets(batch)) for batch in batches(rows)]
        return np.asarray(np.concatenate(losses) * track.unit[rows])


def _era(track: Track) -> str:
    return f"{track.era}, held out" if track.learned else track.era
