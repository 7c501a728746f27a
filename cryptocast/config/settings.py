"""Settings of how forecasts are served, watched and kept, from `[loop]` on; and all of them.

Each field's description is the comment that `init` writes above the key.
"""

# Annotations are not strings here: pydantic would compile each of them, a twentieth of a tick.
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from cryptocast.config.learning import (
    REFERENCE,
    DataSettings,
    FallbackSettings,
    GateSettings,
    MarketSettings,
    ModelSettings,
    PlainSecret,
    PretrainSettings,
    Section,
    SourceSettings,
    Strings,
    TuneSettings,
    Uri,
)
from cryptocast.errors import ConfigError, holds_secret
from cryptocast.values import ALERTS, Market


class LoopSettings(Section):
    """`[loop]`."""

    delay_seconds: float = Field(10, ge=0, description="how long after a close serve-loop ticks")
    wait_seconds: float = Field(
        30, ge=0, description="wait for the newest candle this long after the close"
    )
    late_seconds: float = Field(150, gt=0, description="a forecast issued later than this is late")
    max_stale_bars: int = Field(
        3, ge=0, description="if the newest is older, the random walk serves"
    )
    backfill_missed: bool = Field(
        True, description="make up for origins that passed while nothing ran"
    )
    # A flush keeps 2,016 origins: nothing older is known not to have been served.
    backfill_bars: int = Field(288, ge=1, le=2016, description="how far back to make up for them")


class EngineSettings(Section):
    """`[engine]`: where heavy work runs; a tick never uses it."""

    kind: str = Field("here", description="here, processes or ray (needs cryptocast[ray])")
    address: str | None = Field(
        None, description="ray: the cluster, HOST:PORT or auto; by default one of this machine"
    )
    workers: int | None = Field(
        None, ge=1, description="pieces of work at once; by default one per core"
    )

    @field_validator("address")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value is not None and holds_secret(value):
            raise PlainSecret("must hold neither a user, a password nor a query")
        return value


class CalibrationSettings(Section):
    """`[calibration]`."""

    enabled: bool = Field(
        True, description="widen or narrow forecasts to keep live coverage at its level"
    )
    own_past: bool = Field(
        True, description="let the market's own past widen or narrow their inner half too"
    )


class RetrainSettings(Section):
    """`[retrain]`: when `retrain --if-needed` runs."""

    cooldown_hours: float = Field(
        12, ge=0, description="hours to wait after an attempt; each failure in a row doubles them"
    )
    daily: int = Field(2, ge=1, description="most attempts within 24 hours")
    auto: bool = Field(
        False, description="let serve-loop renew a model that has declined, in a separate process"
    )


class StoreSettings(Section):
    """`[store]`."""

    wait_seconds: float = Field(30, ge=0, description="how long to wait for a busy database")
    mirror: bool = Field(False, description="keep a copy to read at any time, mirror.duckdb")


class SimulateSettings(Section):
    """`[simulate]`."""

    store: bool = Field(
        False, description="let each tick keep a summary of simulated paths, as an event"
    )


class MonitorSettings(Section):
    """`[monitor]`."""

    false_alarm_days: float = Field(
        30, gt=0, description="a market with sound forecasts is called declined once in this time"
    )
    least_origins: int = Field(
        24, ge=2, description="with fewer outcomes of the serving model the verdict is unknown"
    )
    every_minutes: float = Field(60, gt=0, description="how often serve-loop runs the monitor")


class PruneSettings(Section):
    """`[prune]`: what `prune` removes, in days of age unless said otherwise."""

    logs_days: float = Field(30, ge=1, description="remove logs that nobody wrote to for longer")
    runs_days: float = Field(
        90, ge=1, description="remove MLflow's trials, and runs deleted by hand, that are older"
    )
    bundles_days: float = Field(
        90, ge=1, description="remove frozen models that have not served for longer"
    )
    rows_days: float | None = Field(
        None, ge=7, description="remove older candles, forecasts, ticks and events; by default none"
    )
    backups: int = Field(7, ge=1, description="how many of the newest backups to keep")


class MlflowSettings(Section):
    """`[mlflow]`."""

    tracking_uri: Uri = Field(
        None, description="tracking server or database; by default the workspace's mlflow.db"
    )
    artifacts: Uri = Field(
        None, description="folder or URI for the files of runs; another database needs it"
    )
    model: str = Field(
        "cryptocast",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="the registered model; a workspace that shares a server needs its own",
    )


class ReceiverSettings(Section):
    """One `[[notify.receiver]]`."""

    EXAMPLE: ClassVar[str] = 'name = "console"'

    # A URL that is written here by mistake is refused without being repeated.
    name: str = Field(pattern=r"^[a-z_]+$", description="console, file, webhook or apprise")
    url: str | None = Field(None, description="webhook, apprise: where the URL is, env:NAME")
    path: str | None = Field(None, description="file: a file other than logs/alerts.log")
    alerts: Strings = Field(ALERTS, description="the kinds of alerts that it gets")

    @field_validator("url")
    @classmethod
    def _reference(cls, value: str | None) -> str | None:
        if value is not None and not REFERENCE.fullmatch(value):
            # Anybody who knows such a URL may write to it: it is not repeated.
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
    """`[notify]`: who gets alerts, and when."""

    receiver: _Receivers = Field(
        (),
        description="who gets alerts: name (console, file, webhook, apprise), url, path, alerts; "
        "repeatable",
    )
    timeout_seconds: float = Field(
        10, gt=0, le=60, description="longest wait of a tick for all receivers together"
    )
    source_dead_minutes: float = Field(
        30, gt=0, description="if the newest candle is older than this, its source counts as dead"
    )
    credits_share: float = Field(
        0.9, gt=0, le=1, description="share of monthly_credits at which they are nearly spent"
    )
    missed_ticks: int = Field(3, ge=1, description="how many missed forecasts are worth an alert")


class MetricsSettings(Section):
    """`[metrics]`."""

    file: str | None = Field(
        None,
        description="file for metrics after each tick, for node exporter: /var/lib/x.prom",
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
    engine: EngineSettings = EngineSettings()
    loop: LoopSettings = LoopSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    retrain: RetrainSettings = RetrainSettings()
    store: StoreSettings = StoreSettings()
    simulate: SimulateSettings = SimulateSettings()
    monitor: MonitorSettings = MonitorSettings()
    prune: PruneSettings = PruneSettings()
    notify: NotifySettings = NotifySettings()
    metrics: MetricsSettings = MetricsSettings()
    mlflow: MlflowSettings = MlflowSettings()

    def markets(self) -> tuple[Market, ...]:
        """Return the configured markets, in order, each once.

        Raises ConfigError for a malformed symbol, or if their intervals differ: one model
        serves them all.
        """
        return _markets(self.market.symbols, self.source.name, self.market.interval)


@lru_cache(maxsize=4)  # a tick of thousands asks several times
def _markets(symbols: tuple[str, ...], source: str, interval: str) -> tuple[Market, ...]:
    found = [Market.of(symbol, source, interval) for symbol in symbols]
    for market in found:
        if market.interval != found[0].interval:
            raise ConfigError(
                f"{market.id} and {found[0].id} differ in interval",
                code="config.interval",
                hint="one workspace holds one interval; make another with cryptocast init",
            )
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Secrets:
    """The environment and the workspace's `.env` file: the only places secrets live."""

    environ: Mapping[str, str] = field(repr=False)

    def resolve(self, reference: str) -> str | None:
        """Return the secret behind `env:NAME`, or None if it is not set."""
        return self.environ.get(reference.removeprefix("env:")) or None

    def reveal(self, key: str, value: str | None) -> str | None:
        """Return the value of a setting, or what its `env:NAME` stands for.

        Raises ConfigError if that is not set.
        """
        if value is None or not REFERENCE.fullmatch(value):
            return value
        secret = self.resolve(value)
        if secret is None:
            raise ConfigError(
                f"{key} names {value}, which is not set",
                code="config.secret",
                hint=f"export {value.removeprefix('env:')}=... or put it into .env",
            )
        return secret
