"""From candles to what models learn from: bars, features, targets, windows, folds. Pure numpy."""

from cryptocast.dataset.bars import Bars, lay_out
from cryptocast.dataset.features import compute, context_bars
from cryptocast.dataset.folds import Part, Split, plan, rolling
from cryptocast.dataset.target import log_returns, to_prices
from cryptocast.dataset.windows import at_origin, before, cut, unfit

__all__ = [
    "Bars",
    "Part",
    "Split",
    "at_origin",
    "before",
    "compute",
    "context_bars",
    "cut",
    "lay_out",
    "log_returns",
    "plan",
    "rolling",
    "to_prices",
    "unfit",
]
