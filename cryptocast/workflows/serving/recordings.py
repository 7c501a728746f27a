"""recordings: whether candles are recorded, and which origins a virtual clock may serve."""

from __future__ import annotations

import time

from cryptocast.config import Settings
from cryptocast.errors import UsageError
from cryptocast.store import Reader
from cryptocast.values import DAY_SECONDS, iso

_RECORDED = "file"  # the only source that gets no new candle by itself


def is_recorded(settings: Settings) -> bool:
    """Return whether all candles come from files: then the clock is the recording's."""
    fallbacks = (fallback.name for fallback in settings.source.fallback)
    return {_RECORDED} == {*(market.source for market in settings.markets()), *fallbacks}


def latest_virtual_origin(reader: Reader, settings: Settings, now: float) -> int:
    """Return the newest origin up to `now` that a virtual clock may serve.

    What is served once is never served again: a virtual clock that served the present origin, or
    a future one, would take the place of the forecast that is made when its time has come. With
    recorded candles there is no such time, unless their files grow.
    """
    markets, system_now = settings.markets(), time.time()
    newest = [span.last for span in reader.spans(markets).values()]
    growing = any(system_now - DAY_SECONDS < last <= system_now for last in newest)
    if is_recorded(settings) and not growing:
        return markets[0].floor(now)
    return markets[0].floor(min(now, system_now - markets[0].interval_seconds))


def refuse_running(reader: Reader, settings: Settings, now: float) -> None:
    """Raise UsageError (`usage.as_of`) if a virtual clock is where only real ticks may serve."""
    origin, latest = settings.markets()[0].floor(now), latest_virtual_origin(reader, settings, now)
    if origin > latest:
        raise UsageError(
            f"--as-of {iso(now)} is not over yet: a forecast made now for its origin, "
            f"{iso(origin)}, would take the place of the real one",
            code="usage.as_of",
            hint=f"leave --as-of out, or give a time up to {iso(latest)}",
        )
