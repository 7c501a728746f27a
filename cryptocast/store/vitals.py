"""How markets are served, of all of them by one query each.

A workspace of 500 markets is looked at as fast as one of a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptocast.store.ledger import Tick
from cryptocast.store.reader import Credits, Reader
from cryptocast.store.stocks import row_of, rows_of
from cryptocast.values import Market


@dataclass(frozen=True, slots=True)
class StandIn:
    """The newest run of served sets that production did not make."""

    reason: str  # of the newest
    since: int  # origin of the first
    sets: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often the price came to lie in the served ranges."""

    live: bool  # False: sets of a replay, as there are no live ones
    n: int  # (origin, step) pairs
    in80: float | None  # None: the levels hold no such range
    in90: float | None


class Vitals:
    """Reads for status, alerts and metrics, inside an open `with store.read()`."""

    def __init__(self, reader: Reader) -> None:
        """Read through the connection of a reader, which is of this room too."""
        self._connection = reader._connection

    def last_ticks(self, markets: Sequence[Market], by: float) -> dict[Market, Tick]:
        """The tick of each market, of an origin up to `by`, that finished last; no missed one."""
        found = row_of(
            self._connection,
            markets,
            """
            SELECT market, epoch_us(origin) // 1000000, epoch_us(started_at) / 1e6,
                epoch_us(finished_at) / 1e6, status, error_code, detail
            FROM ticks WHERE list_contains($markets, market) AND status != 'missed'
                AND origin <= to_timestamp($by)
            QUALIFY row_number() OVER (
                PARTITION BY market ORDER BY finished_at DESC, origin DESC, rowid DESC) = 1
            """,
            {"by": float(by)},
        )
        return {market: Tick(market.id, *row) for market, row in found.items()}

    def tick_counts(
        self, markets: Sequence[Market], start: float, by: float
    ) -> dict[Market, dict[str, int]]:
        """How many ticks with origins in `[start, by]` ended in which status."""
        counts: dict[Market, dict[str, int]] = {}
        for market, status, count in rows_of(
            self._connection,
            markets,
            """
            SELECT market, status, count(*) FROM ticks
            WHERE list_contains($markets, market)
                AND origin >= to_timestamp($start) AND origin <= to_timestamp($by)
            GROUP BY market, status ORDER BY status
            """,
            {"start": float(start), "by": float(by)},
        ):
            counts.setdefault(market, {})[status] = count
        return counts

    def missed(self, markets: Sequence[Market], start: float) -> dict[Market, list[int]]:
        """The origins from `start` on that a tick calls missed, rising."""
        found = row_of(
            self._connection,
            markets,
            """
            SELECT market, list(epoch_us(origin) // 1000000 ORDER BY origin) FROM ticks
            WHERE list_contains($markets, market) AND status = 'missed'
                AND origin >= to_timestamp($start)
            GROUP BY market
            """,
            {"start": float(start)},
        )
        return {market: list(row[0]) for market, row in found.items()}

    def served(self, markets: Sequence[Market], by: float) -> dict[Market, int]:
        """The newest served origin of each market up to `by`."""
        found = row_of(
            self._connection,
            markets,
            """
            SELECT market, epoch_us(max(origin)) // 1000000 FROM forecast_sets
            WHERE list_contains($markets, market) AND served AND origin <= to_timestamp($by)
            GROUP BY market
            """,
            {"by": float(by)},
        )
        return {market: row[0] for market, row in found.items()}

    def fallbacks(self, markets: Sequence[Market]) -> dict[Market, int]:
        """How many served sets production did not make, ever."""
        found = row_of(
            self._connection,
            markets,
            """
            SELECT market, count(fallback) FROM forecast_sets
            WHERE list_contains($markets, market) AND served GROUP BY market
            """,
            {},
        )
        return {market: row[0] for market, row in found.items()}

    def stand_ins(self, markets: Sequence[Market], by: float) -> dict[Market, StandIn]:
        """The markets whose newest served set up to `by` is not production's."""
        found = row_of(
            self._connection,
            markets,
            """
            WITH sets AS (
                SELECT market, origin, fallback FROM forecast_sets
                WHERE list_contains($markets, market) AND served AND origin <= to_timestamp($by)
            ), own AS (
                SELECT market, max(origin) AS newest FROM sets WHERE fallback IS NULL
                GROUP BY market
            )
            SELECT market, arg_max(fallback, origin), epoch_us(min(origin)) // 1000000, count(*)
            FROM sets LEFT JOIN own USING (market)
            WHERE newest IS NULL OR origin > newest GROUP BY market
            """,
            {"by": float(by)},
        )
        return {market: StandIn(*row) for market, row in found.items()}

    def coverage(
        self, markets: Sequence[Market], start: float, by: float, steps: Sequence[int]
    ) -> dict[Market, Coverage]:
        """Coverage of the served sets with origins from `start` on, at these steps, known by then.

        Live sets count; for a market without any, those of a replay. Markets without an
        outcome are left out.
        """
        rows = rows_of(
            self._connection,
            markets,
            """
            WITH sets AS (
                SELECT market, mode = 'live' AS live, origin, interval_seconds, quantiles,
                    len(levels) AS size,
                    list_filter($steps, lambda s: s * len(levels) <= len(quantiles)) AS steps,
                    list_position(levels, 0.1::DOUBLE) AS low80,
                    list_position(levels, 0.9::DOUBLE) AS high80,
                    list_position(levels, 0.05::DOUBLE) AS low90,
                    list_position(levels, 0.95::DOUBLE) AS high90
                FROM forecast_sets JOIN level_sets ON level_sets.id = level_set
                WHERE list_contains($markets, market) AND served AND mode IN ('live', 'replay')
                    AND origin >= to_timestamp($start) AND origin <= to_timestamp($by)
            ), targets AS (
                SELECT market, live, interval_seconds, unnest(list_transform(steps, lambda s: {
                    'open_time': origin + to_seconds((s - 1) * interval_seconds),
                    'low80': quantiles[(s - 1) * size + low80],
                    'high80': quantiles[(s - 1) * size + high80],
                    'low90': quantiles[(s - 1) * size + low90],
                    'high90': quantiles[(s - 1) * size + high90]
                }), recursive := true) FROM sets
            )
            SELECT market, live, count(*), avg((close BETWEEN low80 AND high80)::INTEGER),
                avg((close BETWEEN low90 AND high90)::INTEGER)
            FROM targets JOIN candles USING (market, open_time)
            WHERE open_time + to_seconds(interval_seconds) <= to_timestamp($by)
            GROUP BY market, live ORDER BY live
            """,
            {
                "steps": list(steps),
                "start": float(start),
                "by": float(by),
            },
        )
        return {market: Coverage(*row) for market, *row in rows}  # live comes last, and stays

    def credits(self, sources: Sequence[str], at: float) -> dict[str, Credits]:
        """What each source has cost in the month (UTC) of `at`, where it has cost anything."""
        found = self._connection.execute(
            """
            SELECT source, calls, credits, epoch_us(refused_at) / 1e6 FROM credits
            WHERE list_contains(?, source) AND month = date_trunc('month', to_timestamp(?))
                AND (calls > 0 OR refused_at IS NOT NULL)
            ORDER BY source
            """,
            [list(sources), float(at)],
        ).fetchall()
        return {source: Credits(*row) for source, *row in found}
