"""Settings of how forecasts are served, watched and kept, from `[loop]` on; and all of them.

Each field's description is the comment that `init` writes above the key.
"""

# Annotations are not strings here: the checks among them are called.
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, ClassVar

from msgspec import Meta

from cryptocast.config.learning import (
    DataSettings,
    FallbackSettings,
    GateSettings,
    MarketSettings,
    ModelSettings,
    PretrainSettings,
    SourceSettings,
    TuneSettings,
)
from cryptocast.config.section import (
    REFERENCE,
    Count,
    Natural,
    NotNegative,
    Positive,
    Section,
    Strings,
    Uri,
    holds_no_secret,
    refers_to,
)
from cryptocast.errors import ConfigError
from cryptocast.values import ALERTS, Market


class LoopSettings(Section, frozen=True):
    """`[loop]`."""

    delay_seconds: Annotated[NotNegative, "how long after a close serve-loop ticks"] = 10
    wait_seconds: Annotated[NotNegative, "wait for the newest candle this long after the close"] = (
        30
    )
    late_seconds: Annotated[Positive, "a forecast issued later than this is late"] = 150
    max_stale_bars: Annotated[Natural, "if the newest is older, the random walk serves"] = 3
    backfill_missed: Annotated[bool, "make up for origins that passed while nothing ran"] = True
    # A flush keeps 2,016 origins: nothing older is known not to have been served.
    backfill_bars: Annotated[int, Meta(ge=1, le=2016), "how far back to make up for them"] = 288


class EngineSettings(Section, frozen=True):
    """`[engine]`: where heavy work runs; a tick never uses it."""

    kind: Annotated[str, "here, processes or ray (needs cryptocast[ray])"] = "here"
    address: Annotated[
        str | None,
        holds_no_secret,
        "ray: the cluster, HOST:PORT or auto; by default one of this machine",
    ] = None
    workers: Annotated[Count | None, "pieces of work at once; by default one per core"] = None


class CalibrationSettings(Section, frozen=True):
    """`[calibration]`."""

    enabled: Annotated[bool, "widen or narrow forecasts to keep live coverage at its level"] = True
    own_past: Annotated[bool, "let the market's own past widen or narrow their inner half too"] = (
        True
    )


class RetrainSettings(Section, frozen=True):
    """`[retrain]`: when `retrain --if-needed` runs."""

    cooldown_hours: Annotated[
        NotNegative, "hours to wait after an attempt; each failure in a row doubles them"
    ] = 12
    daily: Annotated[Count, "most attempts within 24 hours"] = 2
    auto: Annotated[
        bool, "let serve-loop renew a model that has declined, in a separate process"
    ] = False


class StoreSettings(Section, frozen=True):
    """`[store]`."""

    wait_seconds: Annotated[NotNegative, "how long to wait for a busy database"] = 30
    mirror: Annotated[bool, "keep a copy to read at any time, mirror.duckdb"] = False


class SimulateSettings(Section, frozen=True):
    """`[simulate]`."""

    store: Annotated[bool, "let each tick keep a summary of simulated paths, as an event"] = False


class MonitorSettings(Section, frozen=True):
    """`[monitor]`."""

    false_alarm_days: Annotated[
        Positive, "a market with sound forecasts is called declined once in this time"
    ] = 30
    least_origins: Annotated[
        int, Meta(ge=2), "with fewer outcomes of the serving model the verdict is unknown"
    ] = 24
    every_minutes: Annotated[Positive, "how often serve-loop runs the monitor"] = 60


class PruneSettings(Section, frozen=True):
    """`[prune]`: what `prune` removes, in days of age unless said otherwise."""

    logs_days: Annotated[float, Meta(ge=1), "remove logs that nobody wrote to for longer"] = 30
    runs_days: Annotated[
        float, Meta(ge=1), "remove MLflow's trials, and runs deleted by hand, that are older"
    ] = 90
    bundles_days: Annotated[
        float, Meta(ge=1), "remove frozen models that have not served for longer"
    ] = 90
    rows_days: Annotated[
        Annotated[float, Meta(ge=7)] | None,
        "remove older candles, forecasts, ticks and events; by default none",
    ] = None
    backups: Annotated[Count, "how many of the newest backups to keep"] = 7


class MlflowSettings(Section, frozen=True):
    """`[mlflow]`."""

    tracking_uri: Annotated[
        Uri, "tracking server or database; by default the workspace's mlflow.db"
    ] = None
    artifacts: Annotated[Uri, "folder or URI for the files of runs; another database needs it"] = (
        None
    )
    model: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9._-]+$"),
        "the registered model; a workspace that shares a server needs its own",
    ] = "cryptocast"


def _are_alerts(value: tuple[str, ...]) -> None:
    for kind in value:
        if kind not in ALERTS:
            raise ValueError(f"'{kind}' is not one of {', '.join(ALERTS)}")


class ReceiverSettings(Section, frozen=True):
    """One `[[notify.receiver]]`."""

    EXAMPLE: ClassVar[str] = 'name = "console"'

    # A URL that is written here by mistake is refused without being repeated.
    name: Annotated[str, Meta(pattern=r"^[a-z_]+$"), "console, file, webhook or apprise"]
    url: Annotated[str | None, refers_to("URL"), "webhook, apprise: where the URL is, env:NAME"] = (
        None
    )
    path: Annotated[str | None, "file: a file other than logs/alerts.log"] = None
    alerts: Annotated[Strings, _are_alerts, "the kinds of alerts that it gets"] = ALERTS


class NotifySettings(Section, frozen=True):
    """`[notify]`: who gets alerts, and when."""

    receiver: Annotated[
        tuple[ReceiverSettings, ...],
        "who gets alerts: name (console, file, webhook, apprise), url, path, alerts; repeatable",
    ] = ()
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=60), "longest wait of a tick for all receivers together"
    ] = 10
    source_dead_minutes: Annotated[
        Positive, "if the newest candle is older than this, its source counts as dead"
    ] = 30
    credits_share: Annotated[
        float, Meta(gt=0, le=1), "share of monthly_credits at which they are nearly spent"
    ] = 0.9
    missed_ticks: Annotated[Count, "how many missed forecasts are worth an alert"] = 3


def _is_prom(value: str | None) -> None:
    if value is not None and not value.endswith(".prom"):
        raise ValueError("must end in .prom: node exporter reads no other file")


class MetricsSettings(Section, frozen=True):
    """`[metrics]`."""

    file: Annotated[
        str | None, _is_prom, "file for metrics after each tick, for node exporter: /var/lib/x.prom"
    ] = None


TABLES: Mapping[str, type[Section]] = {"fallback": FallbackSettings, "receiver": ReceiverSettings}
"""The settings that are arrays of tables."""


class Settings(Section, frozen=True):
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


SECTIONS: Mapping[str, type[Section]] = Settings.__annotations__
"""The sections by name, in the order of the file."""


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
