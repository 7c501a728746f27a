"""How much of each market is stored, of all of them by one query each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from cryptocast.store.reader import CONFIRMING_ANSWERS, Reader
from cryptocast.values import Gap, Market


@dataclass(frozen=True, slots=True)
class Stock:
    """The candles of a market: all that closed, and how those of a recent range came."""

    rows: int
    first: int  # open times
    last: int
    gaps: tuple[Gap, ...] = ()  # in the range, after the first candle and before the last
    confirmed: int = 0  # of the missing bars: those that the source lacks
    provenances: Mapping[str, int] = field(default_factory=dict)


class Stocks:
    """Reads of candles for whoever watches, inside an open `with store.read()`."""

    def __init__(self, reader: Reader) -> None:
        """Read through the connection of a reader, which is of this room too."""
        self._connection = reader._connection

    def stocks(self, markets: Sequence[Market], start: int, end: int) -> dict[Market, Stock]:
        """The candles with open time before `end`; gaps and provenances from `start` on.

        Markets without any are left out.
        """
        asked = {"start": float(start), "end": float(end)}
        spans = row_of(
            self._connection,
            markets,
            """
            SELECT market, count(*), epoch_us(min(open_time)) // 1000000,
                epoch_us(max(open_time)) // 1000000
            FROM candles
            WHERE list_contains($markets, market) AND open_time < to_timestamp($end)
            GROUP BY market
            """,
            {"end": float(end)},
        )
        kinds: dict[Market, dict[str, int]] = {}
        for market, kind, count in rows_of(
            self._connection,
            markets,
            """
            SELECT market, provenance, count(*) FROM candles
            WHERE list_contains($markets, market)
                AND open_time >= to_timestamp($start) AND open_time < to_timestamp($end)
            GROUP BY market, provenance ORDER BY provenance
            """,
            asked,
        ):
            kinds.setdefault(market, {})[kind] = count
        confirmed = row_of(
            self._connection,
            markets,
            f"""
            SELECT b.market, count(*) FROM missing_bars AS b JOIN (
                SELECT market, max(open_time) AS newest FROM candles
                WHERE open_time < to_timestamp($end) GROUP BY market
            ) AS c USING (market)
            WHERE list_contains($markets, b.market) AND answers >= {CONFIRMING_ANSWERS}
                AND open_time >= to_timestamp($start) AND open_time < newest
            GROUP BY b.market
            """,  # noqa: S608 - a constant
            asked,
        )
        gaps = self._gaps(markets, asked)
        return {
            market: Stock(
                rows=span[0],
                first=span[1],
                last=span[2],
                gaps=tuple(gaps.get(market, ())),
                confirmed=confirmed.get(market, (0,))[0],
                provenances=kinds.get(market, {}),
            )
            for market, span in spans.items()
        }

    def _gaps(self, markets: Sequence[Market], asked: Mapping[str, Any]) -> dict[Market, list[Gap]]:
        """Runs of bars without a candle, from `start` or the first candle to the last."""
        interval = markets[0].interval_seconds
        start = -(-int(asked["start"]) // interval) * interval
        found = rows_of(
            self._connection,
            markets,
            """
            WITH present AS (
                SELECT market, epoch_us(open_time) // 1000000 AS moment FROM candles
                WHERE list_contains($markets, market)
                    AND open_time >= to_timestamp($start) AND open_time < to_timestamp($end)
                UNION ALL
                SELECT DISTINCT market, $before FROM candles
                WHERE list_contains($markets, market) AND open_time < to_timestamp($start)
            ), neighbours AS (
                SELECT market, moment, lag(moment) OVER (PARTITION BY market ORDER BY moment)
                    + $interval AS expected
                FROM present
            )
            SELECT market, expected, moment, (moment - expected) // $interval
            FROM neighbours WHERE moment > expected ORDER BY market, expected
            """,
            {**asked, "start": float(start), "before": start - interval, "interval": interval},
        )
        gaps: dict[Market, list[Gap]] = {}
        for market, *gap in found:
            gaps.setdefault(market, []).append(Gap(*gap))
        return gaps

    def newest_candle(self, markets: Sequence[Market], end: float) -> dict[Market, int]:
        """The open time of each market's newest candle before `end`."""
        found = row_of(
            self._connection,
            markets,
            """
            SELECT market, epoch_us(max(open_time)) // 1000000 FROM candles
            WHERE list_contains($markets, market) AND open_time < to_timestamp($end)
            GROUP BY market
            """,
            {"end": float(end)},
        )
        return {market: row[0] for market, row in found.items()}


def rows_of(
    connection: duckdb.DuckDBPyConnection,
    markets: Sequence[Market],
    sql: str,
    asked: Mapping[str, Any],
) -> list[tuple[Any, ...]]:
    """Rows whose first column is a market's id, with the market in its place.

    `$markets` in the query are the ids.
    """
    named = {market.id: market for market in markets}
    found = connection.execute(sql, {"markets": list(named), **asked}).fetchall()
    return [(named[row[0]], *row[1:]) for row in found]


def row_of(
    connection: duckdb.DuckDBPyConnection,
    markets: Sequence[Market],
    sql: str,
    asked: Mapping[str, Any],
) -> dict[Market, tuple[Any, ...]]:
    """The same where each market has one row at most."""
    return {market: tuple(row) for market, *row in rows_of(connection, markets, sql, asked)}
