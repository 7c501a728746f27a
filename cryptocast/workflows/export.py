"""export: candles, forecasts or scores of the store as a file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import ConfigError, StateError, UsageError
from cryptocast.store.exporter import FORMATS, KINDS, Exporter, Selection, replacing
from cryptocast.values import Market, iso
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A file that was written: what of which markets it holds, and how much."""

    what: str
    file: Path  # absolute
    format: str  # the ending of its name, without the dot
    rows: int
    bytes: int
    markets: tuple[str, ...]  # ids of those that have rows in it
    start: int | None  # the range asked for; None: no bound
    end: int | None
    first: int  # open time (candles) or origin of its rows
    last: int


def export(
    ws: Workspace,
    what: str,
    out: Path,
    *,
    symbols: tuple[str, ...] = (),
    start: int | None = None,
    end: int | None = None,
) -> ExportReport:
    """Write `what` (candles, forecasts, scores) into `out`, in the format that its name ends in.

    `[start, end)` bounds the open time of candles and the origin of the others; `symbols`
    (or market ids) choose among the stored markets, all by default. What the workspace's
    clock does not know yet is left out. `out` is replaced as a whole, or stays as it was.

    The store stays open while the file is written (a million candles to Parquet: well under
    a second), so other processes' writes wait for it, up to their `[store] wait_seconds`.

    Raises UsageError for an `out`, range or `what` that cannot be, ConfigError for an unknown
    symbol, StateError (`state.no_candles`, `state.no_forecast`) where no row matches, and
    StoreError where the disk refuses: no file is written then.
    """
    if what not in KINDS:
        raise UsageError(f"'{what}' cannot be exported", hint=f"one of {', '.join(KINDS)}")
    if start is not None and end is not None and start >= end:
        raise UsageError(
            f"no time lies between {iso(start)} and {iso(end)}",
            hint="--start must come before --end",
        )
    file = out.resolve()
    suffix = _suffix(file)
    with replacing(file) as part:
        with ws.store.read() as reader:
            exporter = reader.exporter()
            markets = _chosen(ws, exporter.markets(), symbols)
            selection = Selection(what, markets, start, end, ws.clock.now())
            found = exporter.find(selection)
            if found is None:
                raise _nothing(exporter, selection)
            exporter.copy(selection, part, suffix)
        size = part.stat().st_size
    return ExportReport(
        what=what,
        file=file,
        format=suffix.removeprefix("."),
        rows=found.rows,
        bytes=size,
        markets=found.markets,
        start=start,
        end=end,
        first=found.first,
        last=found.last,
    )


def _suffix(file: Path) -> str:
    """The format that the file's name ends in; UsageError where it cannot be written there."""
    suffix = next((s for s in FORMATS if file.name.lower().endswith(s)), None)
    if suffix is None:
        raise UsageError(
            f"{file} names no format by its ending", hint=f"end it in one of {', '.join(FORMATS)}"
        )
    if file.is_dir():
        raise UsageError(f"{file} is a folder", hint="name the file to write")
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent}", hint=f"mkdir -p {file.parent}")
    return suffix


def _chosen(ws: Workspace, stored: list[str], symbols: tuple[str, ...]) -> list[Market]:
    """The markets, stored or configured, that were asked for by symbol or id; all by default."""
    ids = sorted({*stored, *(market.id for market in ws.markets())})
    markets = [Market.of(market_id, "", "") for market_id in ids]
    for symbol in symbols:
        if not any(symbol in (m.symbol, m.id) for m in markets):
            raise ConfigError(
                f"'{symbol}' is not a market of this workspace",
                code="config.symbol",
                hint=f"there is {', '.join(ids)}",
            )
    return [m for m in markets if not symbols or m.symbol in symbols or m.id in symbols]


def _nothing(exporter: Exporter, asked: Selection) -> StateError:
    """Why a selection is empty, with the range that there is instead."""
    of = str(asked.markets[0]) if len(asked.markets) == 1 else f"{len(asked.markets)} markets"
    since = "" if asked.start is None else f" from {iso(asked.start)}"
    until = "" if asked.end is None else f" before {iso(asked.end)}"
    there = exporter.find(dataclasses.replace(asked, start=None, end=None))
    if there is not None:
        hint = f"there are some from {iso(there.first)} to {iso(there.last)}"
    elif asked.kind == "candles":
        hint = "cryptocast fetch"
    else:
        hint = "cryptocast forecast --once makes forecasts; they are scored when candles follow"
    code = "state.no_candles" if asked.kind == "candles" else "state.no_forecast"
    return StateError(f"there are no {asked.kind} of {of}{since}{until}", code=code, hint=hint)
