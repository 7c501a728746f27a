"""The database of a workspace, and the only place that knows DuckDB.

A `Store` opens the file for a `Reader` or a `Writer`, each with its ledger; other questions are
functions of a reader.
"""

from cryptocast.store.candles import CandleSummary as CandleSummary
from cryptocast.store.candles import candle_summaries as candle_summaries
from cryptocast.store.candles import confirmed_missing as confirmed_missing
from cryptocast.store.candles import fillable_gaps as fillable_gaps
from cryptocast.store.candles import gaps as gaps
from cryptocast.store.ledger import Ledger as Ledger
from cryptocast.store.ledger import Served as Served
from cryptocast.store.ledger_writer import LedgerWriter as LedgerWriter
from cryptocast.store.ledger_writer import as_json as as_json
from cryptocast.store.reader import Credits as Credits
from cryptocast.store.reader import Reader as Reader
from cryptocast.store.reader import Span as Span
from cryptocast.store.serving import ALL_MARKETS as ALL_MARKETS
from cryptocast.store.serving import GRAPH as GRAPH
from cryptocast.store.serving import Productions as Productions
from cryptocast.store.serving import ServedCoverage as ServedCoverage
from cryptocast.store.serving import StandIn as StandIn
from cryptocast.store.serving import coverage as coverage
from cryptocast.store.serving import fallback_counts as fallback_counts
from cryptocast.store.serving import ruling as ruling
from cryptocast.store.serving import served_in_time as served_in_time
from cryptocast.store.serving import stand_ins as stand_ins
from cryptocast.store.store import GuestStore as GuestStore
from cryptocast.store.store import Store as Store
from cryptocast.store.ticks import Tick as Tick
from cryptocast.store.ticks import Trouble as Trouble
from cryptocast.store.ticks import Unserved as Unserved
from cryptocast.store.ticks import last_ticks as last_ticks
from cryptocast.store.ticks import missed_origins as missed_origins
from cryptocast.store.ticks import tick_counts as tick_counts
from cryptocast.store.ticks import troubles as troubles
from cryptocast.store.ticks import unserved_origins as unserved_origins
from cryptocast.store.writer import Stored as Stored
from cryptocast.store.writer import Writer as Writer
