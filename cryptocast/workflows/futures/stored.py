"""Paths of past origins, made from stored candles as they would have been then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from cryptocast import dataset, paths
from cryptocast.bundles import Bundle
from cryptocast.compute.ladder import Ladder
from cryptocast.compute.sets import Question, forecast_sets, issued_at_origin
from cryptocast.compute.tracks import Tracks
from cryptocast.config import Settings
from cryptocast.config.settings import CalibrationSettings
from cryptocast.dataset import Part
from cryptocast.errors import StateError
from cryptocast.seams import Progress
from cryptocast.store import Reader, Store
from cryptocast.values import (
    BUILTIN_RANDOM_WALK,
    DAY_SECONDS,
    MIN_CANDLES,
    ForecastSet,
    Market,
    iso,
)
from cryptocast.workflows.futures.judging import Judged, Judging, Rivals, Truth, table
from cryptocast.workflows.futures.simulating import PathModels, market_paths, paths_start, places
from cryptocast.workflows.learning.material import series
from cryptocast.workflows.serving.blocks import blocks

_STRIDE = 25  # bars: every time of the day comes
_PATHS = 1000
_MOST = 600  # pairs of origin and market: some minutes


@dataclass(frozen=True, slots=True)
class PathsReport:
    """The scores of whole paths beside their rivals, from the origins of `[start, end)`."""

    start: int
    end: int
    versions: tuple[str, ...]
    in_sample: tuple[str, ...]  # versions that learned from some of these candles
    markets: tuple[str, ...]
    left_out: tuple[str, ...]  # markets without enough candles
    skipped: int  # origins at which a market lacks a forecast or what came
    paths: int
    entrants: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class PathOrigins:
    """Forecasts of some markets at past origins; the candles around them are left in the store."""

    markets: tuple[Market, ...]
    left_out: tuple[Market, ...]  # without enough candles
    sets: Mapping[int, Mapping[Market, ForecastSet]]  # by origin

    @classmethod
    def read(
        cls,
        reader: Reader,
        settings: Settings,
        ladder: Ladder,
        markets: Sequence[Market],
        part: Part,
    ) -> PathOrigins:
        """Forecast at origins of a part, without calibration.

        Raises StateError if no paths from within the part are over at its end.
        """
        origins = judged_origins(markets, part)
        start, end = paths_start(origins[0], markets[0]), origins[-1] + DAY_SECONDS
        spans = reader.spans(markets, end, start)
        there = tuple(m for m in markets if m in spans and spans[m].rows >= MIN_CANDLES)
        questions = [Question(m, m, tuple(origins)) for m in sorted(there, key=attrgetter("id"))]
        plain = replace(settings, calibration=CalibrationSettings(enabled=False))
        tracks = Tracks(plain, served=True)
        sets: dict[int, dict[Market, ForecastSet]] = {origin: {} for origin in origins}
        for block in blocks(questions, lambda question: len(question.origins)):
            made, _, _ = forecast_sets(reader, ladder, block, tracks, issued_at_origin)
            for each in made:
                sets[each.origin][each.market] = each
        return cls(there, tuple(m for m in markets if m not in there), sets)

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that forecast."""
        made = (each.model.version for sets in self.sets.values() for each in sets.values())
        return tuple(dict.fromkeys(made))

    def judged(
        self, store: Store, models: PathModels, count: int, progress: Progress
    ) -> Iterator[Judged]:
        """Yield the marks of each origin at which every market has a forecast and a day to come.

        For each of them candles are read anew, and paths are gone when the next market comes: so
        memory does not grow with what is judged.
        """
        place, market = places(self.markets), self.markets[0]
        shape = count, paths.day_bars(market.interval_seconds)
        for number, (origin, sets) in enumerate(self.sets.items()):
            progress.advance(number, len(self.sets), iso(origin))
            if len(sets) < len(self.markets):
                continue
            draw = paths.drawn(count, models.shared, 0, origin)
            judging, rivals = Judging(origin, market), Rivals(origin)
            start, end = paths_start(origin, market), origin + DAY_SECONDS
            for m, candles in series(store, self.markets, start, end):
                bars = dataset.lay_out(candles, m, start, end)
                truth = Truth.of(bars, bars.index(origin))
                if truth is None:
                    break
                ours = market_paths(models, draw, sets[m], candles, place[m.base], shape)
                judging.add(rivals.beside(ours, truth), truth)
            else:
                yield judging.result()


def judged_paths(
    past: PathOrigins,
    store: Store,
    part: Part,
    load: Callable[[str], Bundle],
    models: PathModels,
    progress: Progress,
) -> PathsReport:
    """Judge the paths of all origins. Raises StateError if there is none that can be judged."""
    judged = [*past.judged(store, models, _PATHS, progress)]
    if not judged:
        raise StateError(
            f"no origin from {iso(part.start)} to {iso(part.end)} has a forecast of all markets "
            "and a whole day of candles",
            code="state.not_enough_candles",
            hint="cryptocast fetch --days 7, or another range",
        )
    trained = [name for name in past.versions if name != BUILTIN_RANDOM_WALK]
    return PathsReport(
        start=part.start,
        end=part.end,
        versions=past.versions,
        in_sample=tuple(name for name in trained if load(name).card.data_end > part.start),
        markets=tuple(market.id for market in past.markets),
        left_out=tuple(market.id for market in past.left_out),
        skipped=len(past.sets) - len(judged),
        paths=_PATHS,
        entrants=tuple(table(judged)),
    )


def judged_origins(markets: Sequence[Market], part: Part) -> range:
    """Return origins of a part whose paths are over by its end, spread evenly.

    Raises StateError if there is none.
    """
    start, last = part.start, part.end - DAY_SECONDS
    if last < start:
        raise StateError(
            f"paths reach a day ahead: none from {iso(start)} on is over at {iso(part.end)}",
            code="state.not_enough_candles",
            hint="cryptocast evaluate --paths --days 7",
        )
    interval = markets[0].interval_seconds
    bars = (last - start) // interval
    # Odd and no multiple of 5, so that no time of the day is left out.
    stride = max(_STRIDE, bars * len(markets) // _MOST // 6 * 6 + 1)
    return range(start, last + 1, stride * interval)
