"""How good forecasts are, and whether a difference is more than luck. Arrays in, figures out."""

from cryptocast.evaluation.gate import Comparison, Verdict, compare, decide
from cryptocast.evaluation.metrics import crps_bp
from cryptocast.evaluation.scores import Candidate, relative_crps, score

__all__ = [
    "Candidate",
    "Comparison",
    "Verdict",
    "compare",
    "crps_bp",
    "decide",
    "relative_crps",
    "score",
]
