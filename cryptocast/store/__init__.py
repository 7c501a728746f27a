"""The database of a workspace, and the only place that knows DuckDB."""

from cryptocast.store.ledger import Ledger, Past, Served, Tick, Unserved
from cryptocast.store.ledger_writer import LedgerWriter
from cryptocast.store.monitoring import CandleSummary, ServedCoverage, StandIn, Trouble
from cryptocast.store.productions import ALL_MARKETS, Productions, ruling
from cryptocast.store.reader import Credits, Event, Reader, Span
from cryptocast.store.store import Store
from cryptocast.store.writer import Stored, Writer, as_json

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
    "ruling",
]
