"""Ticks, and the origins that were missed or left unserved.

All markets are asked about in one query: 500 of them take as long as a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptocast.store.reader import Reader
from cryptocast.values import Market


@dataclass(frozen=True, slots=True)
class Tick:
    """One row of `ticks`: what one pass for one market and origin came to."""

    market: str
    origin: int
    started_at: float
    finished_at: float
    status: str  # ok, late, missed, failed
    error_code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """An origin of a market with a tick that was not ok, or a forecast that stood in."""

    kind: str  # missed, failed, late, fallback
    origin: int
    detail: str  # the error's code or the reason


@dataclass(frozen=True, slots=True)
class Unserved:
    """Origins of a market without a served set that no tick calls missed."""

    market: Market
    origins: tuple[int, ...]
    earlier: tuple[int, int] | None  # first and last of a run before the searched range


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


def unserved_origins(
    reader: Reader, markets: Sequence[Market], start: int, end: int, *, virtual: bool
) -> list[Unserved]:
    """Return the origins in `[start, end)` without a served set since each market's first.

    An origin that a tick calls missed is not among them. Markets with none are left out.
    Unless `virtual`, the first is the first that no virtual clock made: nobody ticked before.
    """
    found: list[Unserved] = []
    for begin in range(0, len(markets), _MARKETS_PER_QUERY):
        some = markets[begin : begin + _MARKETS_PER_QUERY]
        found += _unserved_of(reader, some, start, end, virtual=virtual)
    return found


def _unserved_of(
    reader: Reader, markets: Sequence[Market], start: int, end: int, *, virtual: bool
) -> list[Unserved]:
    """Return the unserved origins of few enough markets for one query."""
    bounds = {"start": start, "end": end}
    counts = dict(reader.by_market(markets, _HANDLED_COUNT, **bounds))
    bars = (end - start) // markets[0].interval_seconds
    short = [market for market in markets if counts.get(market, 0) < bars]
    if not short:
        return []
    first: dict[Market, int] = {}
    whole: set[Market] = set()
    for market, origin, count in reader.by_market(short, _SINCE_FIRST, virtual=virtual, **bounds):
        first[market] = origin
        if origin >= start and count == (end - origin) // market.interval_seconds:
            whole.add(market)  # new, and served ever since
    short = [market for market in short if market not in whole]
    origins = dict(reader.by_market(short, _HANDLED_ORIGINS, **bounds))
    found = []
    for market in short:
        since = first.get(market, end)
        handled = [origin for origin in origins.get(market, ()) if origin >= since]
        found.append(_unserved(market, handled, start, end))
    return [unserved for unserved in found if unserved is not None]


_HANDLED = """(
    SELECT market, origin FROM forecast_sets WHERE served
    UNION SELECT market, origin FROM ticks WHERE status = 'missed'
) WHERE list_contains($markets, market)"""
_INSIDE = "AND origin >= to_timestamp($start) AND origin < to_timestamp($end)"
_HANDLED_COUNT = f"SELECT market, count(*) FROM {_HANDLED} {_INSIDE} GROUP BY market"  # noqa: S608 - constants
_SINCE_FIRST = f"""
WITH firsts AS (
    SELECT market, min(origin) AS first FROM forecast_sets
    WHERE list_contains($markets, market) AND served AND ($virtual OR NOT "virtual")
    GROUP BY market
)
SELECT f.market, epoch_us(any_value(f.first)) // 1000000, count(h.origin) FROM firsts AS f
LEFT JOIN (SELECT market, origin FROM {_HANDLED} {_INSIDE}) AS h
    ON h.market = f.market AND h.origin >= f.first
GROUP BY f.market
"""  # noqa: S608 - constants
# The newest before the range shows that a market was served by then at all.
_HANDLED_ORIGINS = f"""
SELECT market, list(origin ORDER BY origin) FROM (
    SELECT market, epoch_us(max(origin)) // 1000000 AS origin FROM {_HANDLED}
        AND origin < to_timestamp($start) GROUP BY market
    UNION ALL
    SELECT market, epoch_us(origin) // 1000000 FROM {_HANDLED} {_INSIDE}
) GROUP BY market
"""  # noqa: S608 - constants
_MARKETS_PER_QUERY = 1_000  # a day's origins of 5,000 at once would take 0.4 GB


def _unserved(market: Market, handled: list[int], start: int, end: int) -> Unserved | None:
    """Return what lacks in `[start, end)`, or None.

    `handled` are the origins in it that were served or called missed, and the newest before.
    """
    if not handled:
        return None  # never served: nothing was missed
    interval, first = market.interval_seconds, handled[0]
    missing = sorted(set(range(max(start, first), end, interval)) - set(handled))
    before = (first + interval, start - interval)
    earlier = before if before[0] <= before[1] else None
    return Unserved(market, tuple(missing), earlier) if missing or earlier else None
