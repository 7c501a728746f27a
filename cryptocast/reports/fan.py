"""Candles and the fan of a forecast as text: it fits any width and needs no colour."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cryptocast.values import Candles, FloatArray, ForecastSet, IntArray, Market, iso

LEAST_WIDTH, LEAST_HEIGHT = 24, 5
"""Less than that shows nothing."""

_FAN_SHARE = 0.4
_LABEL_EVERY = 3
_INNER = (0.25, 0.75)

# What the two halves of a character hold: nothing, a wick, a body.
_HALVES = {"  ": " ", "ww": "│", " w": "╷", "w ": "╵"}
_HALVES |= {"bb": "┃", " b": "╻", "b ": "╹", "wb": "╽", "bw": "╿"}
_SHADES = {"outer": "░", "inner": "▒", "median": "━"}
_PLAIN_SHADES = {"outer": ".", "inner": ":", "median": "="}

Cell = tuple[str, str]
"""A character, and what it shows: rising, falling, outer, inner, median, axis, or nothing."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """A column each: candles [C, 4] (open, high, low, close; NaN: none), then the fan [S, 5]."""

    candles: FloatArray
    fan: FloatArray  # lowest, inner low, median, inner high, highest
    bars: int  # that a column stands for


def fan_chart(
    candles: Candles,
    market: Market,
    end: int,
    forecast: ForecastSet | None,
    *,
    width: int,
    height: int,
    plain: bool = False,
) -> list[list[Cell]]:
    """Rows of cells: the candles before the moment `end`, and the forecast made there.

    Where the width does not hold all steps a column stands for several bars. `plain` uses
    ASCII only. Nothing where there is nothing to draw, or no room.
    """
    if width < LEAST_WIDTH or height < LEAST_HEIGHT or not (len(candles) or forecast):
        return []
    quantiles = None if forecast is None else forecast.quantiles
    prices = [candles.low, candles.high] + ([] if quantiles is None else [quantiles.ravel()])
    spread = max(np.ptp(np.concatenate(prices)), 1e-9 * abs(float(prices[-1][0])), 1e-12)
    label = _labeller(float(spread) / height)
    margin = max(len(label(float(edge))) for p in prices if len(p) for edge in (p.min(), p.max()))
    columns = _columns(candles, market, end, forecast, width - margin - 2)
    shown = np.concatenate([columns.candles.ravel(), columns.fan.ravel()])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    if high <= low:
        low, high = low - spread / 2, high + spread / 2
    rows = []
    edges = np.linspace(high, low, height + 1)
    for r, (top, bottom) in enumerate(itertools.pairwise(edges)):
        text = label((top + bottom) / 2) if r % _LABEL_EVERY == 0 else ""
        row: list[Cell] = [(f"{text:>{margin}} ", "axis")]
        row += [_candle(each, top, bottom, plain) for each in columns.candles]
        row += [_shade(each, top, bottom, plain) for each in columns.fan]
        rows.append(row)
    rows.append([(" " * (margin + 1) + _times(market, end, columns), "axis")])
    return rows


def _columns(
    candles: Candles, market: Market, end: int, forecast: ForecastSet | None, room: int
) -> _Columns:
    """What each column shows; the fan takes two fifths of the room at most."""
    horizon = 0 if forecast is None else len(forecast.quantiles)
    bars = max(1, math.ceil(horizon / (_FAN_SHARE * room)))
    fan = np.empty((0, 5))
    if forecast is not None:
        levels = np.array(forecast.levels)
        inner = [int(np.abs(levels - level).argmin()) for level in _INNER]
        at = [0, inner[0], len(levels) // 2, inner[1], len(levels) - 1]
        fan = forecast.quantiles[np.arange(bars - 1, horizon, bars)][:, at]
    length = bars * market.interval_seconds
    count = room - len(fan)
    first = end - count * length
    return _Columns(_grouped(candles, first, length, count), fan, bars)


def _grouped(candles: Candles, first: int, length: int, count: int) -> FloatArray:
    """[count, 4] open, high, low, close of each span of `length` seconds; NaN where none is."""
    grouped = np.full((count, 4), np.nan)
    place: IntArray = (candles.open_time - first) // length
    for column in np.unique(place[(place >= 0) & (place < count)]):
        mine = place == column
        opened, closed = candles.open[mine], candles.close[mine]
        extremes = candles.high[mine].max(), candles.low[mine].min()
        grouped[column] = opened[0], *extremes, closed[-1]
    return grouped


def _candle(candle: FloatArray, top: float, bottom: float, plain: bool) -> Cell:
    """The part of a candle that lies in a row, to half a character."""
    opened, high, low, closed = candle
    if not math.isfinite(opened):
        return " ", ""
    middle = (top + bottom) / 2
    body = max(opened, closed), min(opened, closed)
    halves = ""
    for upper, lower in ((top, middle), (middle, bottom)):
        if body[0] >= lower and body[1] <= upper:
            halves += "b"
        else:
            halves += "w" if high >= lower and low <= upper else " "
    style = "" if halves == "  " else "rising" if closed >= opened else "falling"
    if plain:
        return "#" if "b" in halves else "|" if "w" in halves else " ", style
    return _HALVES[halves], style


def _shade(quantiles: FloatArray, top: float, bottom: float, plain: bool) -> Cell:
    """The part of the fan that lies in a row."""
    lowest, inner_low, median, inner_high, highest = quantiles
    middle = (top + bottom) / 2
    style = ""
    if bottom <= median < top or (median == top == highest):
        style = "median"
    elif inner_low <= middle <= inner_high:
        style = "inner"
    elif lowest <= middle <= highest:
        style = "outer"
    shades = _PLAIN_SHADES if plain else _SHADES
    return shades.get(style, " "), style


def _times(market: Market, end: int, columns: _Columns) -> str:
    """When the first candle opened, the forecast was made, and its last target is."""
    length = columns.bars * market.interval_seconds
    before, after = len(columns.candles), len(columns.fan)
    day = market.interval_seconds >= 86_400

    def clock(moment: int) -> str:
        return iso(moment)[:10] if day else f"{iso(moment)[11:16]}Z"

    line = [" "] * (before + after)
    now, last = clock(end), clock(end + after * length)
    places = [(0, clock(end - before * length))] if before >= 2 * len(now) else []
    places.append((min(max(before - len(now) // 2, 0), before + after - len(now)), now))
    if after >= 2 * len(now) - len(now) // 2:
        places.append((before + after - len(last), last))
    for place, text in places:
        line[place : place + len(text)] = text
    return "".join(line[: before + after]).rstrip()


def _labeller(step: float) -> Callable[[float], str]:
    """How prices are written, so that neighbouring rows differ."""
    decimals = min(max(0, math.ceil(-math.log10(step))), 12)
    return lambda price: f"{price:,.{decimals}f}"
