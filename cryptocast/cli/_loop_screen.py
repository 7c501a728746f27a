"""The live view of serve-loop: one screen on a terminal, redrawn once a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryptocast.cli._output import price, table
from cryptocast.values import iso

if TYPE_CHECKING:
    from rich.console import Group

    from cryptocast.values import ForecastSet
    from cryptocast.workflows.serving.loop import LoopTick

_AROUND_THE_TABLE = 8  # lines of the terminal that rows can't have


class Screen:
    """Per market the price, the next bar's range, who made it and when; a countdown below.

    What is told besides (warnings) stays above it, in the terminal's history.
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
        """Take over what a tick brought."""
        if turn.report is not None:
            self._sets = turn.report.forecasts
        self._trouble = None if turn.error is None else f"failed: {turn.error.message}"
        self._next_at = turn.next_at
        self._live.refresh()

    def end(self, ticks: int, failed: int) -> None:
        """The summary, below what was told."""
        self._console.show_cursor(True)  # where the process is ended in the midst of drawing
        print(f"stopped after {ticks} ticks, {failed} failed", flush=True)

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
            return "a tick is under way; Ctrl-C stops"
        minutes, seconds = divmod(round(self._next_at - now), 60)
        return f"next tick {iso(round(self._next_at))[11:]} in {minutes}:{seconds:02}; Ctrl-C stops"


def _row(s: ForecastSet) -> list[str]:
    first, version = s.quantiles[0], s.model.version
    by = version if s.model.fallback is None else f"{version}: {s.model.fallback}"
    lag = f"{s.issued_at - s.origin:.0f} s" + f", {s.stale_bars} old" * bool(s.stale_bars)
    return [
        s.market.symbol,
        price(s.last_close),
        f"{price(first[0])} .. {price(first[-1])}",
        iso(s.origin)[11:16] + "Z",
        by,
        lag,
    ]
