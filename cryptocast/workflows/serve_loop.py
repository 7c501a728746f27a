"""serve-loop: a tick just after each close, until stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

from cryptocast.errors import CryptocastError
from cryptocast.workflows.forecast import TickReport, tick
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class LoopTick:
    """One turn of the loop: a report, or the error that a later tick may heal."""

    at: float
    report: TickReport | None
    error: CryptocastError | None


def serve_loop(
    ws: Workspace,
    stop: Event,
    *,
    delay_seconds: float | None = None,
    max_ticks: int | None = None,
) -> Iterator[LoopTick]:
    """Tick now where the newest origin is unserved, then `delay_seconds` after each close.

    Ends when `stop` is set or after `max_ticks`. Settings and configuration errors end it;
    any other error is told and the next tick tries again.
    """
    delay = ws.settings.loop.delay_seconds if delay_seconds is None else delay_seconds
    market = ws.markets()[0]
    done = 0
    while not stop.is_set() and (max_ticks is None or done < max_ticks):
        at = ws.clock.now()
        try:
            yield LoopTick(at, tick(ws), None)
        except CryptocastError as error:
            if error.exit_code == 2:
                raise
            yield LoopTick(at, None, error)
        done += 1
        if max_ticks is None or done < max_ticks:
            following = market.floor(ws.clock.now()) + market.interval_seconds
            ws.clock.sleep_until(following + delay, stop)
