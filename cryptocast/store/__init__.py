"""The database of a workspace, and the only place that knows DuckDB."""

from cryptocast.store.archive import Archived
from cryptocast.store.incidents import Event
from cryptocast.store.ledger import Ledger, Past, Served, Tick, Unserved
from cryptocast.store.ledger_writer import LedgerWriter
from cryptocast.store.productions import ALL_MARKETS, Productions, ruling
from cryptocast.store.reader import Credits, Reader, Span
from cryptocast.store.stocks import Stock, Stocks
from cryptocast.store.store import Store
from cryptocast.store.vitals import Coverage, StandIn, Vitals
from cryptocast.store.writer import Stored, Writer

__all__ = [
    "ALL_MARKETS",
    "Archived",
    "Coverage",
    "Credits",
    "Event",
    "Ledger",
    "LedgerWriter",
    "Past",
    "Productions",
    "Reader",
    "Served",
    "Span",
    "StandIn",
    "Stock",
    "Stocks",
    "Store",
    "Stored",
    "Tick",
    "Unserved",
    "Vitals",
    "Writer",
    "ruling",
]
