"""ticking: what ticks a workspace without a person, and what to say if nothing does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptocast import schedulers
from cryptocast.display import counted
from cryptocast.store import Reader, served_in_time, tick_counts
from cryptocast.values import DAY_SECONDS, OK, WARNING, Check, Market
from cryptocast.workflows.serving.housekeeping import is_alive, loop_health
from cryptocast.workflows.serving.recordings import is_recorded
from cryptocast.workspace import Workspace

NOTHING = "nothing is scheduled: cryptocast schedule --install, or cryptocast serve-loop"

_IN_A_ROW = 3  # a person rarely ticks at so many origins by hand


def ticked_by(
    reader: Reader, folder: Path, market: Market, health: Mapping[str, Any] | None, now: float
) -> str | None:
    """Return what ticks a workspace on the system's clock: a loop, a scheduler, or `something`.

    Something unknown does if the last origins were served in time; None if nothing does.
    """
    interval = market.interval_seconds
    if is_alive(health, now - interval):
        return "serve-loop"
    if (kind := schedulers.installed(folder)) is not None:
        return kind
    # The present origin may be due still.
    served = served_in_time(reader, market, market.floor(now) - _IN_A_ROW * interval, now)
    return "something" if served >= _IN_A_ROW else None


def checks(ws: Workspace) -> Iterator[Check]:
    """Check that something ticks, and that it missed nothing in the last day."""
    now, markets = ws.clock.now(), ws.markets()
    with ws.store.read() as reader:
        counts = tick_counts(reader, markets, now - DAY_SECONDS, now)
        by = ticked_by(reader, ws.folder, markets[0], loop_health(ws.folder / "logs"), now)
    if is_recorded(ws.settings):
        yield Check("schedule", OK, "recorded candles: --as-of says what time it is")
    elif not ws.clock.virtual:
        what, _, hint = NOTHING.partition(": ")
        yield Check("schedule", OK, f"{by} ticks") if by else Check("schedule", WARNING, what, hint)
    for market, by_status in counts.items():
        if missed := missed_words(by_status):
            hint = "something must tick after each close: cryptocast guide serving"
            yield Check(f"ticks {market.id}", WARNING, missed, hint)


def missed_words(by_status: Mapping[str, int]) -> str | None:
    """Return what to say about the missed ones among the ticks of the last day; None: nothing."""
    missed = by_status.get("missed", 0)
    return f"{counted(missed, 'origin')} of the last day passed without a tick" if missed else None
