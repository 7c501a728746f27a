"""The workspace in a notebook: its answers are polars frames that show pictures and a table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cryptocast.errors import StateError
from cryptocast.values import Candles, Market, parse_time
from cryptocast.workspace import Workspace

if TYPE_CHECKING:
    from cryptocast.answers.frames import Shown

_PAST_BARS = 96


class Notebook(Workspace):
    """A workspace that answers with frames; nothing that it answers changes what is stored.

    What the answers need is imported in them: scripts that only forecast are installed without
    polars and matplotlib.
    """

    def forecast(self, *, symbols: tuple[str, ...] = ()) -> Shown:
        """Return the newest served forecast: a row per market and step, a column per quantile.

        Prices are in quote currency. Warns about a forecast that is old. Raises StateError if
        there is none, and ConfigError for an unknown symbol.
        """
        from cryptocast.answers import frames
        from cryptocast.workflows.forecast import newest

        report = newest(self, symbols=symbols)
        _warn(report.warnings)
        sets = report.forecasts
        around = [self._around(s.market, s.origin, s.target_time(len(s.quantiles))) for s in sets]
        return frames.of_forecasts(sets, around)

    def candles(
        self, *, symbols: tuple[str, ...] = (), start: str | None = None, end: str | None = None
    ) -> Shown:
        """Return the stored candles with open time in `[start, end)`, by default all up to now.

        `start` and `end` are ISO 8601, UTC without an offset. Raises UsageError for a text that
        is no time, StateError if there is no candle, and ConfigError for an unknown symbol.
        """
        from cryptocast.answers import frames

        markets = self.markets(symbols)
        now = markets[0].floor(self.clock.now())
        first = 0 if start is None else parse_time(start)
        with self.store.read() as reader:
            last = now if end is None else min(parse_time(end), now)
            stored = reader.candles(markets, first, last)
        if not any(map(len, stored.values())):
            message, hint = "there are no candles in that time", "cryptocast fetch"
            raise StateError(message, code="state.no_candles", hint=hint)
        return frames.of_candles(stored)

    def scores(self, *, days: float | None = None) -> Shown:
        """Return how good the served forecasts of the last `days` were (`schemas.SCORES`).

        The rows are what was served, the same without calibration, and two baselines: by market
        and step, and over all steps (`step` null). Warns if nothing was served live and a replay
        is scored instead. Raises StateError if nothing has an outcome yet.
        """
        from cryptocast.answers import frames
        from cryptocast.workflows.watching.served import LIVE, live

        report = live(self, days=days)
        if report.modes != LIVE:
            _warn(["no forecast was served live: these are replayed"])
        return frames.of_scores(report.scores)

    def simulate(
        self,
        *,
        count: int = 1000,
        horizon: str = "24h",
        symbols: tuple[str, ...] = (),
        seed: int = 0,
    ) -> Shown:
        """Return whole price paths from the newest forecast on: a row per market, path and step.

        The parameters and errors are those of `cryptocast.simulate`.
        """
        from cryptocast.answers import frames
        from cryptocast.workflows.simulate import simulate

        paths = simulate(self, count=count, horizon=horizon, symbols=symbols, seed=seed)
        _warn(paths.warnings)
        end = paths.target_time(paths.steps)
        around = [self._around(one.market, paths.origin, end) for one in paths.markets]
        return frames.of_paths(paths, around)

    def _around(self, market: Market, origin: int, end: int) -> Candles:
        """Return the candles shortly before an origin, and those after it until `end`."""
        first, now = origin - _PAST_BARS * market.interval_seconds, self.clock.now()
        with self.store.read() as reader:
            return reader.candles([market], first, min(end, market.floor(now)))[market]


def _warn(texts: Sequence[str]) -> None:
    for text in texts:
        warnings.warn(text, stacklevel=3)
