"""Old rows: which there are, and their removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from cryptocast.store._limits import LIMITS, parameters

KEPT_ORIGINS = 2016
"""So many of a market's newest origins, and of its newest candles, always stay."""

_TIMES = {
    "candles": "open_time",
    "missing_bars": "open_time",
    "forecast_sets": "origin",
    "ticks": "origin",
    "events": '"at"',
}
_MARKETS = " UNION ".join(f"SELECT market FROM {table}" for table in _TIMES)  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class OldRows:
    """Rows of a table that are older than each market's limit."""

    table: str
    rows: int
    first: int  # the oldest of them, and the newest
    last: int


class Pruner:
    """Finds and removes old rows through one open connection of the store."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Work through `connection`, which the store opens and closes."""
        self._connection = connection

    def limits(self, before: float, kept_candles: int) -> dict[str, int]:
        """For each market the moment before which its rows are old: `before`, or earlier.

        Its newest `KEPT_ORIGINS` origins stay, and its newest `kept_candles` candles, but
        no fewer than that of them. So do all rows of the same time: what is kept can be
        scored, and drawn, as it was.
        """
        candles = max(kept_candles, KEPT_ORIGINS)
        found = self._connection.execute(
            f"""
            WITH newest AS (
                SELECT market, list_min(max(origin, {KEPT_ORIGINS})) AS moment
                FROM (SELECT DISTINCT market, origin FROM forecast_sets) GROUP BY market
                UNION ALL
                SELECT market, list_min(max(open_time, {candles})) FROM candles GROUP BY market
            )
            SELECT market, epoch_us(least(to_timestamp($before), min(moment))) // 1000000
            FROM ({_MARKETS}) LEFT JOIN newest USING (market)
            WHERE market IS NOT NULL GROUP BY market ORDER BY market
            """,  # noqa: S608 - constants
            {"before": float(before)},
        ).fetchall()
        return dict(found)

    def old(self, limits: Mapping[str, int]) -> list[OldRows]:
        """What is older than the limits, by table; tables without such rows are left out.

        Deployments, evaluations and the events of no market are never old.
        """
        found = []
        for table, moment in _TIMES.items():
            rows, first, last = self._connection.execute(
                f"""
                SELECT count(*), epoch_us(min(t.{moment})) // 1000000,
                    epoch_us(max(t.{moment})) // 1000000
                FROM {table} AS t JOIN {LIMITS} ON l.market = t.market
                WHERE t.{moment} < to_timestamp(l.moment)
                """,  # noqa: S608 - constants
                parameters(limits),
            ).fetchall()[0]
            if rows:
                found.append(OldRows(table, rows, first, last))
        return found

    def delete(self, limits: Mapping[str, int]) -> None:
        """Remove what is older than the limits; inside a `with store.write()`."""
        for table, moment in _TIMES.items():
            self._connection.execute(
                f"""
                DELETE FROM {table} AS t USING {LIMITS}
                WHERE l.market = t.market AND t.{moment} < to_timestamp(l.moment)
                """,  # noqa: S608 - constants
                parameters(limits),
            )

    def versions_since(self, moment: float) -> set[str]:
        """The versions that made a set which was written since then, served or shadow."""
        found = self._connection.execute(
            "SELECT DISTINCT model_version FROM forecast_sets WHERE written_at >= to_timestamp(?)",
            [float(moment)],
        ).fetchall()
        return {version for (version,) in found}
