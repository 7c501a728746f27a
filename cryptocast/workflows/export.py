"""export: candles, forecasts, scores, evaluations or the scorecard as a file."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptocast.drafts import replacing
from cryptocast.errors import ConfigError, StateError, UsageError
from cryptocast.store import Reader, exporter
from cryptocast.store.copies import snapshot
from cryptocast.store.exporter import FORMATS, KINDS, Asked, Extent, Selection
from cryptocast.values import DAY_SECONDS, Market, iso
from cryptocast.workspace import Workspace, output_file

SCORECARD = "scorecard"
"""What `monitor` says about the last week: computed, not stored."""

_MAKERS = {
    "candles": "cryptocast fetch",
    "forecasts": "cryptocast forecast --once makes forecasts; they are scored when candles follow",
    "evaluations": "cryptocast evaluate",
}
_CODES = {"candles": "state.no_candles", "evaluations": "state.no_evaluation"}


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A file that was written: what it holds, of which markets, and how much."""

    what: str
    file: Path  # absolute
    format: str  # the ending of its name, without the dot
    rows: int
    bytes: int
    markets: tuple[str, ...]  # ids of those that have rows in it
    start: int | None  # the range asked for; None: no bound
    end: int | None
    first: int  # open time, origin or time of making of its rows
    last: int


@dataclass(frozen=True, slots=True)
class AskedFile:
    """A file with the rows of a query."""

    file: Path  # absolute
    format: str
    rows: int
    bytes: int


def export(
    ws: Workspace,
    what: str,
    out: Path,
    *,
    symbols: tuple[str, ...] = (),
    start: int | None = None,
    end: int | None = None,
) -> ExportReport:
    """Write `what` (one of `exporter.KINDS`, or `SCORECARD`) into `out`.

    The format is the one that the name of `out` ends in. `[start, end)` bounds the open time
    of candles, the origin of forecasts and scores, and the time that evaluations were made
    at; `symbols` (or market ids) choose among the stored markets, by default all. What the
    workspace's clock does not know yet is left out. `out` is replaced as a whole, or stays as
    it was. Rows are read from a temporary copy of the database: a year of forecasts takes half
    a minute to sort, and writers wait no longer than the copying takes.

    Raises UsageError for an impossible `out`, range or `what`, ConfigError for an unknown
    symbol, StateError (`state.no_candles`, `state.no_forecast`, `state.no_evaluation`) if no
    row matches, and StoreError if the disk refuses: then no file is written.
    """
    if what == SCORECARD:
        return _scorecard(ws, out, symbols, bounded=(start, end) != (None, None))
    if what not in KINDS:
        known = ", ".join((*KINDS, SCORECARD))
        raise UsageError(f"'{what}' cannot be exported", hint=f"one of {known}")
    if start is not None and end is not None and start >= end:
        raise UsageError(
            f"no time lies between {iso(start)} and {iso(end)}",
            hint="--start must come before --end",
        )
    file, suffix = output_file(out, tuple(FORMATS), ws.settings.source.paths())
    with replacing(file) as draft:
        with snapshot(ws.store) as copy, copy.read() as reader:
            markets = _chosen(reader, ws.markets(), symbols)
            selection = Selection(what, markets, start, end, ws.clock.now())
            extent = exporter.extent(reader, selection)
            if extent is None:
                raise _nothing(reader, selection)
            exporter.copy(reader, selection, draft, suffix)
        return _report(what, draft, file, extent, start, end)


def query(
    ws: Workspace, sql: str, *, out: Path | None, most: int, seconds: float
) -> Asked | AskedFile:
    """Return the first `most` rows of one SELECT on a snapshot, or write them into `out`.

    Raises UsageError for an impossible `out`, and `usage.sql` for anything but one SELECT, its
    errors, and if it takes longer than `seconds`; StoreError if the disk refuses.
    """
    if out is None:
        with ws.snapshot() as copy:
            return exporter.ask(copy.path, sql, most=most, seconds=seconds)
    file, suffix = output_file(out, tuple(FORMATS), ws.settings.source.paths())
    with replacing(file) as draft:
        with ws.snapshot() as copy:
            rows = exporter.copy_asked(copy.path, sql, draft, suffix, most=most, seconds=seconds)
        size = draft.stat().st_size
    return AskedFile(file, suffix.removeprefix("."), rows, size)


def _scorecard(
    ws: Workspace, out: Path, symbols: tuple[str, ...], *, bounded: bool
) -> ExportReport:
    """Write the scorecard of the configured markets, by the forecasts of the last week."""
    # Imported late: it loads the models.
    from cryptocast.workflows.watching.verdicts import look, scorecard_rows

    if bounded:
        raise UsageError(
            "a scorecard covers the last week: --start and --end don't go with it",
            hint="--as-of takes another moment for now",
        )
    file, suffix = output_file(out, tuple(FORMATS), ws.settings.source.paths())
    wanted = {market.id for market in ws.markets(symbols)}
    report = look(ws)
    rows = [row for row in scorecard_rows(report) if row["market"] in wanted]
    if not rows:
        raise StateError(
            "there is no scorecard: nothing that was served in the last week has an outcome",
            code="state.no_outcomes",
            hint="cryptocast monitor says what is missing",
        )
    last = ws.markets()[0].floor(report.now)
    first = last - 7 * DAY_SECONDS
    markets = tuple(dict.fromkeys(row["market"] for row in rows))
    with replacing(file) as draft:
        _write(draft, suffix, [{**row, "start": first, "end": last} for row in rows])
        return _report(SCORECARD, draft, file, Extent(len(rows), markets, first, last), None, None)


def _report(
    what: str, draft: Path, file: Path, extent: Extent, start: int | None, end: int | None
) -> ExportReport:
    """Return the report of a draft that is about to become `file`."""
    return ExportReport(
        what=what,
        file=file,
        format=output_file(file, tuple(FORMATS))[1].removeprefix("."),
        rows=extent.rows,
        bytes=draft.stat().st_size,
        markets=extent.markets,
        start=start,
        end=end,
        first=extent.first,
        last=extent.last,
    )


def _write(draft: Path, suffix: str, rows: list[dict[str, Any]]) -> None:
    """Write rows; the times `start` and `end` are moments in Parquet, otherwise text."""
    import polars as pl  # late: DuckDB writes everything else

    frame = pl.DataFrame(rows, infer_schema_length=None)
    moments = pl.from_epoch(pl.col("start", "end")).dt.replace_time_zone("UTC")
    if suffix == ".parquet":
        frame.with_columns(moments).write_parquet(draft)
        return
    frame = frame.with_columns(moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    text = frame.write_json() if suffix == ".json" else frame.write_csv()
    content = text.encode()
    draft.write_bytes(gzip.compress(content) if suffix == ".csv.gz" else content)


def _chosen(reader: Reader, configured: Sequence[Market], symbols: tuple[str, ...]) -> list[Market]:
    """Return the stored or configured markets with these symbols or ids; without any, all."""
    stored = exporter.exportable_markets(reader)
    ids = sorted({*stored, *(market.id for market in configured)})
    markets = [Market.of(market_id, "", "") for market_id in ids]
    for symbol in symbols:
        if not any(symbol in (m.symbol, m.id) for m in markets):
            raise ConfigError(
                f"'{symbol}' is not a market of this workspace",
                code="config.symbol",
                hint=f"there is {', '.join(ids)}",
            )
    return [m for m in markets if not symbols or m.symbol in symbols or m.id in symbols]


def _nothing(reader: Reader, empty: Selection) -> StateError:
    """Return the error for an empty selection, with the range that could be exported instead."""
    of = str(empty.markets[0]) if len(empty.markets) == 1 else f"{len(empty.markets)} markets"
    since = "" if empty.start is None else f" from {iso(empty.start)}"
    until = "" if empty.end is None else f" before {iso(empty.end)}"
    unbounded = exporter.extent(reader, dataclasses.replace(empty, start=None, end=None))
    if unbounded is not None:
        hint = f"there are some from {iso(unbounded.first)} to {iso(unbounded.last)}"
    else:
        hint = _MAKERS.get(empty.kind, _MAKERS["forecasts"])
    code = _CODES.get(empty.kind, "state.no_forecast")
    return StateError(f"there are no {empty.kind} of {of}{since}{until}", code=code, hint=hint)
