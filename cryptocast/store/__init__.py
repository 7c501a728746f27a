"""The database of a workspace, and the only place that knows DuckDB."""

from cryptocast.store.reader import Credits, Event, Reader, Span, Tick
from cryptocast.store.store import Store
from cryptocast.store.writer import Stored, Writer

__all__ = ["Credits", "Event", "Reader", "Span", "Store", "Stored", "Tick", "Writer"]
