# What type checkers and editors see: the public names, which `__init__.py` loads when used.
from cryptocast.answers.notebook import Notebook as Workspace
from cryptocast.clock import VirtualClock as VirtualClock
from cryptocast.errors import CryptocastError as CryptocastError
from cryptocast.paths import Simulation as Simulation
from cryptocast.values import Candles as Candles
from cryptocast.values import ForecastSet as ForecastSet
from cryptocast.values import Market as Market
from cryptocast.workflows.forecast import tick as forecast_once
from cryptocast.workflows.serving.tick import TickReport as TickReport
from cryptocast.workflows.simulate import simulate as simulate

__all__ = [
    "Candles",
    "CryptocastError",
    "ForecastSet",
    "Market",
    "Simulation",
    "TickReport",
    "VirtualClock",
    "Workspace",
    "__version__",
    "forecast_once",
    "simulate",
]

__version__: str
