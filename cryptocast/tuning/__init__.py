"""Optuna behind one function: a search that can be resumed and gives up hopeless trials."""

from cryptocast.tuning.outcome import COMPLETE as COMPLETE
from cryptocast.tuning.outcome import DIVERGED as DIVERGED
from cryptocast.tuning.outcome import PRUNED as PRUNED
from cryptocast.tuning.outcome import EndedTrial as EndedTrial
from cryptocast.tuning.outcome import FoldScore as FoldScore
from cryptocast.tuning.outcome import SearchResult as SearchResult
from cryptocast.tuning.outcome import TrialFold as TrialFold
from cryptocast.tuning.outcome import Tried as Tried
from cryptocast.tuning.rounds import Judge as Judge
from cryptocast.tuning.trials import SearchPlan as SearchPlan
from cryptocast.tuning.trials import search as search
from cryptocast.tuning.trials import space as space
