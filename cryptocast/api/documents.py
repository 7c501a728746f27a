"""Documents that only the HTTP service has. The others are those of `--json`."""

from __future__ import annotations

from typing_extensions import TypedDict

from cryptocast.answers.candles import CandleDocument
from cryptocast.answers.forecasts import ForecastDocument
from cryptocast.answers.futures import EstimateDocument, LibraryDocument, LikelihoodDocument
from cryptocast.documents import Moment, documented


@documented
class FaultDocument(TypedDict):
    """One error."""

    code: str
    """Stable and dotted, for example `state.no_forecast`."""
    message: str
    """A sentence."""
    hint: str
    """A way out; may be empty."""


@documented
class ErrorDocument(TypedDict):
    """The answer to a request that failed."""

    error: FaultDocument
    """Its code, message and hint."""


@documented
class MarketDocument(TypedDict):
    """A market of the workspace."""

    market: str
    """`source:BASE/QUOTE:interval`."""
    symbol: str
    """`BASE/QUOTE`, as `symbol=` takes it."""
    source: str
    """Where its candles come from."""
    base: str
    """The currency that volumes are in."""
    quote: str
    """The currency that prices are in."""
    interval_seconds: int
    """The length of a bar."""
    rows: int
    """The number of stored candles."""
    first: Moment | None
    """The open time of the first."""
    last: Moment | None
    """The open time of the last."""
    origin: Moment | None
    """The origin of the newest forecast."""
    version: str | None
    """The version that is production."""


@documented
class MarketsDocument(TypedDict):
    """All markets of the workspace."""

    markets: list[MarketDocument]
    """In the order of `[market] symbols`."""


@documented
class ForecastsDocument(TypedDict):
    """Served forecasts."""

    forecasts: list[ForecastDocument]
    """One for each market that has one."""


@documented
class CandlesDocument(TypedDict):
    """A page of one market's candles."""

    market: str
    """`source:BASE/QUOTE:interval`."""
    interval_seconds: int
    """The length of a bar."""
    start: Moment
    """The page covers open times from here on ..."""
    end: Moment
    """... to before here. What lacks in between is not stored."""
    candles: list[CandleDocument]
    """Rising in `open_time`."""
    next: Moment | None
    """The `start` of the next page; null at the end."""


@documented
class ScoreDocument(TypedDict):
    """A model on one market at one step. A figure that does not exist is null."""

    model: str
    """Its kind: `lstm`, `random_walk`, `constant` ..."""
    version: str | None
    """Null for a baseline."""
    market: str
    """`source:BASE/QUOTE:interval`."""
    step: int | str
    """The number of bars ahead, or `all`."""
    in_sample: bool
    """Whether the version had learned from these candles."""
    n: int
    """Scored (origin, step) pairs."""
    effective_n: float | None
    """As many independent origins hold as much information."""
    crps_bp: float | None
    """Mean CRPS of log-returns, in basis points; lower is better."""
    mae_bp: float | None
    """Mean absolute error of the median, in basis points."""
    relative_mae: float | None
    """That error above the last price's: 1 is as good."""
    direction_accuracy: float | None
    """Share of right directions; zero moves are left out."""
    direction_low: float | None
    """The lower end of its 90 % interval."""
    direction_high: float | None
    """The upper end of its 90 % interval."""
    coverage80: float | None
    """Share of prices in the 80 % range."""
    coverage90: float | None
    """Share of prices in the 90 % range."""
    calibration: float | None
    """Mean over the levels of |share at or below it - level|."""
    qlike: float | None
    """QLIKE of the implied variance; lower is better."""
    skill_vs_random_walk: float | None
    """1 - CRPS / CRPS of the random walk, on the same origins: 0.01 is 1 % better."""
    skill_low: float | None
    """The lower end of its 90 % interval."""
    skill_high: float | None
    """The upper end of its 90 % interval."""
    skill_vs_constant: float | None
    """The same against the unconditional distribution."""
    p_value: float | None
    """One-sided Diebold-Mariano test against the random walk."""


@documented
class ScoresDocument(TypedDict):
    """The scores that one run of `evaluate` measured."""

    evaluation: int
    """Its number."""
    at: Moment
    """When it was made."""
    start: Moment
    """The first origin that was scored."""
    end: Moment
    """The end of those origins."""
    scores: list[ScoreDocument]
    """One entry for each model, market and step."""
    more: bool
    """Whether there are more than these 10,000: choose some by symbol and step."""


@documented
class ProbabilityDocument(TypedDict):
    """Answers about the future of a market or a basket."""

    origin: Moment
    """Where the paths begin."""
    paths: int
    """How many the answers are counted on."""
    seed: int
    """The same seed, forecasts and candles give the same answers."""
    library: LibraryDocument
    """The library that the paths are drawn from."""
    answers: list[LikelihoodDocument | EstimateDocument]
    """One for each question."""


@documented
class HealthDocument(TypedDict):
    """The health of what ticks: are forecasts made in time?"""

    status: str
    """`ok` or `late`."""
    judged_by: str
    """`serve-loop`: the loop's own file; `forecasts`: the newest forecast, where no loop runs."""
    awaited: Moment | None
    """When the next tick is, or was, due; null before the first."""
    late_seconds: float
    """By how much that has passed; up to 300 is a slow tick."""
