"""The status screen: lines of text for any width, with or without colour, in ASCII if need be."""

from __future__ import annotations

import dataclasses
import itertools
import os
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cryptocast.cli.root.hints import as_typed
from cryptocast.cli.screens.facts import facts
from cryptocast.display import ahead, half_width, last_price, percent, price_range
from cryptocast.errors import StoreError
from cryptocast.reports.terminal import Cell, fan_chart
from cryptocast.values import iso
from cryptocast.workflows.status import status
from cryptocast.workflows.watching.facts import shown_steps

if TYPE_CHECKING:
    from cryptocast.values import ForecastSet
    from cryptocast.workflows.status import StatusReport
    from cryptocast.workspace import Workspace

_NARROW = 64
_VERDICTS = {
    "TROUBLE": "bold red", "watch": "bold yellow", "healthy": "bold green", "serving": "bold green",
}  # fmt: skip
_LABEL = 11
_CHART_HEIGHT = 12
_LOWEST_CHART = 7
_STYLES = {
    "rising": "green", "falling": "red", "outer": "blue", "inner": "cyan", "median": "bold",
    "axis": "dim",
}  # fmt: skip
_SHOWN_ISSUES = 4
_REFRESH_SECONDS = 1.0
_REREAD_SECONDS = 30.0
_WATCHED = (Path("cryptocast.duckdb"), Path("logs") / "health.json")


def watch(ws: Workspace, symbols: tuple[str, ...]) -> None:
    """Draw the screen every second until Ctrl-C.

    The store is read again only if it has changed, so that writers rarely wait for a read.
    Raise what the first read raises; after that a busy store is reported on the screen.
    """
    console = Console(highlight=False)
    view = _View(ws, symbols)
    with (
        suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(view.drawn(console), refresh=True)
            time.sleep(_REFRESH_SECONDS)
            view.refresh()


class _View:
    """The newest report, and the state of the files that it was made from."""

    def __init__(self, ws: Workspace, symbols: tuple[str, ...]) -> None:
        self._ws = ws
        self._symbols = symbols
        self._state, self._read_at = self._modified(), time.monotonic()
        self._report = status(ws, symbols=symbols)
        self._trouble = ""

    def refresh(self) -> None:
        """Read the store again if there may be something new."""
        state, now = self._modified(), time.monotonic()
        if state == self._state and now - self._read_at < _REREAD_SECONDS:
            return
        self._state, self._read_at = state, now
        try:
            self._report = status(self._ws, symbols=self._symbols)
            self._trouble = ""
        except StoreError as error:
            self._trouble = error.message

    def drawn(self, console: Console) -> Group:
        """Return the screen at this second, cut off at the terminal's height."""
        report = dataclasses.replace(self._report, now=self._ws.clock.now())
        height = console.height - 1
        lines = screen(report, width=console.width, height=height, plain=is_plain(console))
        below = Text((self._trouble or "Ctrl-C stops")[: console.width], style="dim")
        return Group(*lines[:height], below)

    def _modified(self) -> list[int | None]:
        """Return when each watched file was last written; None for one that does not exist."""
        times: list[int | None] = []
        for name in _WATCHED:
            try:
                times.append((self._ws.folder / name).stat().st_mtime_ns)
            except OSError:
                times.append(None)
        return times


def is_plain(console: Console) -> bool:
    """Return whether only ASCII can be shown, because of the encoding or of the locale C."""
    if console.options.ascii_only:
        return True
    # Python itself uses UTF-8 in the locale C, so the encoding alone does not tell.
    locale = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return locale in ("C", "POSIX")


def screen(report: StatusReport, *, width: int, height: int | None, plain: bool) -> list[Text]:
    """Return the lines, none wider than `width`.

    `height` is that of the terminal; None means that the lines may be as many as they are.
    """
    below = [line for label, text in facts(report) for line in _fact(label, text, width, plain)]
    if len(report.markets) > 1:
        room = None if height is None else max(height - len(below) - 8, 3)
        lines = [*_headline(report, width, plain), *_table(report, width, room, plain)]
        return [*lines, Text(), *below]
    (market,) = report.markets
    top = [*_headline(report, width, plain), *_ranges(market.forecast, width, plain)]
    room = _CHART_HEIGHT
    if height is not None:  # the last facts are cut off before the chart gets too low
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
    """Return cells as one line; neighbours of the same style share it."""
    line = Text()
    for style, cells in itertools.groupby(row, lambda cell: cell[1]):
        line.append("".join(text for text, _ in cells), _STYLES.get(style))
    return line


def _headline(report: StatusReport, width: int, plain: bool) -> Iterator[Text]:
    """Yield a line with price and verdict, then whatever is wrong."""
    line = Text()
    first = report.markets[0]
    if len(report.markets) > 1:
        line.append(f"{len(report.markets)} markets", "bold")
    else:
        line.append(first.market.symbol, "bold")
        if first.forecast is not None:
            line.append(f"  {last_price(first.forecast)} {first.market.quote}", "bold")
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
    """Yield a line per shown step: when, the ranges, and half the widest one in per cent."""
    if forecast is None:
        return
    market, levels, narrowest = forecast.market, forecast.levels, forecast.narrowest
    ends = {percent(levels[-1] - levels[0], 0, sign=False): (0, len(levels) - 1)}
    inner = forecast.ends(0.8)
    if inner is not None and len(levels) > 3 and width >= _NARROW:
        ends = {"80%": inner} | ends
    rows = [["in", "at", *ends, ""]]
    for step in shown_steps(market, len(forecast.quantiles)):
        row, target = forecast.quantiles[step - 1], forecast.target_time(step)
        cells = [price_range(row[low], row[high], narrowest) for low, high in ends.values()]
        when = [ahead(step * market.interval_seconds), f"{iso(target)[11:16]}Z"]
        rows.append([*when, *cells, _half_width(forecast, step, plain)])
    if width < _NARROW:
        rows = [[row[0], *row[2:]] for row in rows]
    yield Text()
    yield from _aligned(rows, width)


def _table(report: StatusReport, width: int, room: int | None, plain: bool) -> Iterator[Text]:
    """Yield a row per market, the worst first."""
    rows = [["market", "price", "next bar", "farthest", "in 90%", "state"]]
    shown = report.markets if room is None else report.markets[:room]
    for market in shown:
        forecast, coverage = market.forecast, market.coverage
        cells = ["-", "-", "-"]
        if forecast is not None:
            steps = shown_steps(market.market, len(forecast.quantiles))
            widths = [_half_width(forecast, step, plain) for step in (steps[0], steps[-1])]
            cells = [last_price(forecast), *widths]
        inside = percent(None if coverage is None else coverage.in90, sign=False)
        state = market.issues[0] if market.issues else "ok"
        rows.append([market.market.symbol, *cells, inside, state])
    if width < _NARROW:
        rows = [[row[0], row[1], row[3], row[5]] for row in rows]
    yield Text()
    yield from _aligned(rows, width, last_left=True)
    if more := len(report.markets) - len(shown):
        yield Text(f"and {more} more", style="dim")


def _half_width(forecast: ForecastSet, step: int, plain: bool) -> str:
    row = forecast.quantiles[step - 1]
    return f"{'+-' if plain else '±'}{half_width(row[0], row[len(row) // 2], row[-1])}"


def _fact(label: str, text: str, width: int, plain: bool) -> Iterator[Text]:
    head = f"{label:<{_LABEL}}" if width >= _NARROW else f"{label}: "
    for i, wrapped in enumerate(_wrapped(head, text, width, plain)):
        line = Text(wrapped)
        if i == 0:
            line.stylize("dim", 0, len(label))
        yield line


def _wrapped(head: str, text: str, width: int, plain: bool) -> list[str]:
    """Return a text behind a head; control characters that a person once typed move no cursor."""
    shown = "".join(c if c.isprintable() else " " for c in as_typed(text))
    if plain:
        shown = shown.encode("ascii", "replace").decode()
    behind = " " * (len(head) if width >= _NARROW else 2)
    lines = textwrap.wrap(
        shown, width, initial_indent=head, subsequent_indent=behind, break_on_hyphens=False
    )
    return lines or [head]


def _aligned(rows: list[list[str]], width: int, *, last_left: bool = False) -> Iterator[Text]:
    """Yield rows in columns: the first to the left, figures to the right, cut off at the width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [f"{row[0]:<{widths[0]}}"]
        cells += [f"{cell:>{size}}" for cell, size in zip(row[1:], widths[1:], strict=True)]
        if last_left:
            cells[-1] = row[-1]
        line = "  ".join(cells).rstrip()[:width]
        yield Text(line, style="dim" if number == 0 else "")
