"""Settings of what a model is made from, and how: the sections from `[market]` to `[gate]`.

Each field's description is the comment that `init` writes above the key.
"""

# Annotations are not strings here: pydantic would compile each of them, a twentieth of a tick.
import difflib
import itertools
import math
import re
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from cryptocast.errors import holds_secret
from cryptocast.values import INTERVAL_SECONDS

SMALLEST_PLAN = 500
"""CoinCap's free plan in credits per month, as a user measured it; its documents say 4,000."""

# TOML arrays arrive as lists; the settings are frozen, so they are kept as tuples.
Strings = Annotated[tuple[str, ...], Field(strict=False)]
_Floats = Annotated[tuple[float, ...], Field(strict=False)]

REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")


class PlainSecret(ValueError):
    """A secret was written where only its name may stand; its value is never repeated."""


def without_password(value: str | None) -> str | None:
    """Return a URI that may stand in a file, or `env:NAME`."""
    if value is not None and not REFERENCE.fullmatch(value) and holds_secret(value):
        raise PlainSecret("holds a user, password or query: write env:NAME and put it there")
    return value


Uri = Annotated[str | None, AfterValidator(without_password)]


class Section(BaseModel):
    """One table of the settings: frozen, and strict about keys and types."""

    EXAMPLE: ClassVar[str] = ""  # for an array of tables: what `init` writes as a comment

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _one_of(*known: str) -> AfterValidator:
    def checked(value: str) -> str:
        if value not in known:
            close = difflib.get_close_matches(value, known, 1)
            guess = f", did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"must be one of {', '.join(known)}{guess}")
        return value

    return AfterValidator(checked)


class MarketSettings(Section):
    """`[market]`."""

    symbols: Strings = Field(
        ("BTC/EUR",), min_length=1, description="what to forecast: BASE/QUOTE, or a full market id"
    )
    interval: Annotated[str, _one_of(*INTERVAL_SECONDS)] = Field(
        "5m", description="length of a candle: " + ", ".join(INTERVAL_SECONDS)
    )


def _checked_base_url(value: str | None) -> str | None:
    """Return a root that may stand in a file: without a secret, and of an API that still exists."""
    # First, because the refusals below repeat the value.
    if value is not None and holds_secret(value):
        raise PlainSecret("must hold neither a user, a password nor a query")
    if value is not None and "api.coincap.io" in value:
        raise ValueError(
            "CoinCap v2 (api.coincap.io) was shut on 2025-03-31; leave base_url out for v3"
        )
    if value is not None and not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value


_BaseUrl = Annotated[str | None, AfterValidator(_checked_base_url)]


class FallbackSettings(Section):
    """One `[[source.fallback]]`."""

    EXAMPLE: ClassVar[str] = 'name = "kraken"'

    name: str = Field(min_length=1, description="a source to use while the first is down")
    base_url: _BaseUrl = Field(None, description="another root than the official one")


_Fallbacks = Annotated[tuple[FallbackSettings, ...], Field(strict=False)]


class SourceSettings(Section):
    """`[source]`."""

    name: str = Field("auto", description="where candles come from; auto: init chooses once")
    path: Strings | str | None = Field(
        None, description="source file: a file, folder or glob, or a list of them"
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="source file: names of its columns, as { open_time = 'ts', close = 'last' }",
    )
    base_url: _BaseUrl = Field(None, description="HTTP sources: another root than the official one")
    api_key: str = Field(
        "env:COINCAP_API_KEY", description="where the key is: env:NAME, in the environment or .env"
    )
    slugs: dict[str, str] = Field(
        default_factory=dict, description="source coincap: its slugs of bases, { BTC = 'bitcoin' }"
    )
    monthly_credits: int = Field(
        SMALLEST_PLAN,
        ge=1,
        description="source coincap: what the plan pays for per month",
    )
    fallback: _Fallbacks = Field(
        (), description="a source (name, base_url) to use while the first is down; repeatable"
    )
    seed: int = Field(0, ge=0, description="source sim: the seed of the simulated world")

    @field_validator("api_key")
    @classmethod
    def _reference(cls, value: str) -> str:
        if not REFERENCE.fullmatch(value):
            # The value itself may be a key: it is not repeated.
            raise PlainSecret("must be written env:NAME, with the key itself in the environment")
        return value

    @field_validator("columns")
    @classmethod
    def _columns(cls, value: dict[str, str]) -> dict[str, str]:
        allowed = ("open_time", "open", "high", "low", "close", "volume")
        for key in value:
            if key not in allowed:
                raise ValueError(f"'{key}' is not one of {', '.join(allowed)}")
        return value

    @field_validator("fallback")
    @classmethod
    def _named_once(cls, value: tuple[FallbackSettings, ...]) -> tuple[FallbackSettings, ...]:
        names = [fallback.name for fallback in value]
        if len(set(names)) < len(names):
            raise ValueError("must name each source once")
        return value

    def root(self, source: str) -> str | None:
        """Return the root of a source: a fallback's own, or `base_url` of the configured source."""
        if source == self.name:
            return self.base_url
        return next((f.base_url for f in self.fallback if f.name == source), None)

    def paths(self) -> tuple[Path, ...]:
        """Return `path` as paths; a glob stays a glob."""
        if self.path is None:
            return ()
        return tuple(Path(p) for p in ((self.path,) if isinstance(self.path, str) else self.path))


class DataSettings(Section):
    """`[data]`."""

    days: float = Field(7, gt=0, le=3650, description="days of candles to make a model from")
    test_bars: int = Field(24, ge=1, description="the last candles: the test set")
    gate_bars: int = Field(288, ge=1, description="candles before them that only the gate sees")
    validation_bars: int = Field(
        288, ge=1, description="candles before those: early stopping, tuning and selection"
    )


class ModelSettings(Section):
    """`[model]`."""

    kind: str = Field("lstm", description="the model to tune and train")
    kinds: Strings = Field(
        (), description="those that `init` and `retrain` compare, each of them tuned; empty: `kind`"
    )
    scope: Annotated[str, _one_of("global", "market")] = Field(
        "global", description="global: one model for all markets; market: one each"
    )
    start: Annotated[str, _one_of("base", "scratch")] = Field(
        "base",
        description="base: from a network trained on other markets; scratch: from nothing",
    )
    base: str | None = Field(
        None,
        description="folder of that network (see `pretrain`); by default the one shipped",
    )
    lookback: int = Field(64, ge=8, le=512, description="candles that the network looks at")
    horizon: int = Field(24, ge=1, le=288, description="how many steps ahead to forecast")
    levels: _Floats = Field(
        tuple(round(0.05 * i, 2) for i in range(1, 20)),
        description="quantile levels: evenly spaced, symmetric, and including 0.5",
    )

    @property
    def compared(self) -> tuple[str, ...]:
        """The kinds that a pipeline trains, each once."""
        return tuple(dict.fromkeys(self.kinds)) or (self.kind,)

    @field_validator("levels")
    @classmethod
    def _even(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) < 3 or not all(0 < level < 1 for level in value):
            raise ValueError("must be at least 3 numbers between 0 and 1")
        spacing = (value[-1] - value[0]) / (len(value) - 1)
        even = all(math.isclose(b - a, spacing, abs_tol=1e-9) for a, b in itertools.pairwise(value))
        if spacing <= 0 or not even:
            raise ValueError("must be evenly spaced and rising")
        if not any(math.isclose(level, 0.5, abs_tol=1e-9) for level in value):
            raise ValueError("must hold 0.5")
        if not math.isclose(value[0] + value[-1], 1, abs_tol=1e-9):
            raise ValueError("must be symmetric about 0.5")
        return tuple(round(level, 9) for level in value)


class TuneSettings(Section):
    """`[tune]`."""

    trials: int = Field(10, ge=0, le=10_000, description="trials per study; 0: use the defaults")
    folds: int = Field(
        3,
        ge=1,
        le=20,
        description="rolling origins that judge a trial; few candles allow fewer",
    )
    timeout_seconds: float | None = Field(None, gt=0, description="stop the study after this time")
    storage: Uri = Field(
        None, description="database of the studies; by default the workspace's optuna.db"
    )
    at_once: int = Field(
        1, ge=1, le=1000, description="trials that know nothing of each other: for an engine"
    )


class PretrainSettings(Section):
    """`[pretrain]`: how `pretrain` learns one network from many markets."""

    hidden: int = Field(32, ge=1, le=1024, description="width of the network's two layers")
    steps: int = Field(600, ge=50, description="batches to learn from")
    batch_size: int = Field(1024, ge=1, description="origins per batch, as many of each market")
    learning_rate: float = Field(3e-3, gt=0, description="the peak of a one-cycle schedule")
    weight_decay: float = Field(0.01, ge=0, description="how strongly AdamW shrinks the weights")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of units left out of a batch")
    validation_share: float = Field(
        0.3, gt=0, lt=1, description="the newest share of the time, held out"
    )
    minutes: float | None = Field(None, gt=0, description="the longest that a training may take")
    mixed_precision: bool = Field(True, description="use bfloat16 if the GPU has it")


class GateSettings(Section):
    """`[gate]`: when `promote` accepts. Skills and losses are shares of the opponent's CRPS."""

    confidence: float = Field(
        0.9, gt=0.5, lt=1, description="how sure the gate must be of its bound on a loss"
    )
    worst_loss: float = Field(
        0.01, gt=0, description="refuse while a loss this large cannot be ruled out"
    )
    least_skill: float = Field(
        0.0, description="what the skill, shrunken for its noise, must exceed"
    )
    prior_skill: float = Field(
        0.01, gt=0, description="usual size of a true skill: a noisier estimate is shrunken more"
    )
    least_origins: int = Field(24, ge=2, description="with fewer unseen origins nothing is decided")
    block_bars: int | None = Field(
        None, ge=1, description="length of the bootstrap's blocks; default 2 * horizon"
    )
    resamples: int = Field(2000, ge=100, le=100_000, description="resamples of the bootstrap")
