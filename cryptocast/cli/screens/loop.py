"""Views of serve-loop's ticks: documents, lines, or one screen that is redrawn."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from cryptocast.answers.forecasts import forecast_document
from cryptocast.cli.root.output import print_document, table, warn
from cryptocast.display import counted, last_price, percent, price_range
from cryptocast.values import iso

if TYPE_CHECKING:
    from rich.console import Group

    from cryptocast.cli.root.options import Run
    from cryptocast.values import ForecastSet
    from cryptocast.workflows.serving.loop import LoopTick

_AROUND_THE_TABLE = 8  # lines of the terminal that no row can have


class LoopOutput:
    """Passes ticks and warnings on to the view that options and terminal call for, and counts.

    The loop goes on forecasting if the output's disk is full, and ends if its reader has left.
    """

    def __init__(self, run: Run) -> None:
        self._view: Nothing
        if run.as_json:
            self._view = Documents("serve-loop")
        elif run.quiet:
            self._view = Nothing()
        else:
            self._view = Screen() if sys.stdout.isatty() else Lines()
        self._ticks = self._failed = 0

    def shown(self) -> AbstractContextManager[None]:
        """Return a block that lasts as long as the loop."""
        return self._view.shown()

    def tick(self, turn: LoopTick) -> None:
        """Print the warnings of a tick that has ended, and show it."""
        self._ticks += 1
        self._failed += turn.error is not None
        with _full_disk_ignored():
            for text in turn.messages:
                warn(f"{iso(round(turn.at))} {text}")
            self._view.tick(turn)

    def end(self) -> None:
        """Show the summary."""
        with _full_disk_ignored():
            self._view.end(self._ticks, self._failed)


@contextmanager
def _full_disk_ignored() -> Iterator[None]:
    """Ignore an OSError of a print, unless the output's reader has left."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        pass


class Nothing:
    """A view that shows nothing, for the others to add to; warnings are printed elsewhere."""

    def shown(self) -> AbstractContextManager[None]:
        """Return a block that lasts as long as the loop."""
        return nullcontext()

    def tick(self, turn: LoopTick) -> None:
        """Show a tick that has ended."""

    def end(self, ticks: int, failed: int) -> None:
        """Show the summary."""


class Documents(Nothing):
    """A JSON document per tick, and one with the summary."""

    def __init__(self, command: str) -> None:
        self._command = command

    def tick(self, turn: LoopTick) -> None:
        """Print the tick's document."""
        data: dict[str, Any] = {"at": iso(turn.at)}
        if turn.report is not None:
            forecasts = [forecast_document(each) for each in turn.report.forecasts]
            data |= {"new": turn.report.new, "forecasts": forecasts}
        if turn.error is not None:
            data |= {"error": turn.error.code}
        print_document(self._command, data)

    def end(self, ticks: int, failed: int) -> None:
        """Print the summary's document."""
        print_document(self._command, {"summary": {"ticks": ticks, "failed": failed}})


class Lines(Nothing):
    """A line per market and tick, for output that is not a terminal."""

    def tick(self, turn: LoopTick) -> None:
        """Print the lines of a tick; a failed one is only warned about."""
        if turn.report is None:
            return
        repeated = "" if turn.report.new else ", already there"
        for s in turn.report.forecasts:
            first = s.quantiles[0]
            share = percent(s.levels[-1] - s.levels[0], 0, sign=False)
            print(
                f"{iso(s.origin)}  {s.market.symbol}  {last_price(s)}  "
                f"next {price_range(first[0], first[-1], s.narrowest)} ({share})  "
                f"version {s.model.version}{repeated}",
                flush=True,
            )

    def end(self, ticks: int, failed: int) -> None:
        """Print the summary."""
        print(_summary(ticks, failed), flush=True)


class Screen(Nothing):
    """One screen, redrawn every second: a row per market, and a countdown below.

    Warnings stay above it, in the terminal's history.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._sets: tuple[ForecastSet, ...] = ()
        self._trouble: str | None = None
        self._next_at: float | None = None
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console, get_renderable=self._draw, refresh_per_second=1, transient=True
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw until the end of the block, then leave the terminal as it was."""
        with self._live:
            self._live.refresh()
            yield

    def tick(self, turn: LoopTick) -> None:
        """Draw the newest forecasts, or why there are none."""
        if turn.report is not None:
            self._sets = turn.report.forecasts
        self._trouble = None if turn.error is None else f"failed: {turn.error.message}"
        self._next_at = turn.next_at
        self._live.refresh()

    def end(self, ticks: int, failed: int) -> None:
        """Print the summary below the warnings."""
        self._console.show_cursor(True)  # the process may be ended in the middle of a redraw
        print(_summary(ticks, failed), flush=True)

    def _draw(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        rows = [_row(s) for s in self._sets[: max(1, self._console.height - _AROUND_THE_TABLE)]]
        parts: list[object] = []
        if rows:
            columns = ("market", "price", "next bar", "origin", "version", "lag")
            parts.append(table("", columns, rows))
        if more := len(self._sets) - len(rows):
            parts.append(Text(f"and {more} more"))
        if self._trouble is not None:
            parts.append(Text(self._trouble, style="red"))
        return Group(*parts, Text(self._countdown(time.time())))  # type: ignore[arg-type]  # all are renderables

    def _countdown(self, now: float) -> str:
        if self._next_at is None or self._next_at <= now:
            return "a tick is running; Ctrl-C stops"
        minutes, seconds = divmod(round(self._next_at - now), 60)
        return f"next tick {iso(round(self._next_at))[11:]} in {minutes}:{seconds:02}; Ctrl-C stops"


def _row(s: ForecastSet) -> list[str]:
    first, version = s.quantiles[0], s.model.version
    by = version if s.model.fallback is None else f"{version}: {s.model.fallback}"
    lag = f"{s.issued_at - s.origin:.0f} s" + f", {s.stale_bars} old" * bool(s.stale_bars)
    return [
        s.market.symbol,
        last_price(s),
        price_range(first[0], first[-1], s.narrowest),
        iso(s.origin)[11:16] + "Z",
        by,
        lag,
    ]


def _summary(ticks: int, failed: int) -> str:
    return f"stopped after {counted(ticks, 'tick')}, {failed:,} failed"
