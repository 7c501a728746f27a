"""Paths of past origins, made from stored candles as they would have been then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from cryptocast import dataset, paths
from cryptocast.bundles import Bundle
from cryptocast.compute.ladder import Ladder
from cryptocast.compute.sets import Question, forecast_sets, issued_at_origin
from cryptocast.compute.tracks import Tracks
from cryptocast.config import Settings
from cryptocast.config.settings import CalibrationSettings
from cryptocast.dataset import Bars, Part
from cryptocast.errors import StateError
from cryptocast.seams import Progress
from cryptocast.store import Reader
from cryptocast.values import (
    BUILTIN_RANDOM_WALK,
    DAY_SECONDS,
    MIN_CANDLES,
    Candles,
    ForecastSet,
    Market,
    iso,
)
from cryptocast.workflows.futures.judging import Judged, Truth, entrants_of, judge, table
from cryptocast.workflows.futures.simulating import PathModels, market_paths, paths_start, places

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
    """Stored candles of some markets, and the forecasts at origins among them."""

    markets: tuple[Market, ...]
    candles: Mapping[Market, Candles]
    bars: Mapping[Market, Bars]
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
        """Forecast at origins of a part, without calibration, and lay out the candles around them.

        Raises StateError if no paths from within the part are over at its end.
        """
        origins = judged_origins(markets, part)
        start, end = paths_start(origins[0], markets[0]), origins[-1] + DAY_SECONDS
        candles = reader.candles(markets, start, end)
        there = tuple(m for m in markets if len(candles[m]) >= MIN_CANDLES)
        questions = [Question(market, market, tuple(origins)) for market in there]
        plain = replace(settings, calibration=CalibrationSettings(enabled=False))
        tracks = Tracks(plain, served=True)
        made, _, _ = forecast_sets(reader, ladder, questions, tracks, issued_at_origin)
        sets: dict[int, dict[Market, ForecastSet]] = {origin: {} for origin in origins}
        for each in made:
            sets[each.origin][each.market] = each
        bars = {m: dataset.lay_out(candles[m], m, start, end) for m in there}
        return cls(there, candles, bars, sets)

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that forecast."""
        made = (each.model.version for sets in self.sets.values() for each in sets.values())
        return tuple(dict.fromkeys(made))

    def judged(self, models: PathModels, count: int, progress: Progress) -> Iterator[Judged]:
        """Yield the marks of each origin at which every market has a forecast and a day to come."""
        place = places(self.markets)
        for number, (origin, sets) in enumerate(self.sets.items()):
            progress.advance(number, len(self.sets), iso(origin))
            truths = [Truth.of(bars, bars.index(origin)) for bars in self.bars.values()]
            known = [truth for truth in truths if truth is not None]
            if len(sets) < len(self.markets) or len(known) < len(truths):
                continue
            draw = paths.drawn(count, models.shared, 0, origin)
            shape = count, paths.day_bars(self.markets[0].interval_seconds)
            ours = [
                market_paths(models, draw, sets[m], self.candles[m], place[m.base], shape)
                for m in self.markets
            ]
            yield judge(origin, entrants_of(origin, ours, known), known)


def judged_paths(
    past: PathOrigins,
    part: Part,
    load: Callable[[str], Bundle],
    models: PathModels,
    progress: Progress,
) -> PathsReport:
    """Judge the paths of all origins. Raises StateError if there is none that can be judged."""
    judged = [*past.judged(models, _PATHS, progress)]
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
        left_out=tuple(market.id for market in past.candles if market not in past.markets),
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
