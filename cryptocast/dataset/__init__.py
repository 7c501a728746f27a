"""Candles become what models learn from: bars, features, windows, targets, folds. Pure numpy."""

from cryptocast.dataset.bars import Bars, lay_out
from cryptocast.dataset.features import compute, context_bars
from cryptocast.dataset.folds import Part, Split, plan, rolling
from cryptocast.dataset.windows import at_origin, before, cut, log_returns, to_prices, unfit

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
