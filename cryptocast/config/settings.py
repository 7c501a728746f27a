"""What can be set. Each field's description is the comment that `init` writes above the key."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from cryptocast.errors import ConfigError
from cryptocast.values import ALERTS, INTERVAL_SECONDS, Market

_CREDENTIALS_IN_URL = re.compile(
    r"://[^/\s][^@\s]*@|[?&](password|passwd|token|secret|key)=", re.IGNORECASE
)

SMALLEST_PLAN = 500
"""CoinCap's free plan in credits a month, as a user measured it; its documents say 4,000."""

# TOML arrays arrive as lists; the settings are frozen, so they are kept as tuples.
_Strings = Annotated[tuple[str, ...], Field(strict=False)]
_Floats = Annotated[tuple[float, ...], Field(strict=False)]


_SCOPES = ("global", "market")
_STARTS = ("base", "scratch")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")


class Section(BaseModel):
    """One table of the settings: frozen, and strict about keys and types."""

    EXAMPLE: ClassVar[str] = ""  # of an array of tables: what `init` writes as a comment

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class MarketSettings(Section):
    """`[market]`."""

    symbols: _Strings = Field(
        ("BTC/EUR",), min_length=1, description="what to forecast: BASE/QUOTE, or a full market id"
    )
    interval: str = Field("5m", description="length of a candle: " + ", ".join(INTERVAL_SECONDS))

    @field_validator("interval")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in INTERVAL_SECONDS:
            raise ValueError("must be one of " + ", ".join(INTERVAL_SECONDS))
        return value


def _checked_base_url(value: str | None) -> str | None:
    """A root that may stand in a file: no secret in it, and not an API that is gone."""
    # First, because the refusals below repeat the value.
    if value is not None and ("@" in value or "?" in value):
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

    name: str = Field(min_length=1, description="a source that serves while the first is down")
    base_url: _BaseUrl = Field(None, description="another root than the official")


_Fallbacks = Annotated[tuple[FallbackSettings, ...], Field(strict=False)]


class SourceSettings(Section):
    """`[source]`."""

    name: str = Field("auto", description="where candles come from; auto: settled once, by init")
    path: _Strings | str | None = Field(
        None, description="source file: a file, folder, glob, or list of them"
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="source file: foreign column names, as { open_time = 'ts', close = 'last' }",
    )
    base_url: _BaseUrl = Field(None, description="HTTP sources: another root than the official")
    api_key: str = Field(
        "env:COINCAP_API_KEY", description="the key's place: env:NAME (environment or .env file)"
    )
    slugs: dict[str, str] = Field(
        default_factory=dict, description="source coincap: its slug of a base, { BTC = 'bitcoin' }"
    )
    monthly_credits: int = Field(
        SMALLEST_PLAN, ge=1, description="source coincap: what the plan pays for in a month"
    )
    fallback: _Fallbacks = Field(
        (), description="a source (name, base_url) that serves while the first is down; repeatable"
    )
    seed: int = Field(0, ge=0, description="source sim: the seed of the simulated world")

    @field_validator("api_key")
    @classmethod
    def _reference(cls, value: str) -> str:
        if not _REFERENCE.fullmatch(value):
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
        """The root of a source: a fallback's own, or `base_url` where it is the configured one."""
        if source == self.name:
            return self.base_url
        return next((f.base_url for f in self.fallback if f.name == source), None)

    def paths(self) -> tuple[Path, ...]:
        """`path` as paths, a glob still a glob."""
        if self.path is None:
            return ()
        return tuple(Path(p) for p in ((self.path,) if isinstance(self.path, str) else self.path))


class DataSettings(Section):
    """`[data]`."""

    days: float = Field(7, gt=0, le=3650, description="days of candles that a model is made from")
    test_bars: int = Field(24, ge=1, description="the last candles: the test set")
    gate_bars: int = Field(288, ge=1, description="candles before them that only the gate sees")
    validation_bars: int = Field(
        288, ge=1, description="candles before those: early stopping, tuning and selection"
    )


def _one_of(known: tuple[str, ...], value: str) -> str:
    if value not in known:
        close = difflib.get_close_matches(value, known, 1)
        guess = f", did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"must be one of {', '.join(known)}{guess}")
    return value


class ModelSettings(Section):
    """`[model]`."""

    kind: str = Field("lstm", description="the model that is tuned and trained")
    scope: str = Field("global", description="global: one model for all markets; market: one each")
    start: str = Field(
        "base",
        description="base: start at a network that knows other markets; scratch: at nothing",
    )
    base: str | None = Field(
        None, description="the folder of that network (`pretrain`); else the one that is shipped"
    )
    lookback: int = Field(64, ge=8, le=512, description="candles that the network looks at")
    horizon: int = Field(24, ge=1, le=288, description="steps ahead that are forecast")
    levels: _Floats = Field(
        tuple(round(0.05 * i, 2) for i in range(1, 20)),
        description="quantile levels: evenly spaced, symmetric, with 0.5 among them",
    )

    @field_validator("scope")
    @classmethod
    def _known_scope(cls, value: str) -> str:
        return _one_of(_SCOPES, value)

    @field_validator("start")
    @classmethod
    def _known_start(cls, value: str) -> str:
        return _one_of(_STARTS, value)

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

    trials: int = Field(10, ge=0, le=10_000, description="trials of a study; 0: the defaults")
    folds: int = Field(
        3, ge=1, le=20, description="rolling origins that judge a trial; few candles allow fewer"
    )
    timeout_seconds: float | None = Field(None, gt=0, description="stop the study after that long")


class PretrainSettings(Section):
    """`[pretrain]`: how `pretrain` learns one network from many markets."""

    hidden: int = Field(32, ge=1, le=1024, description="width of the network's two layers")
    steps: int = Field(1000, ge=50, description="batches that it learns from")
    batch_size: int = Field(1024, ge=1, description="origins of a batch, as many of each market")
    learning_rate: float = Field(3e-3, gt=0, description="the highest of a one-cycle schedule")
    weight_decay: float = Field(0.01, ge=0, description="how strongly AdamW shrinks the weights")
    validation_share: float = Field(
        0.3, gt=0, lt=1, description="the newest share of the time, held out to validate"
    )
    minutes: float | None = Field(None, gt=0, description="the most that a training may take")
    mixed_precision: bool = Field(True, description="bfloat16 where a GPU has it")


class GateSettings(Section):
    """`[gate]`: when `promote` says yes. Skills and losses are shares of the opponent's CRPS."""

    confidence: float = Field(
        0.9, gt=0.5, lt=1, description="how sure the gate must be of its bound of a loss"
    )
    worst_loss: float = Field(
        0.01, gt=0, description="refused while a loss this large cannot be ruled out"
    )
    least_skill: float = Field(
        0.0, description="the skill, shrunken for its noise, must lie above this"
    )
    prior_skill: float = Field(
        0.01, gt=0, description="usual size of a true skill: a noisier estimate is shrunk more"
    )
    least_origins: int = Field(24, ge=2, description="on fewer unseen origins nothing is decided")
    block_bars: int | None = Field(
        None, ge=1, description="length of the bootstrap's blocks; 2 * horizon when left out"
    )
    resamples: int = Field(2000, ge=100, le=100_000, description="resamples of the bootstrap")


class LoopSettings(Section):
    """`[loop]`."""

    delay_seconds: float = Field(10, ge=0, description="serve-loop ticks this long after a close")
    wait_seconds: float = Field(
        30, ge=0, description="after the close, wait this long for the newest candle"
    )
    late_seconds: float = Field(150, gt=0, description="a forecast issued later than this is late")
    max_stale_bars: int = Field(
        3, ge=0, description="an older newest candle makes the random walk serve"
    )
    backfill_missed: bool = Field(
        True, description="serve origins after all that passed while nothing ran"
    )
    # A flush keeps 2,016 origins: nothing older is known not to have been served.
    backfill_bars: int = Field(288, ge=1, le=2016, description="how many origins back that goes")


class CalibrationSettings(Section):
    """`[calibration]`."""

    enabled: bool = Field(True, description="keep live coverage at its level, online")


class RetrainSettings(Section):
    """`[retrain]`: when `retrain --if-needed` runs."""

    cooldown_hours: float = Field(
        12, ge=0, description="the wait after an attempt; doubled by each in a row that is in vain"
    )
    daily: int = Field(2, ge=1, description="at most so many attempts within 24 hours")
    auto: bool = Field(
        False, description="serve-loop renews a model that has declined, in a process of its own"
    )


class StoreSettings(Section):
    """`[store]`."""

    wait_seconds: float = Field(30, ge=0, description="how long a busy database is waited for")


class MonitorSettings(Section):
    """`[monitor]`."""

    false_alarm_days: float = Field(
        30, gt=0, description="a market whose forecasts are sound is called declined this rarely"
    )
    least_origins: int = Field(
        24, ge=2, description="with fewer outcomes of what serves the verdict is unknown"
    )
    every_minutes: float = Field(60, gt=0, description="serve-loop runs the monitor so often")


class PruneSettings(Section):
    """`[prune]`: what `prune` leaves, in days of age unless said otherwise."""

    logs_days: float = Field(30, ge=1, description="logs that nobody wrote to for longer go")
    runs_days: float = Field(
        90, ge=1, description="MLflow's trials, and runs deleted by hand, older than that go"
    )
    bundles_days: float = Field(
        90, ge=1, description="frozen models that have not served for longer go"
    )
    rows_days: float | None = Field(
        None, ge=7, description="candles, forecasts, ticks and events older than that go; else none"
    )
    backups: int = Field(7, ge=1, description="how many of the newest backups stay")


class MlflowSettings(Section):
    """`[mlflow]`."""

    tracking_uri: str | None = Field(
        None, description="tracking server or database; the workspace's mlflow.db when left out"
    )
    model: str = Field(
        "cryptocast",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="the registered model; a workspace that shares a server needs its own",
    )

    @field_validator("tracking_uri")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value is not None and _CREDENTIALS_IN_URL.search(value):
            raise PlainSecret("holds a user or password: write env:NAME and put it there")
        return value


class ReceiverSettings(Section):
    """One `[[notify.receiver]]`."""

    EXAMPLE: ClassVar[str] = 'name = "console"'

    # A URL that strays here is refused without being repeated.
    name: str = Field(pattern=r"^[a-z_]+$", description="console, file, webhook or apprise")
    url: str | None = Field(None, description="webhook, apprise: the URL's place, env:NAME")
    path: str | None = Field(None, description="file: another file than logs/alerts.log")
    alerts: _Strings = Field(ALERTS, description="the kinds that it is told")

    @field_validator("url")
    @classmethod
    def _reference(cls, value: str | None) -> str | None:
        if value is not None and not _REFERENCE.fullmatch(value):
            # Who knows such a URL may write to it: it is not repeated.
            raise PlainSecret("must be written env:NAME, with the URL itself in the environment")
        return value

    @field_validator("alerts")
    @classmethod
    def _kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for kind in value:
            if kind not in ALERTS:
                raise ValueError(f"'{kind}' is not one of {', '.join(ALERTS)}")
        return value


_Receivers = Annotated[tuple[ReceiverSettings, ...], Field(strict=False)]


class NotifySettings(Section):
    """`[notify]`: when somebody is told."""

    receiver: _Receivers = Field(
        (),
        description="who is told: name (console, file, webhook, apprise), url, path, alerts; "
        "repeatable",
    )
    timeout_seconds: float = Field(
        10, gt=0, le=60, description="a tick waits no longer than that for all receivers together"
    )
    source_dead_minutes: float = Field(
        30, gt=0, description="a newest candle older than that means that its source is dead"
    )
    credits_share: float = Field(
        0.9, gt=0, le=1, description="the share of monthly_credits at which they are nearly spent"
    )
    missed_ticks: int = Field(3, ge=1, description="so many missed forecasts are worth an alert")


class MetricsSettings(Section):
    """`[metrics]`."""

    file: str | None = Field(
        None, description="Prometheus metrics after each tick, for node exporter: /var/lib/x.prom"
    )

    @field_validator("file")
    @classmethod
    def _suffix(cls, value: str | None) -> str | None:
        if value is not None and not value.endswith(".prom"):
            raise ValueError("must end in .prom: node exporter reads no other file")
        return value


TABLES: Mapping[str, type[Section]] = {"fallback": FallbackSettings, "receiver": ReceiverSettings}
"""The settings that are arrays of tables."""


class Settings(Section):
    """All settings of a workspace."""

    market: MarketSettings = MarketSettings()
    source: SourceSettings = SourceSettings()
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    tune: TuneSettings = TuneSettings()
    pretrain: PretrainSettings = PretrainSettings()
    gate: GateSettings = GateSettings()
    loop: LoopSettings = LoopSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    retrain: RetrainSettings = RetrainSettings()
    store: StoreSettings = StoreSettings()
    monitor: MonitorSettings = MonitorSettings()
    prune: PruneSettings = PruneSettings()
    notify: NotifySettings = NotifySettings()
    metrics: MetricsSettings = MetricsSettings()
    mlflow: MlflowSettings = MlflowSettings()

    def markets(self) -> tuple[Market, ...]:
        """The configured markets, in order, each once.

        Raises ConfigError for a malformed symbol, or where their intervals differ: one
        model serves them all.
        """
        found = [
            Market.of(symbol, self.source.name, self.market.interval)
            for symbol in self.market.symbols
        ]
        for market in found:
            if market.interval != found[0].interval:
                raise ConfigError(
                    f"{market.id} and {found[0].id} differ in interval",
                    code="config.interval",
                    hint="one workspace holds one interval; make another with cryptocast init",
                )
        return tuple(dict.fromkeys(found))


class PlainSecret(ValueError):
    """A secret was written where only its name may stand; its value is never repeated."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The environment and the workspace's `.env` file: the only places secrets live."""

    environ: Mapping[str, str] = field(repr=False)

    def resolve(self, reference: str) -> str | None:
        """The secret behind `env:NAME`, or None where it is not set."""
        return self.environ.get(reference.removeprefix("env:")) or None
