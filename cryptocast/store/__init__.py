"""The database of a workspace, and the only place that knows DuckDB.

A `Store` opens the file for a `Reader` or a `Writer`, each with its ledger; other questions are
functions of a reader.
"""

from cryptocast.store.candles import (
    CandleSummary,
    candle_summaries,
    confirmed_missing,
    fillable_gaps,
    gaps,
)
from cryptocast.store.ledger import Ledger, Past, Served
from cryptocast.store.ledger_writer import LedgerWriter, as_json
from cryptocast.store.reader import Credits, Event, Reader, Span
from cryptocast.store.serving import (
    ALL_MARKETS,
    Productions,
    ServedCoverage,
    StandIn,
    coverage,
    fallback_counts,
    ruling,
    stand_ins,
)
from cryptocast.store.store import Store
from cryptocast.store.ticks import (
    Tick,
    Trouble,
    Unserved,
    last_ticks,
    missed_origins,
    tick_counts,
    troubles,
    unserved_origins,
)
from cryptocast.store.writer import Stored, Writer

__all__ = [
    "ALL_MARKETS",
    "CandleSummary",
    "Credits",
    "Event",
    "Ledger",
    "LedgerWriter",
    "Past",
    "Productions",
    "Reader",
    "Served",
    "ServedCoverage",
    "Span",
    "StandIn",
    "Store",
    "Stored",
    "Tick",
    "Trouble",
    "Unserved",
    "Writer",
    "as_json",
    "candle_summaries",
    "confirmed_missing",
    "coverage",
    "fallback_counts",
    "fillable_gaps",
    "gaps",
    "last_ticks",
    "missed_origins",
    "ruling",
    "stand_ins",
    "tick_counts",
    "troubles",
    "unserved_origins",
]
