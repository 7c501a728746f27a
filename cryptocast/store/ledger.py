"""The ledger of forecast sets, which is only ever appended to.

A tick asks for all its markets at once: one query, not one per market.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cryptocast.values import FloatArray, ForecastSet, IntArray, Market, Past, ServedModel

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
        shape: tuple[int, int],
        inner: int | None,
        served: bool,
    ) -> dict[tuple[Market, str], Past]:
        """Return each market's newest sets by a version, from `since` on and before an origin.

        `shape` is (H, Q): sets of another shape are left out, and so are pairs without a set.
        `inner` is where the inner range begins among the levels; None: where the outer one does.
        """
        horizon, levels = shape
        reach = horizon * pairs[0][0].interval_seconds
        known_until = self._known_until(pairs, max(since, origin - 2 * reach), origin, served)
        rest = [pair for pair in pairs if pair not in known_until]
        if rest:  # few, while to look so far back takes the longer the more is served
            known_until |= self._known_until(rest, since, origin, served)
        if not known_until:
            return {}
        since = min(known_until.values()) - reach + 1
        parameters = _by_version(list(known_until), since, origin, served)
        ends = 0, levels - 1, inner or 0, levels - 1 - (inner or 0)
        places = [step * levels + end + 1 for end in ends for step in range(horizon)]
        given = {"size": horizon * levels, "places": places}
        rows = self._reader.arrays(_ENDS, parameters | given)
        named = {(market.id, version): (market, version) for market, version in known_until}
        recent: dict[tuple[Market, str], list[int]] = {}
        keys = zip(rows["market"], rows["model_version"], rows["moment"].tolist(), strict=True)
        for row, (market, version, moment) in enumerate(keys):
            pair = named.get((market, version))
            if pair is not None and moment > known_until[pair] - reach:
                recent.setdefault(pair, []).append(row)
        return {pair: _past(rows, recent[pair], known_until[pair], horizon) for pair in recent}

    def _known_until(
        self, pairs: Sequence[tuple[Market, str]], since: int, origin: int, served: bool
    ) -> dict[tuple[Market, str], int]:
        """Return when the newest candle closed that each pair's newest set was made from."""
        rows = self._reader.query(_NEWEST, _by_version(pairs, since, origin, served))
        found = {(market, version): newest for market, version, *newest in rows}
        newest = {pair: found.get((pair[0].id, pair[1])) for pair in pairs}
        return {
            (market, version): last[0] - last[1] * market.interval_seconds
            for (market, version), last in newest.items()
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
_BY_VERSION = """
FROM forecast_sets
WHERE market >= $first AND market <= $last
    AND list_contains($markets, market) AND list_contains($versions, model_version)
    AND served = $served AND origin >= to_timestamp($since) AND origin < to_timestamp($origin)
"""
_NEWEST = f"""
SELECT market, model_version, epoch_us(max(origin)) // 1000000, arg_max(stale_bars, origin)
{_BY_VERSION} GROUP BY market, model_version
"""
_ENDS = f"""
SELECT market, model_version, epoch_us(origin) // 1000000 AS moment, coalesce(scale, []) AS scale,
    coalesce(body, []) AS body, list_select(quantiles, $places::BIGINT[]) AS ends
{_BY_VERSION} AND len(quantiles) = $size ORDER BY market, origin
"""

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
    """Return the parameters of `_BY_VERSION`."""
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


def _past(
    columns: Mapping[str, NDArray[Any]], rows: Sequence[int], known_until: int, horizon: int
) -> Past:
    scale, body = (
        np.array(last, dtype=np.float64) if len(last) else np.ones(horizon)
        for last in (columns[name][rows[-1]] for name in ("scale", "body"))
    )
    ends = np.stack(list(columns["ends"][rows])).reshape(len(rows), 4, horizon)
    origins = columns["moment"][rows].astype(np.int64)
    return Past(scale, body, known_until, origins, *ends.transpose(1, 0, 2))
