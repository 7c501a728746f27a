"""Pictures in plain text: they fit any width and need no colour."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.display import fixed
from cryptocast.values import DAY_SECONDS, Candles, FloatArray, ForecastSet, IntArray, Market, iso

LEAST_WIDTH, LEAST_HEIGHT = 24, 5
"""A fan chart smaller than this shows nothing."""

_EIGHTHS = "▏▎▍▌▋▊▉█"
_HEIGHTS = "▁▂▃▄▅▆▇█"
_NONE = "·"

_FAN_SHARE = 0.4  # of the width, at most
_LABEL_EVERY = 3  # rows
_INNER = (0.25, 0.75)  # quantile levels

# What the two halves of a character show: nothing, a wick (w) or a body (b).
_HALVES = {"  ": " ", "ww": "│", " w": "╷", "w ": "╵"}
_HALVES |= {"bb": "┃", " b": "╻", "b ": "╹", "wb": "╽", "bw": "╿"}
_SHADES = {"outer": "░", "inner": "▒", "median": "━"}
_PLAIN_SHADES = {"outer": ".", "inner": ":", "median": "="}

Cell = tuple[str, str]
"""A character and what it shows: rising, falling, outer, inner, median, axis, or nothing."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns: candles [C, 4] (open, high, low, close; NaN: none), then the fan [S, 5]."""

    candles: FloatArray
    fan: FloatArray  # lowest, inner low, median, inner high, highest
    bars: int  # number of bars in a column


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Return values as a line of blocks, the lowest flat, the highest full, a dot for NaN.

    If there are more values than `width`, neighbours are shown by their mean.
    """
    shown = _squeezed(values, max(width, 1))
    finite = [v for v in shown if math.isfinite(v)]
    if not finite:
        return _NONE * len(shown)
    low, span = min(finite), max(finite) - min(finite)

    def block(value: float) -> str:
        if not math.isfinite(value):
            return _NONE
        share = (value - low) / span if span > 0 else 0.5
        return _HEIGHTS[min(int(share * len(_HEIGHTS)), len(_HEIGHTS) - 1)]

    return "".join(block(v) for v in shown)


def bars(values: Mapping[str, float], width: int = 60) -> list[str]:
    """Return one line per value: its name, a bar from zero, and the value as a percentage.

    The largest value fills what the widest name and value leave of `width`; negative values and
    NaN have no bar. Names that leave no room for a bar are kept whole.
    """
    if not values:
        return []
    figures = {name: f"{v:.0%}" if math.isfinite(v) else "-" for name, v in values.items()}
    names, numbers = (max(map(len, texts)) for texts in (figures, figures.values()))
    room = max(width - names - numbers - 2, 1)
    most = max((v for v in values.values() if math.isfinite(v)), default=0.0)
    drawn = {name: bar(v / most if most > 0 else 0.0, room) for name, v in values.items()}
    return [f"{name:<{names}} {drawn[name]:<{room}} {figures[name]:>{numbers}}" for name in values]


def bar(share: float, width: int) -> str:
    """Return a bar that fills a share (0 to 1) of `width`, to an eighth of a character."""
    if not math.isfinite(share) or share <= 0:
        return ""
    eighths = round(min(share, 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return _EIGHTHS[-1] * full + (_EIGHTHS[rest - 1] if rest else "")


def _squeezed(values: Sequence[float], width: int) -> list[float]:
    n = len(values)
    if n <= width:
        return [float(v) for v in values]
    groups = (values[i * n // width : (i + 1) * n // width] for i in range(width))
    finite = ([float(v) for v in group if math.isfinite(v)] for group in groups)
    return [sum(group) / len(group) if group else math.nan for group in finite]


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
    """Return rows of cells: the candles before the moment `end`, and the forecast made then.

    If the width does not hold all steps, a column stands for several bars. `plain` uses ASCII
    only. Return no rows if there is nothing to draw, or no room.
    """
    if width < LEAST_WIDTH or height < LEAST_HEIGHT or not (len(candles) or forecast):
        return []
    quantiles = None if forecast is None else forecast.quantiles
    prices = [candles.low, candles.high] + ([] if quantiles is None else [quantiles.ravel()])
    spread = max(np.ptp(np.concatenate(prices)), 1e-9 * abs(float(prices[-1][0])), 1e-30)
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
        row += [_candle(prices, top, bottom, plain) for prices in columns.candles]
        row += [_shade(quantiles, top, bottom, plain) for quantiles in columns.fan]
        rows.append(row)
    rows.append([(" " * (margin + 1) + _times(market, end, columns), "axis")])
    return rows


def _columns(
    candles: Candles, market: Market, end: int, forecast: ForecastSet | None, room: int
) -> _Columns:
    """Return what each column shows; the fan takes two fifths of the room at most."""
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
    """Return open, high, low, close [count, 4] per span of `length` seconds, NaN if it is empty."""
    grouped = np.full((count, 4), np.nan)
    place: IntArray = (candles.open_time - first) // length
    for column in np.unique(place[(place >= 0) & (place < count)]):
        inside = place == column
        opened, closed = candles.open[inside], candles.close[inside]
        extremes = candles.high[inside].max(), candles.low[inside].min()
        grouped[column] = opened[0], *extremes, closed[-1]
    return grouped


def _candle(candle: FloatArray, top: float, bottom: float, plain: bool) -> Cell:
    """Return the part of a candle that lies in a row, to half a character."""
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
    """Return the part of the fan that lies in a row."""
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
    """Return the axis: when the first candle opens, the forecast was made, and its last target."""
    length = columns.bars * market.interval_seconds
    before, after = len(columns.candles), len(columns.fan)
    day = market.interval_seconds >= DAY_SECONDS

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
    """Return how to write prices so that neighbouring rows, `step` apart, differ."""
    decimals = max(0, math.ceil(-math.log10(step)))
    return lambda price: fixed(price, decimals)
