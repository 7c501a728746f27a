"""Optuna behind one function: a search that can be resumed and gives up hopeless trials."""

from cryptocast.tuning.outcome import COMPLETE, DIVERGED, PRUNED, SearchResult, Tried
from cryptocast.tuning.trials import Objective, Report, SearchPlan, search, space

__all__ = [
    "COMPLETE",
    "DIVERGED",
    "PRUNED",
    "Objective",
    "Report",
    "SearchPlan",
    "SearchResult",
    "Tried",
    "search",
    "space",
]
