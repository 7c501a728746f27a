"""Polars frames that a notebook shows with pictures: forecasts, candles, scores and paths."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import islice

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from cryptocast import paths
from cryptocast.paths import Simulation
from cryptocast.reports import plots
from cryptocast.values import Candles, ForecastSet, IntArray, Market, quantile_name

MOST_PICTURES = 3
"""The number of markets that a frame shows a picture of."""

_PICTURED_CANDLES = 2016
_FAN = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_MOMENT = pl.Datetime("us", "UTC")

Pictures = Iterable[tuple[str, bytes]]
"""Names and PNG bytes."""


class Shown(pl.DataFrame):
    """A polars frame that a notebook shows with pictures; what is computed from it has none."""

    _draw: Callable[[], Pictures] | None = None

    @classmethod
    def of(cls, frame: pl.DataFrame, draw: Callable[[], Pictures]) -> Shown:
        """Return the frame with pictures, which are drawn when they are looked at."""
        shown = cls(frame)
        shown._draw = draw
        return shown

    def _repr_html_(self, **options: bool) -> str:
        """Return pictures and table as HTML that loads nothing. Jupyter asks for this."""
        pictures = () if self._draw is None else islice(self._draw(), MOST_PICTURES)
        images = (
            f'<img alt="{escape(name)}" style="max-width: 100%" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            for name, png in pictures
        )
        return "".join(images) + super()._repr_html_(**options)


def of_forecasts(sets: Sequence[ForecastSet], around: Sequence[Candles]) -> Shown:
    """Return a row per market and step, with a column per quantile, in quote currency.

    `around` are the candles that the picture of each set shows beside it.
    """

    def draw() -> Pictures:
        for s, candles in zip(sets, around, strict=True):
            targets = [s.target_time(step) for step in range(1, len(s.quantiles) + 1)]
            yield _fan(s.market, candles, targets, s.levels, s.quantiles)

    return Shown.of(pl.concat([_rows(s) for s in sets], how="diagonal"), draw)


def of_candles(stored: Mapping[Market, Candles]) -> Shown:
    """Return a row per candle; a volume that the source lacks is null."""

    def draw() -> Pictures:
        for market, candles in stored.items():
            yield _fan(market, candles.take(slice(-_PICTURED_CANDLES, None)), [], (), [])

    return Shown.of(pl.concat([_candle_rows(m, c) for m, c in stored.items()]), draw)


def of_scores(scores: pl.DataFrame) -> Shown:
    """Return the scores of what was served, with a picture of the skill of each step."""
    of_steps = pl.col("step").is_not_null() & (pl.col("model") == "served")
    parts = scores.filter(of_steps).sort("step").partition_by("market", as_dict=True)
    skill, low, high = (
        {str(name): part[column].to_numpy() for (name,), part in parts.items()}
        for column in ("skill_vs_random_walk", "skill_low", "skill_high")
    )

    def draw() -> Pictures:
        yield "skill by step", plots.skill_by_step(skill, low=low, high=high)

    return Shown.of(scores, draw)


def of_paths(simulation: Simulation, around: Sequence[Candles]) -> Shown:
    """Return a row per market, path and step, with a picture of the quantiles of the paths."""
    return Shown.of(paths.frame(simulation), lambda: _spread(simulation, around))


def _rows(forecast: ForecastSet) -> pl.DataFrame:
    """Return the rows of one forecast."""
    steps = np.arange(1, len(forecast.quantiles) + 1)
    targets = forecast.origin + steps * forecast.market.interval_seconds
    columns: Mapping[str, object] = {
        "market": [forecast.market.id] * len(steps),
        "origin": _moments(np.full(len(steps), forecast.origin)),
        "step": steps,
        "target_time": _moments(targets),
        "last_close": np.full(len(steps), forecast.last_close),
        "model_version": [forecast.model.version] * len(steps),
        "fallback": pl.Series([forecast.model.fallback] * len(steps), dtype=pl.String),
    }
    prices = zip(forecast.levels, forecast.quantiles.T, strict=True)
    return pl.DataFrame({**columns, **{quantile_name(level): column for level, column in prices}})


def _candle_rows(market: Market, candles: Candles) -> pl.DataFrame:
    prices = {name: getattr(candles, name) for name in ("open", "high", "low", "close")}
    return pl.DataFrame(
        {
            "market": pl.Series([market.id] * len(candles), dtype=pl.String),
            "open_time": _moments(candles.open_time),
            **prices,
            "volume": pl.Series(candles.volume).fill_nan(None),
        }
    )


def _moments(seconds: IntArray) -> pl.Series:
    return pl.Series(seconds * 1_000_000).cast(_MOMENT)


def _fan(
    market: Market,
    candles: Candles,
    targets: Sequence[int],
    levels: Sequence[float],
    quantiles: ArrayLike,
) -> tuple[str, bytes]:
    """Return the picture of closes, and of quantiles [H, Q] of the prices at `targets` [H]."""
    closed = candles.open_time + market.interval_seconds
    png = plots.fan(closed, candles.close, targets, levels, quantiles, title=market.symbol)
    return market.id, png


def _spread(simulation: Simulation, around: Sequence[Candles]) -> Iterator[tuple[str, bytes]]:
    """Yield a picture of the quantiles of the paths of each market."""
    steps = range(1, simulation.steps + 1)
    targets = [simulation.target_time(step) for step in steps]
    for one, candles in zip(simulation.markets, around, strict=True):
        quantiles = np.stack([one.at(step, _FAN) for step in steps])
        yield _fan(one.market, candles, targets, _FAN, quantiles)
