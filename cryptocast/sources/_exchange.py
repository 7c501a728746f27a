"""Base of the exchanges: sources over HTTP, called window by window."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import ClassVar

import numpy as np

from cryptocast.errors import ConfigError, CryptocastError, SourceError
from cryptocast.seams import Clock
from cryptocast.sources import Setup, _faults, refuse_future
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Http, Query
from cryptocast.sources._pace import Limits, Pace
from cryptocast.sources._rows import between
from cryptocast.values import INTERVAL_SECONDS, Candles, IntArray, Market, Page, iso

_log = logging.getLogger(__name__)


class Exchange(ABC):
    """A source of candles over HTTP; subclasses know how to request and read them."""

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

    def __init__(self, setup: Setup, key: str | None = None) -> None:
        self._clock = setup.clock
        self._http = Http(
            self.name,
            setup.settings.base_url or self.base_url,
            explain=self.explain,
            judge=self.judge,
            key=key,
            limits=Limits(setup.patience, Pace(*self.pace), setup.meter if self.metered else None),
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
        check_askable(self.name, market, self.intervals, self._clock)
        return self._pages(market, start, end, deadline)

    def _pages(self, market: Market, start: int, end: int, deadline: float) -> Iterator[Page]:
        edges = range(start, end, self.bars_a_call * market.interval_seconds)
        if self.bars_back is not None:  # each call brings the same newest bars: one is enough
            edges = edges[:1]
        for first, last in pairwise([*edges, end]):
            page = self.page(market, first, last, deadline)
            if page.start < page.end:
                yield page

    def page(self, market: Market, first: int, last: int, deadline: float) -> Page:
        """Return what one call for `[first, last)` brings; a page of no bar covers nothing."""
        path, query = self.request(market, first, last)
        bars = -((first - last) // market.interval_seconds)
        credits = self.credits(bars)
        candles = self.read(path, self._http.get(path, query, deadline=deadline, credits=credits))
        times = candles.open_time
        _log.debug(
            "%s: %d bars requested, %d rows received, first and last time modulo a bar: %s",
            *(market.id, bars, len(times)),
            [int(t) % market.interval_seconds for t in (*times[:1], *times[-1:])],
        )
        since, until = self.covered(path, market, first, last, times)
        return Page(since, until, between(candles, since, until), self._http.skew_seconds)

    def credits(self, bars: int) -> int:  # noqa: ARG002 - most exchanges charge nothing
        """Return what a call for this many bars will probably cost, if a meter pays."""
        return 1

    def covered(
        self, path: str, market: Market, first: int, last: int, times: IntArray
    ) -> tuple[int, int]:
        """Return the part of `[first, last)` that a reply with rows at these times covers.

        One more bar on either side only depends on whether the ends are inclusive. A reply that
        goes further was cut by rules other than ours: it covers what lies between its rows inside
        the range, and raises SourceError (`source.bad_answer`) if there are none.
        """
        step = market.interval_seconds
        if np.all((times >= market.floor(first) - step) & (times < market.floor(last) + step)):
            return first, last
        inside = times[(times >= first) & (times < last)]
        if len(inside) == 0:
            raise self.astray(path, first, last, times)
        after_last = market.floor(int(inside.max())) + step
        return max(first, market.floor(int(inside.min()))), min(last, after_last)

    def astray(self, path: str, first: int, last: int, times: IntArray) -> SourceError:
        """Return the error of a reply whose rows, at these times, are outside `[first, last)`."""
        spanned = f"{iso(int(times.min()))} to {iso(int(times.max()))}"
        content = f"with candles of {spanned}, none of {iso(first)} to {iso(last)}"
        return _faults.bad_answer(self.name, path, content)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def check_askable(source: str, market: Market, intervals: Collection[str], clock: Clock) -> None:
    """Raise ConfigError (`config.interval`) if a source lacks the interval of a market.

    Raise UsageError (`usage.as_of`) if a virtual clock is in the future, whose candles no
    exchange has.
    """
    if market.interval not in intervals:
        raise ConfigError(
            f"{source} has no candles of {market.interval}",
            code="config.interval",
            hint="set [market] interval to one of "
            + ", ".join(name for name in INTERVAL_SECONDS if name in intervals),
        )
    refuse_future(source, clock)
