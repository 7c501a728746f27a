"""Whole price paths: a curve of the size of moves, and a library of paths to scale by it.

Served with numpy alone; the tick imports none of it.
"""

from __future__ import annotations

from cryptocast.paths.curve import ScaleCurve as ScaleCurve
from cryptocast.paths.library import Draw as Draw
from cryptocast.paths.library import past_bars as past_bars
from cryptocast.paths.model import FOLDER as FOLDER
from cryptocast.paths.model import PathCard as PathCard
from cryptocast.paths.model import PathModel as PathModel
from cryptocast.paths.model import beside as beside
from cryptocast.paths.model import curve_document as curve_document
from cryptocast.paths.model import load as load
from cryptocast.paths.model import own_curve as own_curve
from cryptocast.paths.model import shipped as shipped
from cryptocast.paths.model import shipped_intervals as shipped_intervals
from cryptocast.paths.predictors import day_bars as day_bars
from cryptocast.paths.questions import Estimate as Estimate
from cryptocast.paths.questions import LevelQuestion as LevelQuestion
from cryptocast.paths.questions import Likelihood as Likelihood
from cryptocast.paths.questions import PriceQuestion as PriceQuestion
from cryptocast.paths.questions import estimate as estimate
from cryptocast.paths.questions import likelihood as likelihood
from cryptocast.paths.questions import touches as touches
from cryptocast.paths.simulation import MarketPaths as MarketPaths
from cryptocast.paths.simulation import Simulation as Simulation
from cryptocast.paths.simulation import drawn as drawn
from cryptocast.paths.simulation import prices as prices
from cryptocast.paths.writing import ENDINGS as ENDINGS
from cryptocast.paths.writing import frame as frame
from cryptocast.paths.writing import write as write
from cryptocast.paths.writing import write_synth as write_synth
