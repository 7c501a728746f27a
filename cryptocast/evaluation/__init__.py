"""Scores of forecasts, and tests of whether a difference is more than luck. Arrays in."""

from cryptocast.evaluation.diagnosis import Diagnosis, Fan, diagnose
from cryptocast.evaluation.gate import Comparison, Verdict, compare, compare_series, decide
from cryptocast.evaluation.metrics import crps_bp
from cryptocast.evaluation.scores import Candidate, relative_crps, score

__all__ = [
    "Candidate",
    "Comparison",
    "Diagnosis",
    "Fan",
    "Verdict",
    "compare",
    "compare_series",
    "crps_bp",
    "decide",
    "diagnose",
    "relative_crps",
    "score",
]
