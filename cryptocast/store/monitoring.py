"""What status, alerts, metrics and reports ask, for all markets by one query each.

So a workspace of 500 markets is looked at as fast as one of a few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptocast.store.ledger import Tick
from cryptocast.store.reader import Reader
from cryptocast.values import Gap, Market


@dataclass(frozen=True, slots=True)
class CandleSummary:
    """The stored candles of a market: all that closed, and how those of a recent range came."""

    rows: int
    first: int  # open times
    last: int
    gaps: tuple[Gap, ...] = ()  # in the range, after the first candle and before the last
    confirmed: int = 0  # how many bars of the range the source is confirmed to lack
    provenances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StandIn:
    """The newest run of served sets that production did not make."""

    reason: str  # of the newest
    since: int  # origin of the first
    sets: int


@dataclass(frozen=True, slots=True)
class ServedCoverage:
    """How often the price came to lie in the served ranges."""

    live: bool  # False: sets of a replay, because there are no live ones
    n: int  # (origin, step) pairs
    in80: float | None  # None: the levels hold no such range
    in90: float | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """An origin of a market with a tick that was not ok, or a forecast that stood in."""

    kind: str  # missed, failed, late, fallback
    origin: int
    detail: str  # the error's code or the reason


def candle_summaries(
    reader: Reader, markets: Sequence[Market], start: int, end: int
) -> dict[Market, CandleSummary]:
    """Sum up the candles with open time before `end`; gaps and provenances from `start` on.

    Markets without candles are left out.
    """
    spans = reader.spans(markets, end)
    gaps = reader.gaps(
        {m: (max(start, s.first), s.last + m.interval_seconds) for m, s in spans.items()}
    )
    confirmed = reader.confirmed_missing({m: (start, s.last) for m, s in spans.items()})
    provenances: dict[Market, dict[str, int]] = {}
    for market, provenance, count in reader.by_market(
        markets,
        """
        SELECT market, provenance, count(*) FROM candles
        WHERE list_contains($markets, market)
            AND open_time >= to_timestamp($start) AND open_time < to_timestamp($end)
        GROUP BY market, provenance ORDER BY provenance
        """,
        start=float(start),
        end=float(end),
    ):
        provenances.setdefault(market, {})[provenance] = count
    return {
        market: CandleSummary(
            rows=span.rows,
            first=span.first,
            last=span.last,
            gaps=tuple(gaps[market]),
            confirmed=confirmed[market],
            provenances=provenances.get(market, {}),
        )
        for market, span in spans.items()
    }


def last_ticks(reader: Reader, markets: Sequence[Market], by: float) -> dict[Market, Tick]:
    """Return each market's tick of an origin up to `by` that finished last; no missed one."""
    rows = reader.by_market(
        markets,
        """
        SELECT market, epoch_us(origin) // 1000000, epoch_us(started_at) / 1e6,
            epoch_us(finished_at) / 1e6, status, error_code, detail
        FROM ticks WHERE list_contains($markets, market) AND status != 'missed'
            AND origin <= to_timestamp($by)
        QUALIFY row_number() OVER (
            PARTITION BY market ORDER BY finished_at DESC, origin DESC, rowid DESC) = 1
        """,
        by=float(by),
    )
    return {market: Tick(market.id, *row) for market, *row in rows}


def tick_counts(
    reader: Reader, markets: Sequence[Market], start: float, by: float
) -> dict[Market, dict[str, int]]:
    """Count the ticks with origins in `[start, by]` by how they ended.

    Markets without such ticks are left out.
    """
    counts: dict[Market, dict[str, int]] = {}
    for market, status, count in reader.by_market(
        markets,
        """
        SELECT market, status, count(*) FROM ticks
        WHERE list_contains($markets, market)
            AND origin >= to_timestamp($start) AND origin <= to_timestamp($by)
        GROUP BY market, status ORDER BY status
        """,
        start=float(start),
        by=float(by),
    ):
        counts.setdefault(market, {})[status] = count
    return counts


def missed_origins(
    reader: Reader, markets: Sequence[Market], start: float
) -> dict[Market, list[int]]:
    """Return the origins from `start` on that a tick calls missed, rising."""
    rows = reader.by_market(
        markets,
        """
        SELECT market, list(epoch_us(origin) // 1000000 ORDER BY origin) FROM ticks
        WHERE list_contains($markets, market) AND status = 'missed'
            AND origin >= to_timestamp($start)
        GROUP BY market
        """,
        start=float(start),
    )
    return {market: list(origins) for market, origins in rows}


def troubles(reader: Reader, market: Market, start: float, end: float) -> list[Trouble]:
    """Return the troubles at origins in `[start, end]`, by kind, then oldest first."""
    rows = reader.query(
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
    )
    return [Trouble(*row) for row in rows]


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


_COVERAGE = """
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
