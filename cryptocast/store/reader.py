"""Reads of candles, events, deployments and credits, and the ledger.

Times leave SQL as numbers: fetching a TIMESTAMPTZ as a Python object would need pytz.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from cryptocast.store.ledger import Ledger
from cryptocast.store.serving import GRAPH, Productions
from cryptocast.store.statements import parsed
from cryptocast.values import Candles, Deployment, Event, Market

_MARKETS_PER_QUERY = 250
_FOREVER = 32_503_680_000.0  # the year 3000: later than any candle


@dataclass(frozen=True, slots=True)
class Span:
    """The stored candles of a market: their number, and the first and last open time."""

    rows: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Credits:
    """The cost of a metered source in a month, and when it last refused for want of credits."""

    calls: int = 0
    credits: int = 0  # estimated
    refused_at: float | None = None

    @property
    def used(self) -> bool:
        """True if the source was called, or refused a call, in that month."""
        return self.calls > 0 or self.refused_at is not None


class Reader:
    """Reads through one open connection; valid only inside its `with store.read()`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read through `connection`, which the store opens and closes."""
        self._connection = connection

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows. Values belong into `parameters`."""
        return self._connection.execute(parsed(self._connection, sql), parameters).fetchall()

    def arrays(self, sql: str, parameters: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
        """Run one query and return its columns as arrays, by name."""
        return self._connection.execute(parsed(self._connection, sql), parameters).fetchnumpy()

    def by_market(
        self, markets: Sequence[Market], sql: str, **parameters: Any
    ) -> list[tuple[Any, ...]]:
        """Run a query about markets and return its rows, each starting with its market.

        In the query `$markets` are the ids, and the first column must be the id.
        """
        if not markets:
            return []
        named = {market.id: market for market in markets}
        rows = self.query(sql, {"markets": list(named), **parameters})
        return [(named[row[0]], *row[1:]) for row in rows]

    def candles(self, markets: Sequence[Market], start: int, end: int) -> dict[Market, Candles]:
        """Return the stored candles of each market with open time in `[start, end)`, rising.

        Every market has an entry. A candle without a volume has NaN.
        """
        candles: dict[Market, Candles] = {}
        alike = sorted(markets, key=attrgetter("id"))  # the order that most are stored in
        # Rows may be copied into their order: all markets at once would take twice the memory.
        for first in range(0, len(markets), _MARKETS_PER_QUERY):
            candles |= self._candles(alike[first : first + _MARKETS_PER_QUERY], start, end)
        return {market: candles[market] for market in markets}

    def _candles(self, markets: Sequence[Market], start: int, end: int) -> dict[Market, Candles]:
        """Return those of markets in the order of their ids."""
        ids = [market.id for market in markets]
        given: dict[str, Any] = {"markets": ids, "start": start, "end": end}
        numbered = "(SELECT *, 0 AS number FROM candles WHERE market = $markets[1])"
        if len(markets) > 1:
            given |= {"first": ids[0], "last": ids[-1]}
            # The bounds take a quarter of the time: DuckDB skips what lies outside of them.
            numbered = """(
                FROM candles JOIN (
                    SELECT unnest($markets) AS market,
                        generate_subscripts($markets, 1) - 1 AS number
                ) USING (market)
                WHERE market >= $first AND market <= $last
            )"""
        columns = self.arrays(
            f"""
            SELECT number, epoch_us(open_time) // 1000000 AS open_time, open, high, low, close,
                coalesce(volume, 'nan'::DOUBLE) AS volume
            FROM {numbered} AS c
            WHERE open_time >= to_timestamp($start) AND open_time < to_timestamp($end)
            """,  # noqa: S608 - `numbered` is one of the two texts above
            given,
        )
        columns = _in_order(columns)
        ends = np.searchsorted(columns["number"], np.arange(len(markets) + 1))
        return {
            market: Candles(
                columns["open_time"][first:last].astype(np.int64, copy=False),
                *(columns[name][first:last] for name in ("open", "high", "low", "close", "volume")),
            )
            for market, first, last in zip(markets, ends[:-1], ends[1:], strict=True)
        }

    def fetched(self, market: Market, start: int, end: int) -> NDArray[np.float64]:
        """Return when each candle that `candles` returns for that range was stored, [N]."""
        rows = self.arrays(
            """
            SELECT epoch(fetched_at) AS fetched FROM candles
            WHERE market = $market
                AND open_time >= to_timestamp($start) AND open_time < to_timestamp($end)
            ORDER BY open_time
            """,
            {"market": market.id, "start": start, "end": end},
        )
        return np.asarray(rows["fetched"], dtype=np.float64)

    def spans(
        self, markets: Sequence[Market], end: float = _FOREVER, start: float = 0.0
    ) -> dict[Market, Span]:
        """Return how much of each market is stored with open time in `[start, end)`.

        Markets without candles there are left out.
        """
        # A tick of one market asks this several times, and grouping takes a third of the time.
        market, which, grouping = (
            ("$markets[1]", "market = $markets[1]", "HAVING count(*) > 0")
            if len(markets) == 1
            else ("market", "list_contains($markets, market)", "GROUP BY market")
        )
        rows = self.by_market(
            markets,
            f"""
            SELECT {market}, count(*), epoch_us(min(open_time)) // 1000000,
                epoch_us(max(open_time)) // 1000000
            FROM candles
            WHERE {which} AND open_time >= to_timestamp($start) AND open_time < to_timestamp($end)
            {grouping}
            """,  # noqa: S608 - constants
            start=float(start),
            end=float(end),
        )
        return {market: Span(*row) for market, *row in rows}

    def stored_markets(self) -> list[str]:
        """Return the ids of the markets that have candles, in order."""
        return [row[0] for row in self.query("SELECT DISTINCT market FROM candles ORDER BY 1")]

    def credits(self, sources: Sequence[str], at: float) -> dict[str, Credits]:
        """Return what each source has cost in the month (UTC) of `at`; each has an entry."""
        rows = self.query(
            """
            SELECT source, calls, credits, epoch_us(refused_at) / 1e6 FROM credits
            WHERE list_contains(?, source) AND month = date_trunc('month', to_timestamp(?))
            """,
            [list(sources), float(at)],
        )
        costs = {source: Credits(*row) for source, *row in rows}
        return {source: costs.get(source, Credits()) for source in sources}

    def note(self, source: str, key: str) -> str | None:
        """Return what was noted for a source under that key, or None."""
        rows = self.query(
            "SELECT value FROM source_notes WHERE source = ? AND key = ?", [source, key]
        )
        return str(rows[0][0]) if rows else None

    def productions(self) -> Productions:
        """Return what serves each market now."""
        return Productions.of(self.deployments())

    def deployments(self) -> list[Deployment]:
        """Return all deployments, oldest first."""
        return [deployment for _, deployment in self.rulings()]

    def graphs(self) -> dict[str, str]:
        """Return the hash of the graph that was last deployed as each version, where it is kept."""
        return dict(
            self.query(
                "SELECT model_version, arg_max(scores ->> ?, id) AS graph FROM deployments "
                "GROUP BY model_version HAVING graph IS NOT NULL",
                [GRAPH],
            )
        )

    def rulings(self) -> list[tuple[float, Deployment]]:
        """Return all deployments, oldest first, each with its `written_at`."""
        rows = self.query(
            """
            SELECT epoch_us(written_at) / 1e6, id, epoch_us("at") / 1e6, market, model_version,
                previous_version, action, reason, scores::VARCHAR
            FROM deployments ORDER BY id
            """
        )
        return [(written_at, Deployment(*row)) for written_at, *row in rows]

    def events(self, kind: str) -> list[Event]:
        """Return all events of a kind, in the order in which they were written."""
        return self._events("kind = $kind ORDER BY rowid", kind=kind)

    def newest_event(self, kind: str, by: float) -> Event | None:
        """Return the newest event of a kind up to a moment, or None."""
        events = self._events(
            'kind = $kind AND "at" <= to_timestamp($by) ORDER BY "at" DESC, rowid DESC LIMIT 1',
            kind=kind,
            by=float(by),
        )
        return events[0] if events else None

    def newest_events(
        self, start: float, end: float, *, without: Sequence[str], most: int
    ) -> list[Event]:
        """Return the newest events in `[start, end]` except those kinds, newest first."""
        return self._events(
            """
            "at" >= to_timestamp($start) AND "at" <= to_timestamp($end)
                AND NOT list_contains($without, kind)
            ORDER BY "at" DESC, rowid DESC LIMIT $most
            """,
            start=float(start),
            end=float(end),
            without=list(without),
            most=most,
        )

    def _events(self, which: str, **parameters: Any) -> list[Event]:
        rows = self.query(
            f'SELECT epoch_us("at") / 1e6, kind, market, detail::VARCHAR FROM events WHERE {which}',  # noqa: S608 - `which` is one of the conditions above
            parameters,
        )
        return [
            Event(at, name, market, json.loads(text or "{}")) for at, name, market, text in rows
        ]

    @property
    def ledger(self) -> Ledger:
        """The forecast sets and ticks."""
        return Ledger(self)


def _in_order(columns: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """Return rows of candles by market and time: as stored they mostly are, and DuckDB looks not.

    Its sort would take as long as the query, and more memory.
    """
    number, moment = columns["number"], columns["open_time"]
    rising = np.diff(number)
    if ((rising > 0) | ((rising == 0) & (np.diff(moment) > 0))).all():
        return columns
    order = np.argsort(moment, kind="stable")
    order = order[np.argsort(number[order].astype(np.int16), kind="stable")]
    return {name: column[order] for name, column in columns.items()}
