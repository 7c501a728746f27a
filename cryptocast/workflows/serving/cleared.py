"""gone: what was served once is never served again, also when it has left the database."""

from __future__ import annotations

from collections.abc import Sequence

from cryptocast.errors import UsageError
from cryptocast.store import Reader
from cryptocast.values import Market, iso, parse_time

ARCHIVED = "archived"
"""The kind of the event that a flush is committed with."""

PRUNED = "pruned"
"""The kind of the event that tells what `prune` has removed."""

SERVED = "served_until"
"""In the detail of both: the newest served origin that went, by market."""


def refuse_gone(reader: Reader, markets: Sequence[Market], origin: int) -> None:
    """UsageError where forecasts of an origin, or of a later one, have left the database."""
    for kind in (ARCHIVED, PRUNED):
        for event in reversed(reader.events(kind)):
            for market in markets:
                last = event.detail.get(SERVED, {}).get(market.id)
                if last is None or origin > parse_time(last):
                    continue
                hint = "it has not kept what was said then"
                if kind == ARCHIVED:
                    hint = f"what was said then is in archive/{event.detail['folder']}"
                raise UsageError(
                    f"forecasts of {market.id} were {kind} up to the origin {last}: "
                    f"{iso(origin)} is not served again",
                    code=f"usage.{kind}",
                    hint=hint,
                )
