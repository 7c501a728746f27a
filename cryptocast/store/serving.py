"""Production of each market, by the rows of `deployments`, and how well it served.

A row names one market, or all of them. Production of a market is the row with the greatest id
among those that name it or all: so a version that is promoted for all takes over every market,
until one gets a version of its own again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptocast.values import Deployment, Market

if TYPE_CHECKING:
    from cryptocast.store.reader import Reader

GRAPH = "onnx_sha256"
"""The key in a deployment's `scores` that holds the hash of the deployed graph."""

ALL_MARKETS = "*"
"""The market of a deployment that serves every market of the workspace."""


@dataclass(frozen=True, slots=True)
class Productions:
    """Production at one moment: computed once from all rows, then asked for each market.

    `previous_version` of a deployment that is returned for a market is the version that
    served that market before.
    """

    everywhere: Deployment | None = None
    """The newest row for all markets: it serves those that have none of their own."""

    _own: Mapping[str, Deployment] = field(default_factory=dict)  # by market id

    @classmethod
    def of(cls, rows: Iterable[Deployment]) -> Productions:
        """Return what serves after these rows, oldest first."""
        everywhere: Deployment | None = None
        own: dict[str, Deployment] = {}
        for row in rows:
            if row.market != ALL_MARKETS:
                own[row.market] = row
                continue
            everywhere = row
            taken_over = {market: _after(before, row) for market, before in own.items()}
            own = {market: other for market, other in taken_over.items() if other != row}
        return cls(everywhere, own)

    def at(self, market: str) -> Deployment | None:
        """Return what serves the market of that id, or None if nothing was deployed for it.

        For `ALL_MARKETS` it is what serves the markets that have nothing of their own.
        """
        return self._own.get(market, self.everywhere)

    def of_markets(self, markets: Iterable[Market]) -> dict[Market, Deployment]:
        """Return what serves each of these markets; those without production are left out."""
        rows = {market: self.at(market.id) for market in markets}
        return {market: row for market, row in rows.items() if row is not None}

    def versions(self) -> set[str]:
        """Return all versions that serve some market, or served it before."""
        rows = [row for row in (self.everywhere, *self._own.values()) if row is not None]
        named = {version for row in rows for version in (row.model_version, row.previous_version)}
        return {version for version in named if version is not None}


def ruling(rows: Sequence[Deployment], market: Market) -> list[Deployment]:
    """Return the rows that made a version production of a market, oldest first.

    Each has the version that served that market before as its previous one.
    """
    rulings: list[Deployment] = []
    apart = False  # whether the market ever had a version of its own
    for row in rows:
        if row.market == ALL_MARKETS:
            rulings.append(_after(rulings[-1], row) if apart else row)
        elif row.market == market.id:
            apart = True
            rulings.append(row)
    return rulings


def _after(before: Deployment, row: Deployment) -> Deployment:
    """Return a row for all markets as it holds for a market that another row ruled before."""
    previous: str | None = before.model_version
    if previous == row.model_version:
        previous = before.previous_version
    return dataclasses.replace(row, previous_version=previous)


@dataclass(frozen=True, slots=True)
class StandIn:
    """The newest run of served sets that production did not make."""

    reason: str  # of the newest
    since: int  # origin of the first
    sets: int


@dataclass(frozen=True, slots=True)
class ServedCoverage:
    """The share of prices that came to lie in the served ranges."""

    live: bool  # False: sets of a replay, because there are no live ones
    n: int  # (origin, step) pairs
    in80: float | None  # None: the levels hold no such range
    in90: float | None


def fallback_counts(reader: Reader, markets: Sequence[Market]) -> dict[Market, int]:
    """Count the served sets that production did not make, ever."""
    rows = reader.by_market(
        markets,
        """
        SELECT market, count(fallback) FROM forecast_sets
        WHERE list_contains($markets, market) AND served GROUP BY market
        """,
    )
    return dict(rows)


def stand_ins(reader: Reader, markets: Sequence[Market], by: float) -> dict[Market, StandIn]:
    """Return the stand-in of each market whose newest set up to `by` is not production's."""
    rows = reader.by_market(
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
        by=float(by),
    )
    return {market: StandIn(*row) for market, *row in rows}


def served_in_time(reader: Reader, market: Market, start: float, by: float) -> int:
    """Count the origins in `[start, by]` that ticks on the system's clock served."""
    [(count,)] = reader.query(
        """
        SELECT count(*) FROM forecast_sets
        WHERE market = $market AND served AND NOT "virtual" AND mode IN ('live', 'late')
            AND origin >= to_timestamp($start) AND origin <= to_timestamp($by)
        """,
        {"market": market.id, "start": float(start), "by": float(by)},
    )
    return int(count)


_COVERAGE = """
WITH sets AS (
    SELECT market, mode = 'live' AS live, s."virtual", origin, interval_seconds, quantiles,
        len(levels) AS size,
        list_filter($steps, lambda s: s * len(levels) <= len(quantiles)) AS steps,
        list_position(levels, 0.1::DOUBLE) AS low80,
        list_position(levels, 0.9::DOUBLE) AS high80,
        list_position(levels, 0.05::DOUBLE) AS low90,
        list_position(levels, 0.95::DOUBLE) AS high90
    FROM forecast_sets AS s JOIN level_sets ON level_sets.id = level_set
    WHERE list_contains($markets, market) AND served AND mode IN ('live', 'replay')
        AND origin >= to_timestamp($start) AND origin <= to_timestamp($by)
    QUALIFY NOT s."virtual" OR bool_and(s."virtual") OVER (PARTITION BY market, mode)
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
"""


def coverage(
    reader: Reader, markets: Sequence[Market], start: float, by: float, steps: Sequence[int]
) -> dict[Market, ServedCoverage]:
    """Return the coverage of the served sets from `start` on, at these steps, as known at `by`.

    Live sets count; for a market without any, those of a replay. Markets without an
    outcome are left out.
    """
    rows = reader.by_market(markets, _COVERAGE, steps=list(steps), start=float(start), by=float(by))
    return {market: ServedCoverage(*row) for market, *row in rows}  # live comes last, and stays
