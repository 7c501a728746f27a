"""What did not go as it should: ticks, stand-ins, and the events around them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from cryptocast.values import Market


@dataclass(frozen=True, slots=True)
class Event:
    """One row of `events`."""

    at: float
    kind: str
    market: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """An origin of a market with a tick that was not ok, or a forecast that stood in."""

    kind: str  # missed, failed, late, fallback
    origin: int
    detail: str  # the error's code or the reason


class Incidents:
    """Reads through one open connection; valid only inside its `with store.read()`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read through `connection`, which the store opens and closes."""
        self._connection = connection

    def troubles(self, market: Market, start: float, end: float) -> list[Trouble]:
        """Those at origins in `[start, end]`, by kind, then oldest first."""
        found = self._connection.execute(
            """
            SELECT kind, epoch_us(origin) // 1000000, detail FROM (
                SELECT DISTINCT status AS kind, origin, coalesce(error_code, detail, '') AS detail
                FROM ticks WHERE market = $market AND status <> 'ok'
                UNION ALL
                SELECT 'fallback', origin, fallback FROM forecast_sets
                WHERE market = $market AND served AND fallback IS NOT NULL
            )
            WHERE origin >= to_timestamp($start) AND origin <= to_timestamp($end)
            ORDER BY kind, origin
            """,
            {"market": market.id, "start": float(start), "end": float(end)},
        ).fetchall()
        return [Trouble(*row) for row in found]

    def ticks(self, market: Market, start: float, end: float) -> dict[str, int]:
        """How many ticks at origins in `[start, end]` ended how."""
        found = self._connection.execute(
            """
            SELECT status, count(*) FROM ticks
            WHERE market = ? AND origin >= to_timestamp(?) AND origin <= to_timestamp(?)
            GROUP BY status ORDER BY status
            """,
            [market.id, float(start), float(end)],
        ).fetchall()
        return dict(found)

    def events(self, start: float, end: float, *, without: Sequence[str], most: int) -> list[Event]:
        """The newest events in `[start, end]` but those kinds, newest first."""
        return self._events(
            """
            "at" >= to_timestamp($start) AND "at" <= to_timestamp($end)
                AND NOT list_contains($kinds, kind)
            """,
            {"start": float(start), "end": float(end), "kinds": list(without), "most": most},
        )

    def newest(self, kind: str, by: float) -> Event | None:
        """The newest event of a kind up to a moment."""
        found = self._events(
            'kind = $kind AND "at" <= to_timestamp($by)',
            {"kind": kind, "by": float(by), "most": 1},
        )
        return found[0] if found else None

    def _events(self, which: str, given: dict[str, object]) -> list[Event]:
        found = self._connection.execute(
            f"""
            SELECT epoch_us("at") / 1e6, kind, market, detail::VARCHAR FROM events
            WHERE {which} ORDER BY "at" DESC, rowid DESC LIMIT $most
            """,  # noqa: S608 - `which` is one of the two conditions above
            given,
        ).fetchall()
        return [
            Event(at, name, market, json.loads(detail or "{}"))
            for at, name, market, detail in found
        ]
