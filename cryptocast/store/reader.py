"""Everything that is read from the database.

Times leave SQL as numbers: fetching a TIMESTAMPTZ as a Python object would need pytz.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from cryptocast.store.archive import Archiver
from cryptocast.store.exporter import Exporter
from cryptocast.store.incidents import Event, Incidents
from cryptocast.store.ledger import Ledger
from cryptocast.store.productions import Productions
from cryptocast.store.pruning import Pruner
from cryptocast.values import Candles, Deployment, Gap, Market

CONFIRMING_ANSWERS = 2
"""So many well-formed answers without a bar, each in a run of its own, confirm it missing."""

_MARKETS_A_QUERY = 100
_FOR_EVER = 32_503_680_000.0  # the year 3000: later than any candle


@dataclass(frozen=True, slots=True)
class Span:
    """How many candles of a market are stored, and the first and last open time."""

    rows: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Credits:
    """What a metered source has cost in a month, and when it last refused for want of credits."""

    calls: int
    credits: int  # estimated
    refused_at: float | None


class Reader:
    """Reads through one open connection; valid only inside its `with store.read()`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read through `connection`, which the store opens and closes."""
        self._connection = connection

    def candles(self, market: Market, start: int, end: int) -> Candles:
        """The stored candles with open time in `[start, end)`, rising; no volume is NaN."""
        found = self._connection.execute(
            """
            SELECT epoch_us(open_time) // 1000000 AS open_time, open, high, low, close,
                coalesce(volume, 'nan'::DOUBLE) AS volume
            FROM candles
            WHERE market = ? AND open_time >= to_timestamp(?) AND open_time < to_timestamp(?)
            ORDER BY candles.open_time
            """,
            [market.id, start, end],
        ).fetchnumpy()
        return Candles(
            found["open_time"].astype(np.int64, copy=False),
            *(found[name] for name in ("open", "high", "low", "close", "volume")),
        )

    def candles_of(self, markets: Sequence[Market], start: int, end: int) -> dict[Market, Candles]:
        """The same of many markets, by a query for each hundred; each market has an entry."""
        found: dict[Market, Candles] = {}
        # A query sorts what it gives: of all markets at once that is twice the memory.
        for first in range(0, len(markets), _MARKETS_A_QUERY):
            found |= self._candles_of(markets[first : first + _MARKETS_A_QUERY], start, end)
        return found

    def _candles_of(self, markets: Sequence[Market], start: int, end: int) -> dict[Market, Candles]:
        found = self._connection.execute(
            """
            WITH asked AS (
                SELECT unnest($markets) AS market, generate_subscripts($markets, 1) - 1 AS number
            )
            SELECT number, epoch_us(open_time) // 1000000 AS open_time, open, high, low, close,
                coalesce(volume, 'nan'::DOUBLE) AS volume
            FROM candles JOIN asked USING (market)
            WHERE open_time >= to_timestamp($start) AND open_time < to_timestamp($end)
            ORDER BY number, candles.open_time
            """,
            {"markets": [market.id for market in markets], "start": start, "end": end},
        ).fetchnumpy()
        ends = np.searchsorted(found["number"], np.arange(len(markets) + 1))
        return {
            market: Candles(
                found["open_time"][first:last].astype(np.int64, copy=False),
                *(found[name][first:last] for name in ("open", "high", "low", "close", "volume")),
            )
            for market, first, last in zip(markets, ends[:-1], ends[1:], strict=True)
        }

    def span(self, market: Market, end: float = _FOR_EVER, start: float = 0.0) -> Span | None:
        """How much of a market is stored in `[start, end)` of open times; None where nothing is."""
        rows, first, last = self._one(
            """
            SELECT count(*), epoch_us(min(open_time)) // 1000000,
                epoch_us(max(open_time)) // 1000000
            FROM candles
            WHERE market = ? AND open_time >= to_timestamp(?) AND open_time < to_timestamp(?)
            """,
            market.id,
            float(start),
            float(end),
        )
        return Span(rows, first, last) if rows else None

    def gaps(self, market: Market, start: int, end: int) -> list[Gap]:
        """The maximal runs of bars in `[start, end)` that have no candle, oldest first.

        Runs at the edges count: where nothing is stored the whole range is one gap.
        """
        return self._runs_without("SELECT market, open_time FROM candles", market, start, end)

    def holes(self, market: Market, start: int, end: int) -> list[Gap]:
        """The gaps without the bars that are confirmed missing: two answers lacked them."""
        known = f"""
            SELECT market, open_time FROM candles UNION ALL
            SELECT market, open_time FROM missing_bars WHERE answers >= {CONFIRMING_ANSWERS}
        """  # noqa: S608 - a constant
        return self._runs_without(known, market, start, end)

    def _runs_without(self, known: str, market: Market, start: int, end: int) -> list[Gap]:
        """The runs of bars in `[start, end)` that the query `known` has no row of."""
        interval = market.interval_seconds
        first, stop = (-(-moment // interval) * interval for moment in (start, end))
        found = self._all(
            f"""
            WITH present AS (
                SELECT epoch_us(open_time) // 1000000 AS moment FROM ({known})
                WHERE market = $market
                    AND open_time >= to_timestamp($first) AND open_time < to_timestamp($stop)
                UNION ALL SELECT $first - $interval
                UNION ALL SELECT $stop
            ), neighbours AS (
                SELECT lag(moment) OVER (ORDER BY moment) + $interval AS expected, moment
                FROM present
            )
            SELECT expected, moment, (moment - expected) // $interval
            FROM neighbours WHERE moment > expected AND $stop > $first ORDER BY expected
            """,  # noqa: S608 - `known` is one of the two queries above
            {"market": market.id, "first": first, "stop": stop, "interval": interval},
        )
        return [Gap(*row) for row in found]

    def confirmed_missing(self, market: Market, start: int, end: int) -> int:
        """How many bars in `[start, end)` are confirmed missing."""
        (count,) = self._one(
            f"""
            SELECT count(*) FROM missing_bars WHERE answers >= {CONFIRMING_ANSWERS}
                AND market = ? AND open_time >= to_timestamp(?) AND open_time < to_timestamp(?)
            """,  # noqa: S608 - a constant
            market.id,
            start,
            end,
        )
        return int(count)

    def provenances(self, market: Market, start: int, end: int) -> dict[str, int]:
        """How many candles in `[start, end)` came in which way."""
        found = self._all(
            """
            SELECT provenance, count(*) FROM candles
            WHERE market = ? AND open_time >= to_timestamp(?) AND open_time < to_timestamp(?)
            GROUP BY provenance ORDER BY provenance
            """,
            [market.id, start, end],
        )
        return dict(found)

    def credits(self, source: str, at: float) -> Credits:
        """What a source has cost in the month (UTC) of `at`."""
        found = self._all(
            """
            SELECT calls, credits, epoch_us(refused_at) / 1e6 FROM credits
            WHERE source = ? AND month = date_trunc('month', to_timestamp(?))
            """,
            [source, float(at)],
        )
        return Credits(*found[0]) if found else Credits(0, 0, None)

    def note(self, source: str, key: str) -> str | None:
        """What was noted of a source under that key."""
        found = self._all(
            "SELECT value FROM source_notes WHERE source = ? AND key = ?", [source, key]
        )
        return str(found[0][0]) if found else None

    def stored_markets(self) -> list[str]:
        """The ids of the markets that have candles, in order."""
        return [row[0] for row in self._all("SELECT DISTINCT market FROM candles ORDER BY 1")]

    def productions(self) -> Productions:
        """What serves each market now."""
        return Productions.of(self.deployments())

    def deployments(self) -> list[Deployment]:
        """All deployments, oldest first."""
        return [deployment for _, deployment in self.rulings()]

    def rulings(self) -> list[tuple[float, Deployment]]:
        """All deployments, oldest first, each with its `written_at`."""
        found = self._all(
            """
            SELECT epoch_us(written_at) / 1e6, id, epoch_us("at") / 1e6, market, model_version,
                previous_version, action, reason, scores::VARCHAR
            FROM deployments ORDER BY id
            """
        )
        return [(written_at, Deployment(*row)) for written_at, *row in found]

    def events(self, kind: str) -> list[Event]:
        """All events of a kind, in the order they were written."""
        found = self._all(
            """
            SELECT epoch_us("at") / 1e6, kind, market, detail::VARCHAR
            FROM events WHERE kind = ? ORDER BY rowid
            """,
            [kind],
        )
        return [Event(at, name, market, json.loads(detail)) for at, name, market, detail in found]

    def scores(self, evaluation: int | None = None) -> list[dict[str, Any]]:
        """The rows of an evaluation, by default the newest; times are Unix seconds."""
        found = self._connection.execute(
            """
            SELECT * REPLACE (
                epoch_us("at") / 1e6 AS "at", epoch_us(written_at) / 1e6 AS written_at,
                epoch_us(start_time) // 1000000 AS start_time,
                epoch_us(end_time) // 1000000 AS end_time
            )
            FROM scores
            WHERE evaluation = coalesce($number, (SELECT max(evaluation) FROM scores))
            ORDER BY rowid
            """,
            {"number": evaluation},
        )
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def _all(
        self, sql: str, parameters: list[Any] | Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()

    def _one(self, sql: str, *parameters: Any) -> tuple[Any, ...]:
        """The row of a query that always has one."""
        return self._all(sql, list(parameters))[0]

    @property
    def ledger(self) -> Ledger:
        """The forecast sets and ticks."""
        return Ledger(self._connection)

    @property
    def incidents(self) -> Incidents:
        """What did not go as it should, and the events around it."""
        return Incidents(self._connection)

    def exporter(self) -> Exporter:
        """What copies stored rows into files."""
        return Exporter(self._connection)

    def archiver(self) -> Archiver:
        """What takes old rows into files and out of here."""
        return Archiver(self._connection)

    def pruner(self) -> Pruner:
        """What finds old rows, and as a writer's removes them."""
        return Pruner(self._connection)
