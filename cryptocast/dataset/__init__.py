"""Candles become what models learn from: bars, features, windows, targets, folds. Pure numpy."""

from cryptocast.dataset.bars import Bars as Bars
from cryptocast.dataset.bars import lay_out as lay_out
from cryptocast.dataset.bars import needed_start as needed_start
from cryptocast.dataset.features import compute as compute
from cryptocast.dataset.features import context_bars as context_bars
from cryptocast.dataset.features import recent_bars as recent_bars
from cryptocast.dataset.folds import Part as Part
from cryptocast.dataset.folds import Split as Split
from cryptocast.dataset.folds import plan as plan
from cryptocast.dataset.folds import rolling as rolling
from cryptocast.dataset.shifts import WAIT_BARS as WAIT_BARS
from cryptocast.dataset.shifts import lasting as lasting
from cryptocast.dataset.shifts import suspected as suspected
from cryptocast.dataset.windows import at_origin as at_origin
from cryptocast.dataset.windows import before as before
from cryptocast.dataset.windows import before_each as before_each
from cryptocast.dataset.windows import cut as cut
from cryptocast.dataset.windows import log_returns as log_returns
from cryptocast.dataset.windows import origins as origins
from cryptocast.dataset.windows import to_prices as to_prices
from cryptocast.dataset.windows import unfit as unfit
