"""Additions to the ledger: forecast sets, ticks and evaluations; it is never rewritten."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptocast.documents import plain
from cryptocast.store.ledger import Ledger
from cryptocast.store.ticks import Tick
from cryptocast.values import ForecastSet

_SCORES_AT_ONCE = 5_000  # as JSON a few megabytes


class LedgerWriter(Ledger):
    """Appends to the ledger, inside a transaction of the store."""

    def put_sets(
        self,
        sets: Sequence[ForecastSet],
        *,
        served: bool,
        virtual: bool = False,
        written_at: float | None = None,
    ) -> list[bool]:
        """Store forecast sets; return for each whether it was new and is stored now.

        A set is not new if its model version has a set for (market, origin), or, for served
        sets, if any served one has. Quantiles are stored as given (the caller has rounded
        them). `virtual` says that a virtual clock made their moment; `written_at` is by default
        the system clock's present.
        """
        numbers = {levels: self._level_set(levels) for levels in {s.levels for s in sets}}
        common = {"served": served, "virtual": virtual, "written_at": now_or(written_at)}
        is_new = self._are_new(sets, served=served)
        new = list(itertools.compress(sets, is_new))
        for first in range(0, len(new), _SETS_PER_INSERT):
            some = [_row(s, numbers[s.levels]) for s in new[first : first + _SETS_PER_INSERT]]
            columns = {name: [row[name] for row in some] for name in _COLUMNS}
            self._reader.query(_PUT_SETS, common | columns)
        return is_new

    def _are_new(self, sets: Sequence[ForecastSet], *, served: bool) -> list[bool]:
        """Return for each set whether none stands in its way."""
        if not sets:
            return []
        rows = self._reader.query(
            _IN_THE_WAY,
            {
                "markets": [s.market.id for s in sets],
                "origins": [s.origin for s in sets],
                "versions": [s.model.version for s in sets],
                "served": served,
            },
        )
        taken = {number for (number,) in rows}
        return [number not in taken for number in range(len(sets))]

    def _level_set(self, levels: Sequence[float]) -> int:
        """Return the id under which these levels are kept; new levels are added."""
        rounded = [round(float(level), 9) for level in levels]
        rows = self._reader.query("SELECT id FROM level_sets WHERE levels = ?::DOUBLE[]", [rounded])
        if rows:
            return int(rows[0][0])
        [(number,)] = self._reader.query("SELECT coalesce(max(id), 0) + 1 FROM level_sets")
        self._reader.query("INSERT INTO level_sets VALUES (?, ?)", [number, rounded])
        return int(number)

    def put_ticks(self, ticks: Iterable[Tick]) -> None:
        """Append rows of `ticks`."""
        rows = [
            [t.market, t.origin, t.started_at, t.finished_at, t.status, t.error_code, t.detail]
            for t in ticks
        ]
        if not rows:
            return
        self._reader.query(
            """
            INSERT INTO ticks
            SELECT r[1], to_timestamp(r[2]::DOUBLE), to_timestamp(r[3]::DOUBLE),
                to_timestamp(r[4]::DOUBLE), r[5], r[6], r[7]
            FROM (SELECT unnest(from_json(?, '[["VARCHAR"]]')) AS r)
            """,
            [json.dumps(rows)],
        )

    def put_scores(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        at: float,
        start: int,
        end: int,
    ) -> int:
        """Append the scores of an evaluation of the origins in `[start, end)`; return its number.

        Each row holds `in_sample` and the columns of `schemas.SCORES`; NaN becomes NULL.
        """
        [(number,)] = self._reader.query("SELECT coalesce(max(evaluation), 0) + 1 FROM scores")
        common = {
            "number": number,
            "at": float(at),
            "written_at": time.time(),
            "start": float(start),
            "end": float(end),
            "shape": self._shape_of_scores(),
        }
        left = iter(rows)
        while block := list(itertools.islice(left, _SCORES_AT_ONCE)):
            self._reader.query(
                """
                INSERT INTO scores BY NAME
                SELECT $number AS evaluation, to_timestamp($at) AS "at",
                    to_timestamp($written_at) AS written_at, to_timestamp($start) AS start_time,
                    to_timestamp($end) AS end_time,
                    unnest(from_json($rows, $shape), recursive := true)
                """,
                {**common, "rows": as_json(block)},
            )
        return int(number)

    def _shape_of_scores(self) -> str:
        """Return the columns that each row brings, as DuckDB's JSON reader wants them."""
        columns = self._reader.query(
            """
            SELECT column_name, data_type FROM duckdb_columns()
            WHERE table_name = 'scores' AND column_name NOT IN
                ('evaluation', 'at', 'written_at', 'start_time', 'end_time')
            """
        )
        return json.dumps([dict(columns)])


# The columns that each set brings; the rest is common.
_COLUMNS = {
    "market": "VARCHAR",
    "origin": "BIGINT",
    "interval_seconds": "INTEGER",
    "model_version": "VARCHAR",
    "model_kind": "VARCHAR",
    "level_set": "INTEGER",
    "quantiles": "DOUBLE[]",
    "last_close": "DOUBLE",
    "stale_bars": "INTEGER",
    "scale": "DOUBLE[]",
    "body": "DOUBLE[]",
    "issued_at": "DOUBLE",
    "mode": "VARCHAR",
    "late": "BOOLEAN",
    "fallback": "VARCHAR",
}

# The numbers of this many sets are 10 MB as DuckDB's parameters.
_SETS_PER_INSERT = 250

_GIVEN = ", ".join(f"unnest(${name}::{type_}[]) AS {name}" for name, type_ in _COLUMNS.items())
_PUT_SETS = f"""
INSERT INTO forecast_sets BY NAME
SELECT given.* REPLACE (
        to_timestamp(given.origin) AS origin, to_timestamp(given.issued_at) AS issued_at
    ), to_timestamp($written_at) AS written_at, $served AS served, $virtual AS "virtual"
FROM (SELECT {_GIVEN}) AS given
"""  # noqa: S608 - constants
# Asked apart from the INSERT, which would lay out the prices twice. Without the bounds of the
# origins the whole ledger would be read.
_IN_THE_WAY = """
SELECT given.number FROM forecast_sets AS s JOIN (
    SELECT unnest($markets) AS market, to_timestamp(unnest($origins::BIGINT[])) AS origin,
        unnest($versions) AS version, generate_subscripts($markets, 1) - 1 AS number
) AS given ON s.market = given.market AND s.origin = given.origin
WHERE s.origin >= to_timestamp(list_min($origins::BIGINT[]))
    AND s.origin <= to_timestamp(list_max($origins::BIGINT[]))
    AND (s.model_version = given.version OR (s.served AND $served))
"""


def _row(forecast: ForecastSet, level_set: int) -> Mapping[str, Any]:
    return {
        "market": forecast.market.id,
        "origin": forecast.origin,
        "interval_seconds": forecast.market.interval_seconds,
        "model_version": forecast.model.version,
        "model_kind": forecast.model.kind,
        "level_set": level_set,
        "quantiles": forecast.quantiles.ravel().tolist(),
        "last_close": float(forecast.last_close),
        "stale_bars": forecast.stale_bars,
        "scale": None if forecast.scale is None else forecast.scale.tolist(),
        "body": None if forecast.body is None else forecast.body.tolist(),
        "issued_at": float(forecast.issued_at),
        "mode": forecast.mode,
        "late": forecast.late,
        "fallback": forecast.model.fallback,
    }


def as_json(value: Any) -> str:
    """Return a value as JSON text; NaN and infinity, which JSON lacks, become null."""
    return json.dumps(plain(value))


def now_or(moment: float | None) -> float:
    """Return the moment, or by default the system clock's present."""
    return time.time() if moment is None else float(moment)
