"""The status screen: lines of text for any width, with colour or without, in ASCII if need be."""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from cryptocast.cli._output import price
from cryptocast.cli._status_facts import facts
from cryptocast.reports.terminal import Cell, fan_chart
from cryptocast.values import iso
from cryptocast.workflows.watching.facts import shown_steps

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.values import ForecastSet
    from cryptocast.workflows.status import StatusReport

_NARROW = 64
_VERDICTS = {"TROUBLE": "bold red", "watch": "bold yellow", "healthy": "bold green"}
_VERDICTS |= {"serving": "bold green"}
_LABEL = 11
_CHART_HEIGHT = 12
_LOWEST_CHART = 7
_STYLES = {
    "rising": "green", "falling": "red", "outer": "blue", "inner": "cyan", "median": "bold",
    "axis": "dim",
}  # fmt: skip
_SHOWN_ISSUES = 4


def is_plain(console: Console) -> bool:
    """Whether only ASCII can be shown: by the encoding, or as the locale C says."""
    if console.options.ascii_only:
        return True
    # Python itself takes UTF-8 for C, so the encoding does not tell.
    named = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return named in ("C", "POSIX")


def screen(report: StatusReport, *, width: int, height: int | None, plain: bool) -> list[Text]:
    """The lines, none wider than `width`; `height` is that of the terminal, None: any."""
    below = [line for label, text in facts(report) for line in _fact(label, text, width, plain)]
    if len(report.markets) > 1:
        room = None if height is None else max(height - len(below) - 8, 3)
        lines = [*_headline(report, width, plain), *_table(report, width, room, plain)]
        return [*lines, Text(), *below]
    (market,) = report.markets
    top = [*_headline(report, width, plain), *_ranges(market.forecast, width, plain)]
    room = _CHART_HEIGHT
    if height is not None:  # facts that have no room are at the end, and less than the picture
        room = min(max(height - len(top) - len(below) - 4, _LOWEST_CHART), 2 * _CHART_HEIGHT)
    end = market.market.floor(report.now) if market.forecast is None else market.forecast.origin
    rows = fan_chart(
        market.candles,
        market.market,
        end,
        market.forecast,
        width=width,
        height=room,
        plain=plain,
    )
    chart = [_joined(row) for row in rows]
    return [*top, Text(), *chart, *([Text()] if chart else []), *below]


def _joined(row: Sequence[Cell]) -> Text:
    """Cells as one line; neighbours of one style share it."""
    line = Text()
    for style, cells in itertools.groupby(row, lambda cell: cell[1]):
        line.append("".join(text for text, _ in cells), _STYLES.get(style))
    return line


def _headline(report: StatusReport, width: int, plain: bool) -> Iterator[Text]:
    """Price and verdict; below it whatever is wrong."""
    line = Text()
    first = report.markets[0]
    if len(report.markets) > 1:
        line.append(f"{len(report.markets)} markets", "bold")
    else:
        line.append(first.market.symbol, "bold")
        if first.forecast is not None:
            line.append(f"  {price(first.forecast.last_close)} {first.market.quote}", "bold")
    issues = report.issues
    verdict = "serving" if report.health is None else report.health.verdict
    word = "TROUBLE" if issues else verdict
    line.append(f"  {word}", _VERDICTS.get(word, "bold"))
    at = f"  {iso(int(report.now))}"
    yield line.append(at, "dim") if len(line) + len(at) <= width else line
    for issue in issues[:_SHOWN_ISSUES]:
        for wrapped in _wrapped("! ", issue, width, plain):
            yield Text(wrapped, style="red")
    if len(issues) > _SHOWN_ISSUES:
        yield Text(f"! and {len(issues) - _SHOWN_ISSUES} more", style="red")


def _ranges(forecast: ForecastSet | None, width: int, plain: bool) -> Iterator[Text]:
    """For each step that is shown: when, the ranges, and half the widest in per cent."""
    if forecast is None:
        return
    market, levels = forecast.market, forecast.levels
    ends = {f"{levels[-1] - levels[0]:.0%}": (0, len(levels) - 1)}
    if 0.1 in levels and 0.9 in levels and len(levels) > 3 and width >= _NARROW:
        ends = {"80%": (levels.index(0.1), levels.index(0.9))} | ends
    rows = [["in", "at", *(f"{name[:-1]} %" for name in ends), ""]]
    for step in shown_steps(market, len(forecast.quantiles)):
        row, target = forecast.quantiles[step - 1], forecast.target_time(step)
        cells = [f"{price(row[low])} .. {price(row[high])}" for low, high in ends.values()]
        rows.append([_ahead(step * market.interval_seconds), f"{iso(target)[11:16]}Z", *cells,
                     _half_width(forecast, step, plain)])  # fmt: skip
    if width < _NARROW:
        rows = [[row[0], *row[2:]] for row in rows]
    yield Text()
    yield from _aligned(rows, width)


def _table(report: StatusReport, width: int, room: int | None, plain: bool) -> Iterator[Text]:
    """A row a market, the worst first."""
    rows = [["market", "price", "next bar", "farthest", "in 90 %", "state"]]
    shown = report.markets if room is None else report.markets[:room]
    for each in shown:
        forecast, cover = each.forecast, each.coverage
        cells = ["-", "-", "-"]
        if forecast is not None:
            steps = shown_steps(each.market, len(forecast.quantiles))
            widths = [_half_width(forecast, step, plain) for step in (steps[0], steps[-1])]
            cells = [price(forecast.last_close), *widths]
        inside = "-" if cover is None or cover.in90 is None else f"{cover.in90:.1%}"
        rows.append([each.market.symbol, *cells, inside, each.issues[0] if each.issues else "ok"])
    if width < _NARROW:
        rows = [[row[0], row[1], row[3], row[5]] for row in rows]
    yield Text()
    yield from _aligned(rows, width, last_left=True)
    if more := len(report.markets) - len(shown):
        yield Text(f"and {more} more", style="dim")


def _half_width(forecast: ForecastSet, step: int, plain: bool) -> str:
    row = forecast.quantiles[step - 1]
    half = (row[-1] - row[0]) / 2 / row[len(row) // 2]
    return f"{'+-' if plain else '±'}{half:.2%}"


def _ahead(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds / 3600:g} h"


def _fact(label: str, text: str, width: int, plain: bool) -> Iterator[Text]:
    head = f"{label:<{_LABEL}}" if width >= _NARROW else f"{label}: "
    for i, line in enumerate(_wrapped(head, text, width, plain)):
        made = Text(line)
        if i == 0:
            made.stylize("dim", 0, len(label))
        yield made


def _wrapped(head: str, text: str, width: int, plain: bool) -> list[str]:
    """A text behind a head; what once was typed by somebody moves no cursor."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    if plain:
        shown = shown.encode("ascii", "replace").decode()
    behind = " " * (len(head) if width >= _NARROW else 2)
    return textwrap.wrap(shown, width, initial_indent=head, subsequent_indent=behind) or [head]


def _aligned(rows: list[list[str]], width: int, *, last_left: bool = False) -> Iterator[Text]:
    """Columns: the first to the left, figures to the right, a head in dim; cut at the width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [f"{row[0]:<{widths[0]}}"]
        cells += [f"{cell:>{size}}" for cell, size in zip(row[1:], widths[1:], strict=True)]
        if last_left:
            cells[-1] = row[-1]
        line = "  ".join(cells).rstrip()[:width]
        yield Text(line, style="dim" if number == 0 else "")
