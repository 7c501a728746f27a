"""The only writes. What several calls write is committed together when the store closes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cryptocast.store.candles import PRICES, PROVENANCES, REPAIRED, label, merge
from cryptocast.store.ledger_writer import LedgerWriter, as_json, now_or
from cryptocast.store.reader import Reader
from cryptocast.values import Candles, Deployment, IntArray, Market, iso

_KNOWN_SINCE = {
    "forecast_sets": "issued_at",
    "ticks": "finished_at",
    "deployments": "at",
    "events": "at",
    "scores": "at",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """The changes that `put_candles` made; each row is in at most one of the counts."""

    new: int  # rows of bars outside the stored range, or given as imported or derived
    revised: int  # rows whose values differed from the stored ones
    repaired: int  # rows that filled a hole inside the stored range


class Writer(Reader):
    """Reads and writes inside one transaction; valid only inside its `with store.write()`."""

    def put_candles(
        self, market: Market, candles: Candles, *, provenance: str, fetched_at: float
    ) -> Stored:
        """Store normalised candles: the table then holds them, whatever it held before.

        `provenance` says how they came: `live` (a tick), `backfill` (a fetch over a range),
        `imported` (a file), `derived` (computed from other candles). The last two are kept
        as given. With the first two, a new row becomes
          - `repaired` if it fills a hole between the first and the last stored candle;
          - `backfill` if it lies before the first stored candle, or nothing was stored;
          - as given if it lies after the last.
        A row that is stored with the same values stays untouched, its `fetched_at` too. One
        with other values is replaced and becomes `revised`, and an event `candle.revised`
        keeps the old and the new values. A missing volume (NaN) says nothing: it differs
        from no stored volume, and replaces none. Stored bars no longer count as missing.

        Raises ValueError if the open times are not rising.
        """
        if not (np.diff(candles.open_time) > 0).all():
            raise ValueError("candles must be normalised: their open times are not rising")
        if len(candles) == 0:
            return Stored(0, 0, 0)
        first, last = int(candles.open_time[0]), int(candles.open_time[-1])
        change = merge(self.candles([market], first, last + 1)[market], candles)
        details = [
            json.dumps({"open_time": iso(moment), "old": old, "new": new})
            for moment, old, new in change.revisions()
        ]
        labels = label(change.new.open_time, provenance, self.spans([market]).get(market))
        self._put_events(fetched_at, "candle.revised", market.id, details)
        self._delete(market, change.before.open_time)
        revised = np.full(len(change.after), PROVENANCES.index("revised"))
        self._insert(market, change.after, revised, fetched_at)
        self._insert(market, change.new, labels, fetched_at)
        self._forget_missing(market, first, last)
        repaired = int(np.count_nonzero(labels == REPAIRED))
        return Stored(len(labels) - repaired, len(details), repaired)

    def _delete(self, market: Market, open_time: IntArray) -> None:
        if len(open_time):
            self.query(
                """
                DELETE FROM candles
                WHERE market = ? AND open_time IN (SELECT to_timestamp(unnest(?::BIGINT[])))
                """,
                [market.id, open_time.tolist()],
            )

    def _insert(
        self, market: Market, candles: Candles, labels: IntArray, fetched_at: float
    ) -> None:
        """Add new rows; without looking for conflicts this takes half the time."""
        if len(candles) == 0:
            return
        arrays = {name: getattr(candles, name) for name in ("open_time", *PRICES, "volume")}
        # DuckDB scans a dict of numpy arrays in place; text would be copied cell by cell.
        self._connection.register("incoming", arrays | {"label": labels})
        self.query(
            """
            INSERT INTO candles
            SELECT $market, to_timestamp(open_time), open, high, low, close,
                CASE WHEN isnan(volume) THEN NULL ELSE volume END,
                $names[label + 1], to_timestamp($fetched_at)
            FROM incoming
            """,
            {"market": market.id, "names": list(PROVENANCES), "fetched_at": float(fetched_at)},
        )
        self._connection.unregister("incoming")

    def _forget_missing(self, market: Market, first: int, last: int) -> None:
        """Forget the missing bars whose candles are stored now."""
        self.query(
            """
            DELETE FROM missing_bars AS m
            WHERE m.market = $market AND m.open_time IN (
                SELECT open_time FROM candles WHERE market = $market
                    AND open_time >= to_timestamp($first) AND open_time <= to_timestamp($last)
            )
            """,
            {"market": market.id, "first": first, "last": last},
        )

    def put_missing(self, market: Market, open_time: IntArray, asked_at: float) -> None:
        """Note the bars that a well-formed answer lacked although it covered them.

        A bar that has a candle is left out, and a bar that was noted at the same `asked_at`
        counts once: a run asks with one moment, however often it asks.
        """
        if len(open_time) == 0:
            return
        self._connection.register("lacking", {"open_time": open_time})
        self.query(
            """
            INSERT INTO missing_bars
            SELECT $market, to_timestamp(open_time), 1, to_timestamp($asked_at) FROM lacking
            WHERE to_timestamp(open_time) NOT IN (
                SELECT open_time FROM candles WHERE market = $market
                    AND open_time >= to_timestamp($first) AND open_time <= to_timestamp($last)
            )
            ON CONFLICT (market, open_time) DO UPDATE SET
                answers = answers + CAST(asked_at <> excluded.asked_at AS INTEGER),
                asked_at = excluded.asked_at
            """,
            {
                "market": market.id,
                "asked_at": float(asked_at),
                "first": int(open_time.min()),
                "last": int(open_time.max()),
            },
        )
        self._connection.unregister("lacking")

    def add_credits(self, source: str, at: float, calls: int, credits: int) -> None:
        """Add to what a source has cost in the month of `at`; both numbers may be negative."""
        self.query(
            """
            INSERT INTO credits
            VALUES ($source, date_trunc('month', to_timestamp($at)), $calls, $credits, NULL)
            ON CONFLICT (source, month) DO UPDATE SET
                calls = calls + excluded.calls, credits = credits + excluded.credits
            """,
            {"source": source, "at": float(at), "calls": calls, "credits": credits},
        )

    def put_note(self, source: str, key: str, value: str) -> None:
        """Keep a note about a source under a key."""
        self.query(
            """
            INSERT INTO source_notes VALUES (?, ?, ?)
            ON CONFLICT (source, key) DO UPDATE SET value = excluded.value
            """,
            [source, key, value],
        )

    def put_refusal(self, source: str, at: float, refused_at: float | None) -> None:
        """Note when a source refused for want of credits in the month of `at`; None lifts it."""
        self.add_credits(source, at, 0, 0)
        self.query(
            """
            UPDATE credits SET refused_at = to_timestamp(?::DOUBLE)
            WHERE source = ? AND month = date_trunc('month', to_timestamp(?))
            """,
            [refused_at, source, float(at)],
        )

    @property
    def ledger(self) -> LedgerWriter:
        """The forecast sets, ticks and evaluations, to append to."""
        return LedgerWriter(self)

    def put_deployment(
        self, deployment: Deployment, *, written_at: float | None = None
    ) -> Deployment:
        """Append a deployment and return it with its id, whatever id it was given.

        From now on it rules its market; one of `*` rules all of them.
        """
        [(number,)] = self.query("SELECT coalesce(max(id), 0) + 1 FROM deployments")
        stored = dataclasses.replace(deployment, id=number)
        self.query(
            """
            INSERT INTO deployments VALUES
                (?, to_timestamp(?), to_timestamp(?), ?, ?, ?, ?, ?, ?)
            """,
            [number, float(stored.at), now_or(written_at), *dataclasses.astuple(stored)[2:]],
        )
        return stored

    def forget_later(self, now: float) -> None:
        """Remove what was not known at a moment yet, in a copy that is read on a virtual clock."""
        for market in (Market.of(name, "", "") for name in self.stored_markets()):
            self.query(
                "DELETE FROM candles WHERE market = ? AND open_time > to_timestamp(?)",
                [market.id, now - market.interval_seconds],
            )
        for table, moment in _KNOWN_SINCE.items():
            self.query(f'DELETE FROM {table} WHERE "{moment}" > to_timestamp(?)', [now])  # noqa: S608 - constants

    def put_event(
        self, at: float, kind: str, market: str | None, detail: Mapping[str, Any]
    ) -> None:
        """Append an event; NaN and infinity in `detail` become null."""
        self._put_events(at, kind, market, [as_json(detail)])

    def _put_events(self, at: float, kind: str, market: str | None, details: list[str]) -> None:
        if details:
            self.query(
                "INSERT INTO events SELECT to_timestamp(?), ?, ?, unnest(?::VARCHAR[])",
                [float(at), kind, market, details],
            )
