"""What the keyless exchanges share: a public candle API, asked window by window."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, CryptocastError
from cryptocast.seams import Clock, Meter
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import PATIENCE, Http, Pace, Patience, refuse_future
from cryptocast.sources._rows import between, covered, windows
from cryptocast.values import INTERVAL_SECONDS, Candles, IntArray, Market, Page

Query = dict[str, str | int]


class Exchange(ABC):
    """A source of candles that needs no key; each exchange says how it is asked and read."""

    name: ClassVar[str]
    base_url: ClassVar[str]
    intervals: ClassVar[Mapping[str, str]] = {name: name for name in INTERVAL_SECONDS}
    """Our name of each interval that it has -> its own."""
    bars_a_call: ClassVar[int]
    bars_back: ClassVar[int | None] = None
    pace: ClassVar[tuple[int, float]]
    """So many calls in so many seconds: the documented limit, with some margin."""
    publishes_late = True
    metered = False

    def __init__(
        self,
        settings: SourceSettings,
        markets: Sequence[Market],  # noqa: ARG002 - every source is made alike
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
            patience=patience,
            pace=Pace(*self.pace),
        )

    @abstractmethod
    def request(self, market: Market, first: int, last: int) -> tuple[str, Query]:
        """Path and query of the one call for `[first, last)`."""

    @abstractmethod
    def read(self, path: str, answer: object) -> Candles:
        """The candles of an answer, oldest first; SourceError that names what else was found."""

    @abstractmethod
    def explain(self, refusal: Refusal) -> CryptocastError | None:
        """What it means by a refusal; None where it means what everybody means."""

    def judge(self, answer: object) -> CryptocastError | None:  # noqa: ARG002 - most never do so
        """The error that a 200 is after all; None where it is none."""
        return None

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, a call a page, oldest first.

        Raises ConfigError for a market (`config.symbol`) or an interval (`config.interval`)
        that is not there, and SourceError: source.bad_answer, what `Http.get` raises.
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
        """Give back the connections."""
        self._http.close()

    def windows(self, market: Market, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The ranges that a call each is made for."""
        return windows(start, end, self.bars_a_call * market.interval_seconds)

    def covered(
        self, path: str, market: Market, first: int, last: int, times: IntArray
    ) -> tuple[int, int]:
        """The part of `[first, last)` that an answer with rows at these times vouches for."""
        return covered(self.name, path, market, first, last, times)

    def unknown_market(self, refusal: Refusal, known: str) -> ConfigError:
        """The error of a pair that is not traded there; `known` says what is."""
        return ConfigError(
            f"{self.name} does not know this market (HTTP {refusal.status}: {refusal.said})",
            code="config.symbol",
            hint=f"check [market] symbols: {known}; and base_url",
        )

    def _pages(self, market: Market, start: int, end: int, deadline: float) -> Iterator[Page]:
        for first, last in self.windows(market, start, end):
            path, query = self.request(market, first, last)
            candles = self.read(path, self._http.get(path, query, deadline=deadline))
            since, until = self.covered(path, market, first, last, candles.open_time)
            if since < until:
                yield Page(since, until, between(candles, since, until), self._http.skew_seconds)
