"""Scores of forecasts, and tests of whether a difference is more than luck. Arrays in."""

from cryptocast.evaluation.diagnosis import Diagnosis as Diagnosis
from cryptocast.evaluation.diagnosis import Fan as Fan
from cryptocast.evaluation.diagnosis import diagnose as diagnose
from cryptocast.evaluation.gate import Comparison as Comparison
from cryptocast.evaluation.gate import MarketSkill as MarketSkill
from cryptocast.evaluation.gate import Verdict as Verdict
from cryptocast.evaluation.gate import compare as compare
from cryptocast.evaluation.gate import compare_series as compare_series
from cryptocast.evaluation.gate import decide as decide
from cryptocast.evaluation.gate import is_refuted as is_refuted
from cryptocast.evaluation.gate import market_skill as market_skill
from cryptocast.evaluation.metrics import crps_bp as crps_bp
from cryptocast.evaluation.scores import Candidate as Candidate
from cryptocast.evaluation.scores import relative_crps as relative_crps
from cryptocast.evaluation.scores import score as score
