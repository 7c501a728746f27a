"""events: what serving goes by: the version that shadows, level shifts, and what is gone."""

from __future__ import annotations

from collections.abc import Sequence

from cryptocast.compute.sets import LEVEL_SHIFT
from cryptocast.errors import UsageError
from cryptocast.store import Reader, Writer
from cryptocast.values import Event, Market, iso, parse_time

SHADOW = "shadow"
"""The kind of the events that name the version that shadows from then on; null for none."""

ARCHIVED = "archived"
"""The kind of the event that a flush is committed with."""

PRUNED = "pruned"
"""The kind of the event that records what `prune` has removed."""

SERVED = "served_until"
"""The key in the detail of both that holds, per market, the newest served origin that went."""


def shadowing(reader: Reader) -> str | None:
    """Return the version that shadows production now, or None."""
    events = reader.events(SHADOW)
    return events[-1].detail["version"] if events else None


def keep_new(writer: Writer, shifts: Sequence[Event]) -> None:
    """Keep the events of level shifts that are not kept yet."""
    kept = {(e.market, e.detail["bar"]) for e in (writer.events(LEVEL_SHIFT) if shifts else ())}
    for event in shifts:
        if (event.market, event.detail["bar"]) not in kept:
            writer.put_event(event.at, event.kind, event.market, event.detail)


def refuse_gone(reader: Reader, markets: Sequence[Market], origin: int) -> None:
    """Raise UsageError if forecasts of this origin, or of a later one, have left the database.

    What was served once is never served again.
    """
    for kind in (ARCHIVED, PRUNED):
        for event in reversed(reader.events(kind)):
            for market in markets:
                last = event.detail.get(SERVED, {}).get(market.id)
                if last is None or origin > parse_time(last):
                    continue
                hint = "the forecasts of that time were not kept"
                if kind == ARCHIVED:
                    hint = f"the forecasts of that time are in archive/{event.detail['folder']}"
                raise UsageError(
                    f"forecasts of {market.id} were {kind} up to the origin {last}: "
                    f"{iso(origin)} is not served again",
                    code=f"usage.{kind}",
                    hint=hint,
                )
