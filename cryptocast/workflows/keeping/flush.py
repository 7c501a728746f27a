"""flush: move old candles and resolved forecasts from the database into `archive/`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptocast import dataset
from cryptocast.config import Settings
from cryptocast.drafts import abandoned, discard, remove
from cryptocast.errors import StoreError
from cryptocast.store import Reader, Store, retention
from cryptocast.store.retention import Archived
from cryptocast.values import DAY_SECONDS, iso
from cryptocast.workflows.serving.events import ARCHIVED, SERVED
from cryptocast.workflows.watching.watch import look_back

FOLDER = "archive"
"""Where archives lie in a workspace."""

_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z")


@dataclass(frozen=True, slots=True)
class Flushed:
    """Rows that went from the database into a folder; None: nothing was old enough."""

    folder: Path | None
    tables: tuple[Archived, ...]
    before: Mapping[str, int]  # by market: rows before this moment are archived


def flush(store: Store, workspace: Path, settings: Settings, now: float) -> Flushed:
    """Archive what neither training nor calibration, features and monitor need any more.

    What stays of each market: the monitor's week, the `[data] days` that its baseline learns
    from before that, and the bars that features look back on; at least 2,016 candles and the
    sets of 2,016 origins; so every set with a target to come. The files are on disk, and were
    read again, before one transaction deletes exactly their rows and notes it. If it is
    killed before that, it leaves a folder whose rows are all in the database, which the next
    flush removes.
    """
    archives = workspace / FOLDER
    _remove_unfinished(store, archives)
    with store.read() as reader:
        limits = _limits(reader, settings, now)
        tables = retention.archivable(reader, limits)
        if not any(table.rows for table in tables):
            return Flushed(None, (), {})
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"  # no two are alike
        folder = archives / stamp
        hashes = retention.archive(reader, limits, folder)
    with store.write() as writer:
        if retention.archivable(writer, limits) != tables:
            remove(folder)
            raise StoreError(
                "candles were revised while they were archived",
                code="store.changed",
                hint="nothing was deleted: run it again",
                retry=True,
            )
        served = retention.last_served(writer, limits)
        retention.delete_archived(writer, limits)
        detail = {
            "folder": folder.name,
            "before": {market: iso(moment) for market, moment in limits.items()},
            SERVED: {market: iso(origin) for market, origin in served.items()},
            "tables": _manifest(tables, hashes),
        }
        writer.put_event(now, ARCHIVED, None, detail)
    return Flushed(folder, tuple(tables), limits)


def _limits(reader: Reader, settings: Settings, now: float) -> dict[str, int]:
    """Return, by market, the moment before which nothing is needed any more."""
    model, market = settings.model, settings.markets()[0]
    context = dataset.recent_bars(model.lookback)
    needed = look_back(market, model.horizon) + context * market.interval_seconds
    before = market.floor(now) - needed - round(settings.data.days * DAY_SECONDS)
    return retention.limits(reader, before, context)


def _manifest(tables: Sequence[Archived], hashes: Mapping[str, str]) -> dict[str, Any]:
    return {
        t.table: {"rows": t.rows, "fingerprint": t.fingerprint, "sha256": hashes[t.table]}
        for t in tables
    }


def _remove_unfinished(store: Store, archives: Path) -> None:
    """Remove what killed flushes left: drafts, and archives whose rows were never deleted.

    An archive without an event may be all that is left of a database that was begun anew: if
    any of its rows is not in this one, it stays where it is.
    """
    for draft in abandoned(archives):
        discard(draft)
    with store.read() as reader:
        committed = {event.detail["folder"] for event in reader.events(ARCHIVED)}
        unfinished = [
            folder
            for folder in sorted(archives.glob("*Z"))
            if _NAME.fullmatch(folder.name)
            and folder.name not in committed
            and retention.is_stored(reader, folder)
        ]
    for folder in unfinished:
        remove(folder)
