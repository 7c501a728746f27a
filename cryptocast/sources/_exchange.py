"""Base of the keyless exchanges: a public candle API, called window by window."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, CryptocastError
from cryptocast.seams import Clock, Meter
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import PATIENCE, Http, Limits, Pace, Patience, refuse_future
from cryptocast.sources._rows import between, covered, windows
from cryptocast.sources._session import Query
from cryptocast.values import INTERVAL_SECONDS, Candles, IntArray, Market, Page


class Exchange(ABC):
    """A source of candles without a key; subclasses know how to request and read them."""

    name: ClassVar[str]
    base_url: ClassVar[str]
    intervals: ClassVar[Mapping[str, str]] = {name: name for name in INTERVAL_SECONDS}
    """Our name of each interval that it has -> its name there."""
    bars_a_call: ClassVar[int]
    bars_back: ClassVar[int | None] = None
    pace: ClassVar[tuple[int, float]]
    """Calls per seconds, as two numbers: the documented limit with some margin."""
    publishes_late = True
    metered = False

    def __init__(
        self,
        settings: SourceSettings,
        markets: Sequence[Market],  # noqa: ARG002 - all sources take the same
        secrets: Secrets,  # noqa: ARG002
        *,
        clock: Clock,
        meter: Meter | None = None,  # noqa: ARG002
        patience: Patience = PATIENCE,
    ) -> None:
        self._clock = clock
        self._http = Http(
            self.name,
            settings.base_url or self.base_url,
            explain=self.explain,
            judge=self.judge,
            limits=Limits(patience, Pace(*self.pace)),
        )

    @abstractmethod
    def request(self, market: Market, first: int, last: int) -> tuple[str, Query]:
        """Return path and query of the call for `[first, last)`."""

    @abstractmethod
    def read(self, path: str, answer: object) -> Candles:
        """Return the candles of a reply, oldest first; raise SourceError for other content."""

    @abstractmethod
    def explain(self, refusal: Refusal) -> CryptocastError | None:
        """Return the error that a refusal means here, or None for the general meaning."""

    def judge(self, answer: object) -> CryptocastError | None:  # noqa: ARG002 - most exchanges never do this
        """Return the error in the content of a 200, or None."""
        return None

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, one call per page, oldest first.

        Raise ConfigError for an unknown market (`config.symbol`) or interval (`config.interval`),
        and SourceError: source.bad_answer, whatever `Http.get` raises.
        """
        if market.interval not in self.intervals:
            raise ConfigError(
                f"{self.name} has no candles of {market.interval}",
                code="config.interval",
                hint=f"set [market] interval to one of {', '.join(self.intervals)}",
            )
        refuse_future(self.name, self._clock)
        return self._pages(market, start, end, deadline)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def windows(self, market: Market, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges, one per call."""
        return windows(start, end, self.bars_a_call * market.interval_seconds)

    def covered(
        self, path: str, market: Market, first: int, last: int, times: IntArray
    ) -> tuple[int, int]:
        """Return the part of `[first, last)` that a reply with rows at these times covers."""
        return covered(self.name, path, market, first, last, times)

    def unknown_market(self, refusal: Refusal, examples: str) -> ConfigError:
        """Return the error of a pair that is not traded there; `examples` are some that are."""
        return ConfigError(
            f"{self.name} does not know this market (HTTP {refusal.status}: {refusal.said})",
            code="config.symbol",
            hint=f"check [market] symbols: {examples}; and base_url",
        )

    def _pages(self, market: Market, start: int, end: int, deadline: float) -> Iterator[Page]:
        for first, last in self.windows(market, start, end):
            path, query = self.request(market, first, last)
            candles = self.read(path, self._http.get(path, query, deadline=deadline))
            since, until = self.covered(path, market, first, last, candles.open_time)
            if since < until:
                yield Page(since, until, between(candles, since, until), self._http.skew_seconds)
