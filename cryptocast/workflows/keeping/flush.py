"""flush: old candles and resolved forecasts into `archive/`, then out of the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptocast import dataset
from cryptocast.drafts import abandoned, discard, remove
from cryptocast.errors import StoreError
from cryptocast.store import retention
from cryptocast.store.retention import Archived
from cryptocast.values import iso
from cryptocast.workflows.serving.events import ARCHIVED, SERVED
from cryptocast.workflows.watching.watch import look_back
from cryptocast.workspace import Workspace

FOLDER = "archive"
"""Where archives lie in a workspace."""

_DAY = 86_400
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z")


@dataclass(frozen=True, slots=True)
class Flushed:
    """What went from the database into a folder; None: nothing was old enough."""

    folder: Path | None
    tables: tuple[Archived, ...]
    before: Mapping[str, int]  # by market: what lay before this moment is archived


def flush(ws: Workspace) -> Flushed:
    """Archive what neither training nor calibration, features and monitor need any more.

    What stays of each market: the monitor's week, the `[data] days` that its baseline learns
    from before that, and the bars that features look back on; at least 2,016 candles and the
    sets of 2,016 origins; so every set with a target to come. The files are on disk, and were
    read again, before one transaction deletes exactly their rows and notes it. A kill before
    that leaves a folder whose rows are all in the database, which the next flush removes.
    """
    _tidy(ws)
    now = ws.clock.now()
    limits = _limits(ws, now)
    with ws.store.read() as reader:
        found = retention.archivable(reader, limits)
        if not any(table.rows for table in found):
            return Flushed(None, (), {})
        folder = ws.folder / FOLDER / _stamp()
        hashes = retention.archive(reader, limits, folder)
    with ws.store.write() as writer:
        if retention.archivable(writer, limits) != found:
            remove(folder)
            raise StoreError(
                "candles were revised while they were archived",
                code="store.changed",
                hint="nothing was deleted: run it again",
                retry=True,
            )
        detail = {
            "folder": folder.name,
            "before": {market: iso(moment) for market, moment in limits.items()},
            SERVED: {m: iso(origin) for m, origin in retention.last_served(writer, limits).items()},
            "tables": {
                t.table: {
                    "rows": t.rows,
                    "fingerprint": t.fingerprint,
                    "sha256": hashes[t.table],
                }
                for t in found
            },
        }
        retention.delete_archived(writer, limits)
        writer.put_event(now, ARCHIVED, None, detail)
    return Flushed(folder, tuple(found), limits)


def _limits(ws: Workspace, now: float) -> dict[str, int]:
    """By market the moment before which nothing is needed any more."""
    model, market = ws.settings.model, ws.markets()[0]
    context = dataset.context_bars(model.lookback)
    needed = look_back(market, model.horizon) + context * market.interval_seconds
    before = market.floor(now) - needed - round(ws.settings.data.days * _DAY)
    with ws.store.read() as reader:
        return retention.limits(reader, before, context)


def _stamp() -> str:
    """The system's time as a folder's name; never that of another one."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


def _tidy(ws: Workspace) -> None:
    """Remove what killed flushes left: drafts, and archives whose rows were never deleted.

    An archive that no event tells of may be all that is left of a database that was begun
    anew: what is not in this one to the last row stays where it is.
    """
    place = ws.folder / FOLDER
    for draft in abandoned(place):
        discard(draft)
    with ws.store.read() as reader:
        committed = {event.detail["folder"] for event in reader.events(ARCHIVED)}
        left = [
            folder
            for folder in sorted(place.glob("*Z"))
            if _NAME.fullmatch(folder.name)
            and folder.name not in committed
            and retention.is_stored(reader, folder)
        ]
    for folder in left:
        remove(folder)
