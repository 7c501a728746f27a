"""The ledger of forecast sets, which is only ever appended to.

A tick asks for all its markets at once: one query, not one per market.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cryptocast.values import (
    FloatArray,
    ForecastSet,
    IntArray,
    Market,
    Past,
    Ranges,
    ServedModel,
)

if TYPE_CHECKING:
    from cryptocast.store.reader import Reader


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """N served sets of one market, oldest first, to be compared with outcomes."""

    origins: IntArray  # [N]
    last_close: FloatArray  # [N]
    quantiles: FloatArray  # [N, H, Q] prices
    scale: FloatArray  # [N, H]
    body: FloatArray  # [N, H]
    versions: tuple[str, ...]  # [N]
    fallbacks: tuple[str | None, ...]  # [N]

    def __len__(self) -> int:
        return len(self.origins)


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest set of a pair."""

    origin: int
    known_until: int  # close of the newest candle that it was made from


class Ledger:
    """Reads of forecast sets through an open reader."""

    def __init__(self, reader: Reader) -> None:
        """Read through `reader`."""
        self._reader = reader

    def served(self, markets: Sequence[Market], origin: int) -> dict[Market, ForecastSet]:
        """Return what was served at an origin; markets without a set are left out."""
        rows = self._reader.by_market(
            markets,
            """
            SELECT market, epoch_us(origin) // 1000000, epoch_us(issued_at) / 1e6, last_close,
                stale_bars, mode, model_version, model_kind, fallback, levels, quantiles, scale,
                body
            FROM forecast_sets JOIN level_sets ON level_sets.id = level_set
            WHERE list_contains($markets, market) AND served AND origin = to_timestamp($origin)
            """,
            origin=origin,
        )
        return {row[0]: _forecast_set(row) for row in rows}

    def newest(self, markets: Sequence[Market], by: float) -> dict[Market, ForecastSet]:
        """Return the served set of each market with the greatest origin up to `by`."""
        # The origins first: a query that finds them by itself decodes every set there is.
        together: dict[int, list[Market]] = {}
        for market, origin in self.newest_origins(markets, by).items():
            together.setdefault(origin, []).append(market)
        sets: dict[Market, ForecastSet] = {}
        for origin, alike in together.items():
            sets |= self.served(alike, origin)
        return sets

    def newest_origins(self, markets: Sequence[Market], by: float) -> dict[Market, int]:
        """Return the greatest origin up to `by` that each market has a served set at."""
        rows = self._reader.by_market(
            markets,
            """
            SELECT market, epoch_us(max(origin)) // 1000000 FROM forecast_sets
            WHERE list_contains($markets, market) AND served AND origin <= to_timestamp($by)
            GROUP BY market
            """,
            by=float(by),
        )
        return dict(rows)

    def past(
        self,
        pairs: Sequence[tuple[Market, str]],
        origin: int,
        *,
        since: int,
        until: int | None = None,
        shape: tuple[int, int],
        inner: int | None,
        served: bool,
    ) -> dict[tuple[Market, str], Past]:
        """Return what each pair's newest sets from `since` on and before an origin said.

        Targets after `until`, which is at or after the origin, are left out. `shape` is (H, Q):
        sets of another shape are left out, and so are pairs without a set. `inner` is where the
        inner range begins among the levels; None: where the outer one does. All pairs at once
        take hardly longer than a few: sets of neighbouring markets are decoded together.
        """
        horizon, levels = shape
        reach = horizon * pairs[0][0].interval_seconds
        given = {
            "served": served,
            "origin": origin,
            "until": origin + reach if until is None else until,
            "interval": pairs[0][0].interval_seconds,
            "horizon": horizon,
            "levels": levels,
            "inner": inner or 0,
            "size": horizon * levels,
        }
        newest = self._newest(pairs, max(since, origin - 2 * reach), origin, served)
        pasts = self._pasts(newest, given)
        rest = [pair for pair in pairs if pair not in newest]
        if rest:  # few, while to look so far back takes the longer the more is served
            pasts |= self._pasts(self._newest(rest, since, origin, served), given)
        return pasts

    def _pasts(
        self, newest: Mapping[tuple[Market, str], _Newest], given: Mapping[str, Any]
    ) -> dict[tuple[Market, str], Past]:
        """Return the past of each pair that has a newest set, if that is of the right shape."""
        if not newest:
            return {}
        asked = _asked(newest)
        rows = self._reader.query(_WIDENINGS, {**asked, **_named(given, _WIDENINGS)})
        widened = {number: widening for number, *widening in rows}
        columns = _in_order(self._reader.arrays(_TARGETS, {**asked, **_named(given, _TARGETS)}))
        ends = np.searchsorted(columns["number"], np.arange(len(newest) + 1))
        pasts = {}
        for number, (pair, last) in enumerate(newest.items()):
            if number in widened:
                part = slice(ends[number], ends[number + 1])
                ranges = Ranges(*(columns[each.name][part] for each in fields(Ranges)))
                scale, body = (
                    np.array(each or [1.0] * given["horizon"], dtype=np.float64)
                    for each in widened[number]
                )
                pasts[pair] = Past(scale, body, last.origin, last.known_until, ranges)
        return pasts

    def _newest(
        self, pairs: Sequence[tuple[Market, str]], since: int, origin: int, served: bool
    ) -> dict[tuple[Market, str], _Newest]:
        """Return what each pair's newest set in `[since, origin)` was made from."""
        rows = self._reader.query(_NEWEST, _by_version(pairs, since, origin, served))
        found = {(market, version): last for market, version, *last in rows}
        newest = {pair: found.get((pair[0].id, pair[1])) for pair in pairs}
        return {
            pair: _Newest(last[0], last[0] - last[1] * pair[0].interval_seconds)
            for pair, last in newest.items()
            if last is not None
        }

    def origins(
        self, market: Market, start: int, end: int, *, version: str | None = None
    ) -> set[int]:
        """Return the origins in `[start, end)` with a set by a version; None: a served set."""
        rows = self._reader.query(
            """
            SELECT epoch_us(origin) // 1000000 FROM forecast_sets
            WHERE market = $market AND origin >= to_timestamp($start)
                AND origin < to_timestamp($end)
                AND CASE WHEN $version IS NULL THEN served ELSE model_version = $version END
            """,
            {"market": market.id, "start": start, "end": end, "version": version},
        )
        return {row[0] for row in rows}

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
        """Return the served sets of these modes with origins in `[start, end)`.

        Sets with other levels or another horizon are left out, and those of a virtual clock if
        there are others. One market at a time: a week of sets is a million numbers.
        """
        parameters = {
            "market": market.id,
            "start": start,
            "end": end,
            "modes": list(modes),
            "levels": [round(float(level), 9) for level in levels],
            "size": horizon * len(levels),
        }
        rows = self._reader.query(
            f"""
            SELECT epoch_us(origin) // 1000000, last_close, scale, body, model_version, fallback
            {_BETWEEN}
            """,
            parameters,
        )
        # Flat: a million numbers as Python floats would take a second.
        flat = self._reader.arrays(
            f"SELECT unnest(quantiles) AS quantile FROM (SELECT quantiles {_BETWEEN})",  # noqa: S608 - a constant
            parameters,
        )["quantile"]
        columns = zip(*rows, strict=True) if rows else [()] * 6
        origins, closes, scales, bodies, versions, fallbacks = columns
        scale, body = ([each or [1.0] * horizon for each in of] for of in (scales, bodies))
        return Served(
            origins=np.array(origins, dtype=np.int64),
            last_close=np.array(closes, dtype=np.float64),
            quantiles=np.asarray(flat, dtype=np.float64).reshape(-1, horizon, len(levels)),
            scale=np.array(scale, dtype=np.float64).reshape(-1, horizon),
            body=np.array(body, dtype=np.float64).reshape(-1, horizon),
            versions=tuple(versions),
            fallbacks=tuple(fallbacks),
        )


# This reads few sets of other pairs: a market has few versions. The bounds let DuckDB skip others.
_NEWEST = """
SELECT market, model_version, epoch_us(max(origin)) // 1000000, arg_max(stale_bars, origin)
FROM forecast_sets
WHERE market >= $first AND market <= $last
    AND list_contains($markets, market) AND list_contains($versions, model_version)
    AND served = $served AND origin >= to_timestamp($since) AND origin < to_timestamp($origin)
GROUP BY market, model_version
"""
_ASKED = """
WITH asked AS (
    SELECT unnest($markets) AS market, unnest($versions) AS model_version,
        unnest($newest::BIGINT[]) AS newest, unnest($known::BIGINT[]) AS known,
        generate_subscripts($markets, 1) - 1 AS number
)
"""
_WIDENINGS = f"""
{_ASKED}
SELECT number, scale, body FROM forecast_sets JOIN asked USING (market, model_version)
WHERE origin = to_timestamp(newest) AND served = $served AND len(quantiles) = $size
    AND origin >= to_timestamp(list_min($newest)) AND origin <= to_timestamp(list_max($newest))
"""  # noqa: S608 - a constant
# A row a target, after the newest candle that was known: step h of a set ends h bars after it.
_TARGETS = f"""
{_ASKED}
SELECT number, origin, step,
    quantiles[(step - 1) * $levels + 1] AS low, quantiles[step * $levels] AS high,
    quantiles[(step - 1) * $levels + 1 + $inner] AS inner_low,
    quantiles[step * $levels - $inner] AS inner_high
FROM (
    SELECT number, quantiles, epoch_us(origin) // 1000000 AS origin, unnest(range(
            greatest((known - epoch_us(origin) // 1000000) // $interval, 0) + 1,
            least(($until - epoch_us(origin) // 1000000) // $interval, $horizon) + 1
        )) AS step
    FROM forecast_sets JOIN asked USING (market, model_version)
    WHERE served = $served AND len(quantiles) = $size AND origin < to_timestamp($origin)
        AND origin > to_timestamp(list_min($known) - $horizon * $interval)
)
"""  # noqa: S608 - a constant

_BETWEEN = """
FROM forecast_sets AS s JOIN level_sets AS l ON l.id = s.level_set
WHERE market = $market AND served AND list_contains($modes, mode)
    AND origin >= to_timestamp($start) AND origin < to_timestamp($end)
    AND l.levels = $levels::DOUBLE[] AND len(quantiles) = $size
QUALIFY NOT "virtual" OR bool_and("virtual") OVER ()
ORDER BY origin
"""


def _forecast_set(row: tuple[Any, ...]) -> ForecastSet:
    """Make a set of a row that `Ledger.served` reads."""
    market, origin, issued_at, last_close, stale_bars, mode, *rest = row
    version, kind, fallback, levels, quantiles, scale, body = rest
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
        body=None if body is None else np.array(body, dtype=np.float64),
    )


def _by_version(
    pairs: Sequence[tuple[Market, str]], since: int, origin: int, served: bool
) -> dict[str, Any]:
    """Return the parameters of `_NEWEST`."""
    markets = sorted({market.id for market, _ in pairs})
    return {
        "markets": markets,
        "first": markets[0],
        "last": markets[-1],
        "versions": sorted({version for _, version in pairs}),
        "since": since,
        "origin": origin,
        "served": served,
    }


def _asked(newest: Mapping[tuple[Market, str], _Newest]) -> dict[str, Any]:
    """Return the parameters of `_ASKED`."""
    return {
        "markets": [market.id for market, _ in newest],
        "versions": [version for _, version in newest],
        "newest": [last.origin for last in newest.values()],
        "known": [last.known_until for last in newest.values()],
    }


def _named(given: Mapping[str, Any], sql: str) -> dict[str, Any]:
    """Return those parameters that a query names: DuckDB refuses others."""
    return {name: value for name, value in given.items() if f"${name}" in sql}


def _in_order(columns: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """Return rows of targets by pair, origin and step: DuckDB's sort would take more memory."""
    order = np.lexsort([columns[name] for name in ("step", "origin", "number")])
    return {name: column[order] for name, column in columns.items()}
