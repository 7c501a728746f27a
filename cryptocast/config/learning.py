"""Settings of what a model is made from, and how: the sections from `[market]` to `[gate]`.

The text beside each field's type is the comment that `init` writes above the key.
"""

# Annotations are not strings here: the checks among them are called.
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta, field
from msgspec.structs import force_setattr

from cryptocast.config.section import (
    Count,
    Natural,
    NotNegative,
    Positive,
    Section,
    Strings,
    Uri,
    holds_no_secret,
    one_of,
    refers_to,
)
from cryptocast.values import INTERVAL_SECONDS

SMALLEST_PLAN = 500
"""CoinCap's free plan in credits per month, as a user measured it; its documents say 4,000."""


class MarketSettings(Section, frozen=True):
    """`[market]`."""

    symbols: Annotated[
        Strings, Meta(min_length=1), "what to forecast: BASE/QUOTE, or a full market id"
    ] = ("BTC/EUR",)
    interval: Annotated[
        str, one_of(*INTERVAL_SECONDS), "length of a candle: " + ", ".join(INTERVAL_SECONDS)
    ] = "5m"


def _is_root(value: str | None) -> None:
    """Check a root that may stand in a file: without a secret, and of an API that still exists."""
    holds_no_secret(value)  # first, because the refusals below repeat the value
    if value is not None and "api.coincap.io" in value:
        raise ValueError(
            "CoinCap v2 (api.coincap.io) was shut on 2025-03-31; leave base_url out for v3"
        )
    if value is not None and not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")


_BaseUrl = Annotated[str | None, _is_root]


class FallbackSettings(Section, frozen=True):
    """One `[[source.fallback]]`."""

    EXAMPLE: ClassVar[str] = 'name = "kraken"'

    name: Annotated[str, Meta(min_length=1), "a source to use while the first is down"]
    base_url: Annotated[_BaseUrl, "another root than the official one"] = None


def _names_columns(value: Mapping[str, str]) -> None:
    allowed = ("open_time", "open", "high", "low", "close", "volume")
    for key in value:
        if key not in allowed:
            raise ValueError(f"'{key}' is not one of {', '.join(allowed)}")


def _names_each_once(value: tuple[FallbackSettings, ...]) -> None:
    names = [fallback.name for fallback in value]
    if len(set(names)) < len(names):
        raise ValueError("must name each source once")


class SourceSettings(Section, frozen=True):
    """`[source]`."""

    name: Annotated[str, "where candles come from; auto: init chooses once"] = "auto"
    path: Annotated[
        Strings | str | None, "source file: a file, folder or glob, or a list of them"
    ] = None
    columns: Annotated[
        dict[str, str],
        _names_columns,
        "source file: names of its columns, as { open_time = 'ts', close = 'last' }",
    ] = field(default_factory=dict)
    base_url: Annotated[_BaseUrl, "HTTP sources: another root than the official one"] = None
    api_key: Annotated[
        str, refers_to("key"), "where the key is: env:NAME, in the environment or .env"
    ] = "env:COINCAP_API_KEY"
    slugs: Annotated[dict[str, str], "source coincap: its slugs of bases, { BTC = 'bitcoin' }"] = (
        field(default_factory=dict)
    )
    monthly_credits: Annotated[Count, "source coincap: what the plan pays for per month"] = (
        SMALLEST_PLAN
    )
    fallback: Annotated[
        tuple[FallbackSettings, ...],
        _names_each_once,
        "a source (name, base_url) to use while the first is down; repeatable",
    ] = ()
    seed: Annotated[Natural, "source sim: the seed of the simulated world"] = 0

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


class DataSettings(Section, frozen=True):
    """`[data]`."""

    days: Annotated[float, Meta(gt=0, le=3650), "days of candles to make a model from"] = 7
    test_bars: Annotated[Count, "the last candles: the test set"] = 24
    gate_bars: Annotated[Count, "candles before them that only the gate sees"] = 288
    validation_bars: Annotated[
        Count, "candles before those: early stopping, tuning and selection"
    ] = 288


def _are_even(levels: tuple[float, ...]) -> None:
    if len(levels) < 3 or not all(0 < level < 1 for level in levels):
        raise ValueError("must be at least 3 numbers between 0 and 1")
    spacing = (levels[-1] - levels[0]) / (len(levels) - 1)
    even = all(math.isclose(b - a, spacing, abs_tol=1e-9) for a, b in itertools.pairwise(levels))
    if spacing <= 0 or not even:
        raise ValueError("must be evenly spaced and rising")
    if not any(math.isclose(level, 0.5, abs_tol=1e-9) for level in levels):
        raise ValueError("must hold 0.5")
    if not math.isclose(levels[0] + levels[-1], 1, abs_tol=1e-9):
        raise ValueError("must be symmetric about 0.5")


class ModelSettings(Section, frozen=True):
    """`[model]`."""

    kind: Annotated[str, "the model to tune and train"] = "lstm"
    kinds: Annotated[
        Strings, "those that `init` and `retrain` compare, each of them tuned; empty: `kind`"
    ] = ()
    scope: Annotated[
        str, one_of("global", "market"), "global: one model for all markets; market: one each"
    ] = "global"
    start: Annotated[
        str,
        one_of("base", "scratch"),
        "base: from a network trained on other markets; scratch: from nothing",
    ] = "base"
    base: Annotated[
        str | None, "folder of that network (see `pretrain`); by default the one shipped"
    ] = None
    lookback: Annotated[int, Meta(ge=8, le=512), "candles that the network looks at"] = 64
    horizon: Annotated[int, Meta(ge=1, le=288), "how many steps ahead to forecast"] = 24
    levels: Annotated[
        tuple[float, ...], _are_even, "quantile levels: evenly spaced, symmetric, and including 0.5"
    ] = tuple(round(0.05 * i, 2) for i in range(1, 20))

    @property
    def compared(self) -> tuple[str, ...]:
        """The kinds that a pipeline trains, each once."""
        return tuple(dict.fromkeys(self.kinds)) or (self.kind,)

    def __post_init__(self) -> None:
        """Check, and round the levels: what was computed need not be exact to the last bit."""
        super().__post_init__()
        force_setattr(self, "levels", tuple(round(level, 9) for level in self.levels))


class TuneSettings(Section, frozen=True):
    """`[tune]`."""

    trials: Annotated[int, Meta(ge=0, le=10_000), "trials per study; 0: use the defaults"] = 10
    folds: Annotated[
        int, Meta(ge=1, le=20), "rolling origins that judge a trial; few candles allow fewer"
    ] = 3
    timeout_seconds: Annotated[Positive | None, "stop the study after this time"] = None
    storage: Annotated[Uri, "database of the studies; by default the workspace's optuna.db"] = None
    at_once: Annotated[
        int, Meta(ge=1, le=1000), "trials that know nothing of each other: for an engine"
    ] = 1


class PretrainSettings(Section, frozen=True):
    """`[pretrain]`: how `pretrain` learns one network from many markets."""

    hidden: Annotated[int, Meta(ge=1, le=1024), "width of the network's two layers"] = 64
    steps: Annotated[int, Meta(ge=50), "batches to learn from"] = 600
    batch_size: Annotated[Count, "origins per batch, as many of each market"] = 1024
    learning_rate: Annotated[Positive, "the peak of a one-cycle schedule"] = 3e-3
    weight_decay: Annotated[NotNegative, "how strongly AdamW shrinks the weights"] = 0.01
    dropout: Annotated[float, Meta(ge=0, lt=1), "share of units left out of a batch"] = 0.1
    validation_share: Annotated[
        float, Meta(gt=0, lt=1), "the newest share of the time, held out"
    ] = 0.3
    minutes: Annotated[Positive | None, "the longest that a training may take"] = None
    mixed_precision: Annotated[bool, "use bfloat16 if the GPU has it"] = True


class GateSettings(Section, frozen=True):
    """`[gate]`: when `promote` accepts. Skills and losses are shares of the opponent's CRPS."""

    confidence: Annotated[
        float, Meta(gt=0.5, lt=1), "how sure the gate must be of its bound on a loss"
    ] = 0.9
    worst_loss: Annotated[Positive, "refuse while a loss this large cannot be ruled out"] = 0.01
    least_skill: Annotated[float, "what the skill, shrunken for its noise, must exceed"] = 0.0
    prior_skill: Annotated[
        Positive, "usual size of a true skill: a noisier estimate is shrunken more"
    ] = 0.01
    least_origins: Annotated[int, Meta(ge=2), "with fewer unseen origins nothing is decided"] = 24
    block_bars: Annotated[Count | None, "length of the bootstrap's blocks; default 2 * horizon"] = (
        None
    )
    resamples: Annotated[int, Meta(ge=100, le=100_000), "resamples of the bootstrap"] = 2000
