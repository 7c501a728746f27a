"""The few protocols that plugins and callers meet at."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Protocol

from cryptocast.values import Market, Page


class Clock(Protocol):
    """Where time comes from; `virtual` clocks leap instead of sleeping."""

    @property
    def virtual(self) -> bool:
        """Whether this is a virtual clock (`--as-of`, replay)."""

    def now(self) -> float:
        """The present, in Unix seconds."""

    def sleep_until(self, moment: float, stop: Event | None = None) -> None:
        """Return at `moment`, or early when `stop` is set."""


class CandleSource(Protocol):
    """A place that candles come from. One file in `cryptocast/sources` holds one, as `Source`."""

    @property
    def name(self) -> str:
        """The name that settings and market ids use."""

    @property
    def publishes_late(self) -> bool:
        """Whether a candle that is missing now may appear some seconds from now."""

    def pages(self, market: Market, start: int, end: int) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, in pages, oldest first.

        The pages cover the range without overlap. An answer that is not what was
        asked for raises SourceError; it is never an empty page.
        """

    def close(self) -> None:
        """Give back connections."""


class Progress(Protocol):
    """How long work tells that it is alive. Implementations never raise and never print to stdout."""

    def stage(self, name: str) -> None:
        """A named step of the work begins; the one before is done."""

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """The present stage is `done` of `total` on its way."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Silence:
    """A Progress that says nothing."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def advance(self, done: float, total: float, detail: str = "") -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
