"""The frozen values that flow between rooms.

Moments on the candle grid (open_time, origin, target_time) are whole Unix seconds (int);
instants (now, issued_at) are Unix seconds (float). Both are UTC. `iso` prints them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryptocast.errors import ConfigError, UsageError

FloatArray = NDArray[np.float64]
InputArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

INTERVAL_SECONDS = {
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "6h": 21600,
    "12h": 43200,
    "1d": 86400,
}

DAY_SECONDS = 86_400
"""Length of a day in seconds."""

BUILTIN_RANDOM_WALK = "builtin:random_walk"
"""The version name of the random walk that needs no training and no bundle."""

OPPONENT_WALK = "the random walk"
"""The name of the random walk in the gate's comparisons, which deployments keep."""

MIN_CANDLES = 24
"""The least number of candles that a forecast needs (else exit 3)."""

FEATURES = (
    "return",
    "range",
    "fast_volatility",
    "medium_volatility",
    "slow_volatility",
    "fast_range_volatility",
    "range_volatility",
    "size",
    "fast_size",
    "medium_size",
    "slow_size",
    "downside",
    "fast_downside",
    "medium_downside",
    "slow_downside",
    "volume",
    "place",
    "missing",
    "level",
    "day_sin",
    "day_cos",
    "week_sin",
    "week_cos",
    "next_profile",
    "near_profile",
    "middle_profile",
    "far_profile",
    "volatility_1d",
    "volatility_3d",
    "volatility_7d",
    "volatility_28d",
    "walk_8",
    "walk_24",
)
"""The features of a bar that a model sees, in the order of the last axis of `Windows.inputs`."""

ALERTS = ("declined", "promotion", "fallback", "source", "credits", "missed", "shift")
"""The kinds of alerts; `cryptocast notify --test` sends one of kind `test`."""

LEVEL_UNIT = 1e-3
"""The feature `level` is the logarithm of sigma in this unit: 10 bp a bar."""

_SYMBOL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}")
_CONTRACT = re.compile(r"/[^:]*:[A-Za-z]")  # the currency in which it is settled


def iso(moment: float) -> str:
    """Return Unix seconds as ISO 8601 with `Z`, in whole seconds unless there is a fraction."""
    whole = float(moment).is_integer()
    stamp = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)
    return stamp.isoformat(timespec="seconds" if whole else "milliseconds") + "Z"


def quantile_name(level: float) -> str:
    """Return the name of a quantile's column in tables: `q0.05`."""
    return f"q{level:g}"


_FIRST_YEAR, _LAST_YEAR = 1971, 2261  # a lookback before the first, and the last of nanoseconds


def parse_time(text: str) -> int:
    """Return an ISO 8601 date or time as Unix seconds; without an offset it is UTC.

    Raises UsageError if the text is not a time.
    """
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is not a time", hint="write it as 2024-06-03T00:00:00Z"
        ) from None
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=UTC)
    if not _FIRST_YEAR <= stamp.year <= _LAST_YEAR:
        raise UsageError(
            f"'{text}' is not a time of the years {_FIRST_YEAR} to {_LAST_YEAR}",
            hint="write it as 2024-06-03T00:00:00Z",
        )
    return math.floor(stamp.timestamp())


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one slash: pathlib joins the two


def parse_path(text: str | Path) -> Path:
    """Return a path on this machine, with `~` written out.

    Raises UsageError for an address, a NUL character, and a user that does not exist.
    """
    if _ADDRESS.match(str(text)):
        # It may hold a password: it is not repeated.
        raise UsageError(
            "an address stands where a path belongs",
            code="usage.path",
            hint="name a file or folder of this machine",
        )
    if "\0" in str(text):
        raise UsageError("a path holds a NUL character", code="usage.path", hint="write it anew")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{text} cannot be found: nobody's home folder is known by that name",
            code="usage.path",
            hint="write the path without ~",
        ) from None


@dataclass(frozen=True, slots=True, order=True)
class Market:
    """One traded pair at one source and interval; its id is `source:BASE/QUOTE:interval`."""

    source: str
    base: str
    quote: str
    interval: str

    @classmethod
    def of(cls, symbol: str, source: str, interval: str) -> Market:
        """Make a market from a symbol (`BTC/EUR`) or a full id (`kraken:BTC/EUR:5m`).

        Raises ConfigError for a malformed symbol or an unknown interval.
        """
        if _CONTRACT.search(symbol):
            raise ConfigError(
                f"'{symbol}' is a contract with a currency of its own, not a spot market",
                code="config.symbol",
                hint="write BASE/QUOTE alone, for example BTC/EUR",
            )
        if symbol.count(":") >= 2:
            source, symbol, interval = symbol.rsplit(":", 2)
        if not _SYMBOL.fullmatch(symbol):
            raise ConfigError(
                f"'{symbol}' is not a symbol",
                code="config.symbol",
                hint="write BASE/QUOTE in capitals, for example BTC/EUR",
            )
        if interval not in INTERVAL_SECONDS:
            raise ConfigError(
                f"'{interval}' is not an interval",
                code="config.interval",
                hint="one of " + ", ".join(INTERVAL_SECONDS),
            )
        base, quote = symbol.split("/")
        return cls(source, base, quote, interval)

    @property
    def symbol(self) -> str:
        """The symbol `BASE/QUOTE`."""
        return f"{self.base}/{self.quote}"

    @property
    def id(self) -> str:
        """The key of the market everywhere: `source:BASE/QUOTE:interval`."""
        return f"{self.source}:{self.symbol}:{self.interval}"

    @property
    def interval_seconds(self) -> int:
        """Length of one bar in seconds."""
        return INTERVAL_SECONDS[self.interval]

    def floor(self, moment: float) -> int:
        """Return the last moment on the grid at or before `moment`."""
        return math.floor(moment) // self.interval_seconds * self.interval_seconds

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Candles of one market as numpy arrays of one length N.

    From a source they may be unaligned, unordered or repeated; after `candles.normalise` they
    are aligned, rising in `open_time`, unique, closed and sane.
    """

    open_time: IntArray  # [N] Unix seconds
    open: FloatArray  # [N] quote currency
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray  # [N] base currency; NaN if the source has none

    def __len__(self) -> int:
        return len(self.open_time)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Candles:
        """Return the rows that a numpy index selects."""
        return Candles(*(getattr(self, column.name)[index] for column in fields(self)))

    def fingerprint(self) -> str:
        """Return a hash of all values: equal candles have equal texts."""
        digest = hashlib.sha256()
        for column in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, column.name)).tobytes())
        return digest.hexdigest()[:16]

    @classmethod
    def empty(cls) -> Candles:
        """Return no candle at all."""
        return cls.of([], [], [], [], [], [])

    @classmethod
    def of(
        cls,
        open_time: Sequence[int] | IntArray,
        open: Sequence[float] | FloatArray,
        high: Sequence[float] | FloatArray,
        low: Sequence[float] | FloatArray,
        close: Sequence[float] | FloatArray,
        volume: Sequence[float] | FloatArray | None = None,
    ) -> Candles:
        """Make candles from plain sequences; without a volume it is NaN."""
        times = np.asarray(open_time, dtype=np.int64)
        missing = np.full(len(times), np.nan) if volume is None else volume
        prices = (np.asarray(a, dtype=np.float64) for a in (open, high, low, close, missing))
        return cls(times, *prices)

    @classmethod
    def concatenate(cls, parts: Sequence[Candles]) -> Candles:
        """Return all rows of all parts, in the given order."""
        if not parts:
            return cls.empty()
        names = [column.name for column in fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Page:
    """One well-formed answer of a source: every candle it has with open time in `[start, end)`.

    `candles` are as the source gave them; a bar in `[start, end)` that is not among them does
    not exist at the source (yet).
    """

    start: int
    end: int
    candles: Candles
    skew_seconds: float | None = None  # the server's clock minus ours when it answered
    derived: bool = False  # computed from other candles, not from trades
    remarks: tuple[str, ...] = ()  # what a person should know of where the candles come from


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of missing bars: open times `start <= t < end`, `bars` of them."""

    start: int
    end: int
    bars: int


OK, WARNING, FAILED = "ok", "warning", "failed"
"""The statuses of a check."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: its status, and what to do about it."""

    name: str
    status: str
    detail: str
    hint: str = ""
    gaps: tuple[Gap, ...] = ()  # the gaps of a market, if the check is about them


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """N origins of one or several markets: the inputs known at each, and the outcomes.

    `inputs` is a strided view into the features: it costs no memory until it is batched.
    """

    inputs: InputArray  # [N, L, F]
    sigma: FloatArray  # [N] volatility of one bar at the origin
    log_close: FloatArray  # [N] log of the last close
    origin: IntArray  # [N] Unix seconds
    targets: FloatArray  # [N, H] log-return from the last close to step h; NaN if unknown
    market: NDArray[np.intp]  # [N] index of the market

    def __len__(self) -> int:
        return len(self.origin)

    def take(self, index: slice | IntArray) -> Windows:
        """Return the origins that an index selects; with a slice `inputs` stay a view."""
        return Windows(*(getattr(self, column.name)[index] for column in fields(self)))

    def newest(self) -> Windows:
        """Return the same origins with the newest bar alone: a copy that keeps no other alive."""
        return replace(self, inputs=self.inputs[:, -1:].copy())

    def unit(self, horizon: int) -> FloatArray:
        """Return the unit of each step [N, H]: the volatility of a bar times sqrt(step)."""
        return np.asarray(self.sigma[:, None] * np.sqrt(np.arange(1, horizon + 1)))

    @property
    def standardised(self) -> FloatArray:
        """The targets [N, H] in units of each step."""
        return np.asarray(self.targets / self.unit(self.targets.shape[1]))

    @classmethod
    def concatenate(cls, parts: Sequence[Windows]) -> Windows:
        """Return all origins of all parts."""
        if len(parts) == 1:
            return parts[0]
        names = [column.name for column in fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))

    @classmethod
    def filled(cls, parts: Iterable[Windows], counts: Sequence[int]) -> Windows:
        """Return all origins of parts, at least one, of which `counts` are the lengths.

        Each part is asked for when the one before it has been copied, so that none is held beside
        the result, as `concatenate` holds them all. Raises ValueError if a length is another.
        """
        ends = np.cumsum(counts)
        columns: list[NDArray[Any]] = []
        for part, end, count in zip(parts, ends, counts, strict=True):
            own = [getattr(part, column.name) for column in fields(cls)]
            columns = columns or [np.empty((ends[-1], *c.shape[1:]), dtype=c.dtype) for c in own]
            for whole, values in zip(columns, own, strict=True):
                whole[end - count : end] = values
        return cls(*columns)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a training: mean pinball losses in units of sigma * sqrt(step)."""

    number: int
    train_loss: float
    validation_loss: float
    windows_per_second: float


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A file of candles: its market, named by the file, and its candles as they are in it."""

    file: Path
    market: Market  # of source `file`, with the interval of its rows
    candles: Candles


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """The ranges of one version's sets at N targets of one market, as served: widened."""

    origin: IntArray  # [N] of the set, Unix seconds
    step: IntArray  # [N] of the target, from 1
    low: FloatArray  # [N] the price at the lowest level
    high: FloatArray  # [N] at the highest
    inner_low: FloatArray  # [N] at the ends of the inner range
    inner_high: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """The state that calibration goes on from, of one market and one version.

    This is the widening of the newest set, and the ranges of all sets at the targets after the
    newest candle that this set knew.
    """

    scale: FloatArray  # [H] of the newest set
    body: FloatArray  # [H] of the newest set
    origin: int  # of the newest set
    known_until: int  # close of the newest candle that the newest set knew
    ranges: Ranges  # by origin, then step


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model: an ONNX graph from `inputs` [N, L, F] to `quantiles` [N, H, Q].

    The quantiles are in units of sigma * sqrt(step) and strictly rising in the level.
    """

    kind: str
    params: Mapping[str, float | int | str]
    onnx: bytes
    history: tuple[Epoch, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model behind a forecast: version, kind, and why it stood in for another (or None)."""

    version: str
    kind: str
    fallback: str | None

    def __str__(self) -> str:
        stands_in = f", standing in: {self.fallback}" if self.fallback else ""
        return f"version {self.version} ({self.kind}){stands_in}"


@dataclass(frozen=True, slots=True, eq=False)
class ForecastSet:
    """The forecasts of one market at one origin by one model: whole or absent.

    `quantiles` [H, Q] are prices in quote currency, strictly rising in the level.
    """

    market: Market
    origin: int
    issued_at: float
    last_close: float
    stale_bars: int
    mode: str  # live, late, backfill, replay
    model: ServedModel
    levels: tuple[float, ...]  # [Q]
    quantiles: FloatArray  # [H, Q]
    scale: FloatArray | None = None  # [H] calibration's widening about the median; None: none
    body: FloatArray | None = None  # [H] that of the inner half; None: none

    @property
    def late(self) -> bool:
        """True if it was issued later after its origin than `[loop] late_seconds`."""
        return self.mode == "late"

    @property
    def narrowest(self) -> float:
        """The width of its narrowest range, from the lowest to the highest quantile of a step."""
        return float(np.ptp(self.quantiles, axis=1).min())

    def ends(self, share: float) -> tuple[int, int] | None:
        """Return where the ends of a central range lie among the levels; None if one does not."""
        low, high = round((1 - share) / 2, 9), round((1 + share) / 2, 9)
        if low not in self.levels or high not in self.levels:
            return None
        return self.levels.index(low), self.levels.index(high)

    def target_time(self, step: int) -> int:
        """Return the moment whose price step `step` (1..H) forecasts."""
        return self.origin + step * self.market.interval_seconds


@dataclass(frozen=True, slots=True)
class Deployment:
    """One row of `deployments`; for each market the row with the greatest id rules."""

    id: int
    at: float
    market: str  # an id, or `*`: all of them
    model_version: str
    previous_version: str | None
    action: str  # promote, force, rollback
    reason: str
    scores: str  # JSON


@dataclass(frozen=True, slots=True)
class Score:
    """Served forecasts against the random walk: per step, per day, per version or in total."""

    n: int  # scored (origin, step) pairs
    crps_bp: float | None
    walk_bp: float | None  # of the random walk on the same pairs
    skill: float | None
    coverage80: float | None
    coverage90: float | None
    low: float | None = None  # the 90 % interval of the skill
    high: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rolling:
    """Skill over a window that moves along the scored origins, with its 90 % interval."""

    window_bars: int
    times: IntArray  # [T] last origin of the window
    skill: FloatArray  # [T]
    low: FloatArray  # [T]
    high: FloatArray  # [T]


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Shares of outcomes inside a range, for each of K steps or hours."""

    n: IntArray  # [K] outcomes
    share: FloatArray  # [K]
    low: FloatArray  # [K] 90 % interval
    high: FloatArray  # [K]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Where in the forecast distributions of one step the prices fell."""

    step: int
    n: int
    alone: float  # number of independent outcomes that would carry as much information
    below: FloatArray  # [Q] share of targets at or below each quantile
    between: FloatArray  # [Q + 1] share between neighbouring quantiles (the PIT's histogram)


@dataclass(frozen=True, slots=True)
class Event:
    """One row of `events`."""

    at: float
    kind: str
    market: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MonitorVerdict:
    """A verdict of the monitor: healthy, watch, declined or unknown."""

    at: float
    verdict: str
    reason: str

    @classmethod
    def of(cls, event: Event | None) -> MonitorVerdict | None:
        """Return the verdict that an event holds, or None without an event."""
        if event is None:
            return None
        verdict, reason = (str(event.detail.get(name) or "") for name in ("verdict", "reason"))
        return cls(event.at, verdict or "unknown", reason)


@dataclass(frozen=True, slots=True)
class Alert:
    """A message to receivers. The texts are plain, and may hold whatever a person once typed."""

    at: float
    kind: str  # one of ALERTS, or `test`
    state: str  # problem, recovered, news
    title: str
    text: str
    workspace: str  # the name of its folder
    markets: tuple[str, ...] = ()  # ids of the markets that it is about; empty: all

    @property
    def line(self) -> str:
        """The message as one line without control characters, which are unsafe for a terminal."""
        line = f"{iso(round(self.at))} {self.workspace}: {self.title}: {self.text}"
        return " ".join("".join(c if c.isprintable() else " " for c in line).split())
