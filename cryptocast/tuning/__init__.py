"""Optuna behind one function: a search that goes on where it stopped and gives up the hopeless."""

from cryptocast.tuning.outcome import COMPLETE, DIVERGED, PRUNED, Found, Tried
from cryptocast.tuning.trials import Objective, Report, search, space

__all__ = [
    "COMPLETE",
    "DIVERGED",
    "PRUNED",
    "Found",
    "Objective",
    "Report",
    "Tried",
    "search",
    "space",
]
