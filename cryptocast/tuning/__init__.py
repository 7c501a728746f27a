"""Optuna behind one function: a search that can be resumed and gives up hopeless trials."""

from cryptocast.tuning.outcome import COMPLETE as COMPLETE
from cryptocast.tuning.outcome import DIVERGED as DIVERGED
from cryptocast.tuning.outcome import PRUNED as PRUNED
from cryptocast.tuning.outcome import SearchResult as SearchResult
from cryptocast.tuning.outcome import Tried as Tried
from cryptocast.tuning.trials import Objective as Objective
from cryptocast.tuning.trials import Report as Report
from cryptocast.tuning.trials import SearchPlan as SearchPlan
from cryptocast.tuning.trials import search as search
from cryptocast.tuning.trials import space as space
