"""The ledger: forecast sets and ticks. It is only ever appended to.

What a tick asks for is asked for all its markets at once: one query, not one a market.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from cryptocast.values import FloatArray, ForecastSet, IntArray, Market, ServedModel


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


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """The newest sets of one market by one version, S of them, oldest first.

    What calibration goes on from: the widening of the newest, and every set of which a
    target lay after the newest candle that it knew.
    """

    scale: FloatArray  # [H] of the newest set
    known_until: int  # when the newest candle closed that the newest set knew
    origins: IntArray  # [S]
    low: FloatArray  # [S, H] prices at the lowest level, as they were served
    high: FloatArray  # [S, H] at the highest


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """N served sets of one market, oldest first: what was said, to be held against what came."""

    origins: IntArray  # [N]
    last_close: FloatArray  # [N]
    quantiles: FloatArray  # [N, H, Q] prices
    scale: FloatArray  # [N, H]
    versions: tuple[str, ...]  # [N]
    fallbacks: tuple[str | None, ...]  # [N]

    def __len__(self) -> int:
        return len(self.origins)


@dataclass(frozen=True, slots=True)
class Unserved:
    """Origins of a market without a served set, of which no tick says that they were missed."""

    market: Market
    origins: tuple[int, ...]
    earlier: tuple[int, int] | None  # the first and last of a run before those that were looked at


class Ledger:
    """Reads of forecast sets and ticks, inside an open connection of the store."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read through `connection`."""
        self._connection = connection

    def served(self, markets: Sequence[Market], origin: int) -> dict[Market, ForecastSet]:
        """What was served at an origin; markets without a set are left out."""
        found = self._connection.execute(
            """
            SELECT market, epoch_us(origin) // 1000000, epoch_us(issued_at) / 1e6, last_close,
                stale_bars, mode, model_version, model_kind, fallback, levels, quantiles, scale
            FROM forecast_sets JOIN level_sets ON level_sets.id = level_set
            WHERE list_contains($markets, market) AND served AND origin = to_timestamp($origin)
            """,
            {"markets": [market.id for market in markets], "origin": origin},
        ).fetchall()
        named = {market.id: market for market in markets}
        return {named[row[0]]: _set(named[row[0]], *row[1:]) for row in found}

    def newest(self, markets: Sequence[Market], by: float) -> dict[Market, ForecastSet]:
        """The served set of each market with the greatest origin up to `by`."""
        # The origins first: a query that finds them by itself decodes every set there is.
        alike: dict[int, list[Market]] = {}
        named = {market.id: market for market in markets}
        for market, origin in self._connection.execute(
            """
            SELECT market, epoch_us(max(origin)) // 1000000 FROM forecast_sets
            WHERE list_contains($markets, market) AND served AND origin <= to_timestamp($by)
            GROUP BY market
            """,
            {"markets": list(named), "by": float(by)},
        ).fetchall():
            alike.setdefault(origin, []).append(named[market])
        found: dict[Market, ForecastSet] = {}
        for origin, together in alike.items():
            found |= self.served(together, origin)
        return found

    def past(
        self,
        asked: Sequence[tuple[Market, str]],
        origin: int,
        *,
        since: int,
        shape: tuple[int, int],
        served: bool,
    ) -> dict[tuple[Market, str], Past]:
        """The newest sets of each market by a version before an origin, and not before `since`.

        `shape` is (H, Q): sets of another one are left out, and so is who has none.
        """
        horizon, levels = shape
        named = {(market.id, version): (market, version) for market, version in asked}
        given = {
            "markets": sorted({market for market, _ in named}),
            "versions": sorted({version for _, version in named}),
            "since": since,
            "origin": origin,
            "served": served,
        }
        # Of the pairs that nobody asked for there are few: a market has few versions.
        which = """
            list_contains($markets, market) AND list_contains($versions, model_version)
            AND served = $served
            AND origin >= to_timestamp($since) AND origin < to_timestamp($origin)
        """
        interval = asked[0][0].interval_seconds
        known = {
            (market, version): last - stale_bars * interval
            for market, version, last, stale_bars in self._connection.execute(
                f"""
                SELECT market, model_version, epoch_us(max(origin)) // 1000000,
                    arg_max(stale_bars, origin)
                FROM forecast_sets WHERE {which} GROUP BY market, model_version
                """,  # noqa: S608 - a constant
                given,
            ).fetchall()
            if (market, version) in named
        }
        if not known:
            return {}
        reach = horizon * interval
        since = min(known.values()) - reach + 1
        wider = {"since": since, "horizon": horizon, "levels": levels}
        rows = self._connection.execute(
            f"""
            SELECT market, model_version, epoch_us(origin) // 1000000, len(quantiles), scale,
                list_transform(range($horizon), lambda h: quantiles[h * $levels + 1]),
                list_transform(range($horizon), lambda h: quantiles[(h + 1) * $levels])
            FROM forecast_sets WHERE {which} ORDER BY market, origin
            """,  # noqa: S608 - a constant
            given | wider,
        ).fetchall()
        found: dict[tuple[str, str], list[Any]] = {}
        for market, version, moment, size, *rest in rows:
            key = market, version
            recent = key in known and moment > known[key] - reach
            if recent and size == horizon * levels:
                found.setdefault(key, []).append((moment, *rest))
        return {named[key]: _past(sets, known[key], horizon) for key, sets in found.items()}

    def origins(
        self, market: Market, start: int, end: int, *, version: str | None = None
    ) -> set[int]:
        """The origins in `[start, end)` that have a set by a version; None: a served one."""
        found = self._connection.execute(
            """
            SELECT epoch_us(origin) // 1000000 FROM forecast_sets
            WHERE market = $market AND origin >= to_timestamp($start)
                AND origin < to_timestamp($end)
                AND CASE WHEN $version IS NULL THEN served ELSE model_version = $version END
            """,
            {"market": market.id, "start": start, "end": end, "version": version},
        ).fetchall()
        return {row[0] for row in found}

    def between(
        self,
        market: Market,
        start: int,
        end: int,
        *,
        modes: Sequence[str],
        levels: Sequence[float],
        horizon: int,
    ) -> Served:
        """The served sets of these modes with origins in `[start, end)`.

        Those with other levels or another horizon are left out.
        """
        given = {
            "market": market.id,
            "start": start,
            "end": end,
            "modes": list(modes),
            "levels": [round(float(level), 9) for level in levels],
            "size": horizon * len(levels),
        }
        which = """
            FROM forecast_sets AS s JOIN level_sets AS l ON l.id = s.level_set
            WHERE market = $market AND served AND list_contains($modes, mode)
                AND origin >= to_timestamp($start) AND origin < to_timestamp($end)
                AND l.levels = $levels::DOUBLE[] AND len(quantiles) = $size
            ORDER BY origin
        """
        rows = self._connection.execute(
            f"""
            SELECT epoch_us(origin) // 1000000, last_close, scale, model_version, fallback {which}
            """,
            given,
        ).fetchall()
        # Flat: a million numbers as Python floats would take a second.
        flat = self._connection.execute(
            f"SELECT unnest(quantiles) AS quantile FROM (SELECT quantiles {which})",  # noqa: S608 - a constant
            given,
        ).fetchnumpy()["quantile"]
        origins, closes, scales, versions, fallbacks = zip(*rows, strict=True) if rows else [()] * 5
        return Served(
            origins=np.array(origins, dtype=np.int64),
            last_close=np.array(closes, dtype=np.float64),
            quantiles=np.asarray(flat, dtype=np.float64).reshape(-1, horizon, len(levels)),
            scale=np.array(
                [scale or [1.0] * horizon for scale in scales], dtype=np.float64
            ).reshape(-1, horizon),
            versions=tuple(versions),
            fallbacks=tuple(fallbacks),
        )

    def unserved(self, markets: Sequence[Market], start: int, end: int) -> list[Unserved]:
        """The origins in `[start, end)` since each market was first served, that nobody served.

        An origin that a tick calls missed is not among them. Markets with none are left out.
        """
        asked = {"markets": [market.id for market in markets], "start": start, "end": end}
        handled = """
            SELECT market, origin FROM forecast_sets WHERE served
            UNION SELECT market, origin FROM ticks WHERE status = 'missed'
        """
        counts = dict(
            self._connection.execute(
                f"""
                SELECT market, count(*) FROM ({handled})
                WHERE list_contains($markets, market)
                    AND origin >= to_timestamp($start) AND origin < to_timestamp($end)
                GROUP BY market
                """,  # noqa: S608 - a constant
                asked,
            ).fetchall()
        )
        interval = markets[0].interval_seconds
        short = [m for m in markets if counts.get(m.id, 0) < (end - start) // interval]
        if not short:
            return []
        asked |= {"markets": [market.id for market in short]}
        there: dict[str, list[int]] = {market.id: [] for market in short}
        # The newest before the range tells that a market was served by then at all.
        for market, moment in self._connection.execute(
            f"""
            SELECT market, epoch_us(max(origin)) // 1000000 FROM ({handled})
            WHERE list_contains($markets, market) AND origin < to_timestamp($start)
            GROUP BY market
            UNION ALL
            SELECT market, epoch_us(origin) // 1000000 FROM ({handled})
            WHERE list_contains($markets, market)
                AND origin >= to_timestamp($start) AND origin < to_timestamp($end)
            """,  # noqa: S608 - a constant
            asked,
        ).fetchall():
            there[market].append(moment)
        found = (_unserved(market, sorted(there[market.id]), start, end) for market in short)
        return [each for each in found if each is not None]

    def last_tick(self, market: Market) -> Tick | None:
        """The tick that finished last; of two at the same moment the later written."""
        found = self._connection.execute(
            """
            SELECT market, epoch_us(origin) // 1000000, epoch_us(started_at) / 1e6,
                epoch_us(finished_at) / 1e6, status, error_code, detail
            FROM ticks WHERE market = ? ORDER BY finished_at DESC, rowid DESC LIMIT 1
            """,
            [market.id],
        ).fetchone()
        return Tick(*found) if found else None


def _set(
    market: Market,
    origin: int,
    issued_at: float,
    last_close: float,
    stale_bars: int,
    mode: str,
    version: str,
    kind: str,
    fallback: str | None,
    levels: list[float],
    quantiles: list[float],
    scale: list[float] | None,
) -> ForecastSet:
    return ForecastSet(
        market=market,
        origin=origin,
        issued_at=issued_at,
        last_close=last_close,
        stale_bars=stale_bars,
        mode=mode,
        model=ServedModel(version, kind, fallback),
        levels=tuple(levels),
        quantiles=np.array(quantiles, dtype=np.float64).reshape(-1, len(levels)),
        scale=None if scale is None else np.array(scale, dtype=np.float64),
    )


def _unserved(market: Market, there: list[int], start: int, end: int) -> Unserved | None:
    """What lacks in `[start, end)`; `there` are the origins in it, and the newest before."""
    if not there:
        return None  # never served: nothing was missed
    interval, first = market.interval_seconds, there[0]
    gone = sorted(set(range(max(start, first), end, interval)) - set(there))
    earlier = (first + interval, start - interval)
    known = earlier if earlier[0] <= earlier[1] else None
    return Unserved(market, tuple(gone), known) if gone or known else None


def _past(rows: list[Any], known_until: int, horizon: int) -> Past:
    origins, scales, low, high = zip(*rows, strict=True)
    return Past(
        scale=np.ones(horizon) if scales[-1] is None else np.array(scales[-1], dtype=np.float64),
        known_until=known_until,
        origins=np.array(origins, dtype=np.int64),
        low=np.array(low, dtype=np.float64),
        high=np.array(high, dtype=np.float64),
    )
