"""Wire a folder to its settings, store, sources, registry, clock, progress and steps."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from msgspec.structs import replace

from cryptocast import config, plugins
from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, Settings
from cryptocast.errors import ConfigError, StateError, UsageError
from cryptocast.metering import Budget
from cryptocast.seams import CandleSource, Clock, Engine, Inline, Progress, Silence, Steps
from cryptocast.sources import Setup, open_source
from cryptocast.store import GuestStore, Store
from cryptocast.values import Market, parse_path

if TYPE_CHECKING:
    from polars import DataFrame

    from cryptocast.bundles import Bundle
    from cryptocast.registry import Registry

T = TypeVar("T")

ENVIRONMENT = "CRYPTOCAST_WORKSPACE"
IDENTITY = "workspace.identity"
DATABASE = "cryptocast.duckdb"
MOST_ROWS = 1_000_000
"""The number of rows that a query returns at most, unless it is told otherwise."""

_ODD_IN_A_NAME = re.compile(r"[?#\x00-\x1f\ud800-\udfff]|%[0-9A-Fa-f]{2}")
OWN_FOLDERS = ("bundles", "mlartifacts", "archive", "logs", "backups")
"""What nothing else may be written into."""

FOLDERS = ("bundles", "mlartifacts", "reports", "archive", "logs")


def find(option: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the workspace folder: by option, by variable, a parent that is one, or `cwd`.

    Raises UsageError for a name that databases would take for a part of an address.
    """
    named = option or environ.get(ENVIRONMENT)
    if named:
        folder = parse_path(named).resolve()
    else:
        above = (f for f in (cwd, *cwd.parents) if (f / config.FILE_NAME).is_file())
        folder = next(above, cwd)
    odd = _ODD_IN_A_NAME.search(str(folder))
    if odd:
        raise UsageError(
            f"the folder {folder} cannot hold a workspace: its name has {odd[0]!r} in it",
            code="usage.path",
            hint="take a name in UTF-8 without ?, # and %xx",
        )
    return folder


def with_dotenv(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, completed by the workspace's `.env` file."""
    file = folder / ".env"
    if not file.is_file():
        return dict(environ)
    from dotenv import dotenv_values  # late: most workspaces have no such file

    values = dotenv_values(stream=io.StringIO(config.read_text(file)))
    return {k: v for k, v in values.items() if v is not None} | dict(environ)


def require_plugins(settings: Settings) -> None:
    """Raise ConfigError if a setting names a source, model or receiver that does not exist.

    A typo in a fallback is thus reported at once, not when the first source is down.
    """
    named = [("source.name", settings.source.name)] if settings.source.name != "auto" else []
    named += [("source.fallback.name", fallback.name) for fallback in settings.source.fallback]
    named += [("market.symbols", market.source) for market in settings.markets()]
    for key, name in dict.fromkeys(named):
        if name != "auto":
            plugins.require(plugins.SOURCES, name.partition(":")[0], key=key)
    plugins.require(plugins.MODELS, settings.model.kind, key="model.kind")
    for kind in settings.model.kinds:
        plugins.require(plugins.MODELS, kind, key="model.kinds")
    plugins.require(plugins.ENGINES, settings.engine.kind, key="engine.kind")
    for receiver in settings.notify.receiver:
        plugins.require(plugins.RECEIVERS, receiver.name, key="notify.receiver.name")


def output_file(out: Path, endings: Sequence[str], inputs: Sequence[Path] = ()) -> tuple[Path, str]:
    """Return the absolute path of a file that a person wants to be written, and its ending.

    `inputs` are files, folders and globs that candles are read from. Raises UsageError for
    another ending, a folder that does not exist, what is no regular file, an input, and a file
    that belongs to a workspace: those are never replaced.
    """
    file = parse_path(out).resolve()
    if file.is_dir():
        raise UsageError(f"{file} is a folder", hint="name the file to write")
    ending = next((end for end in endings if file.name.lower().endswith(end)), None)
    if ending is None:
        hint = f"end it in one of {', '.join(endings)}"
        raise UsageError(f"{file} names no format by its ending", hint=hint)
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent}", hint=f"mkdir -p {file.parent}")
    if file.exists() and not file.is_file():
        raise UsageError(f"{file} is no regular file", hint="name another one")
    require_outside(file)
    if file.exists() and any(_holds(place, file) for place in inputs):
        raise UsageError(f"candles are read from {file}", hint="name another file")
    return file, ending


def require_outside(path: Path) -> None:
    """Raise UsageError if an output would lie among what a workspace keeps for itself.

    Beside its settings and in its `reports` there is room for others.
    """
    for home in path.parents:
        own = path.relative_to(home).parts[0] in OWN_FOLDERS
        if own and (home / config.FILE_NAME).is_file():
            raise UsageError(
                f"{path} belongs to the workspace {home}",
                hint=f"name a place outside of it, or in {home / 'reports'}",
            )


def _holds(place: Path, file: Path) -> bool:
    """Return whether a file, folder or glob is or holds the file."""
    return file.is_relative_to(place.resolve()) or file.match(str(place))


@dataclass(slots=True)
class Workspace:
    """The things that a workflow works with, passed explicitly: nothing of it is global."""

    folder: Path
    settings: Settings
    secrets: Secrets
    clock: Clock
    progress: Progress = field(default_factory=Silence)
    steps: Steps = field(default_factory=Inline)
    _sources: dict[str, CandleSource] = field(default_factory=dict)
    _store: Store | None = None
    _bundles: dict[str, tuple[tuple[int, ...], Bundle]] = field(default_factory=dict)
    _budget: Budget | None = None
    _registry: Registry | None = None
    _engine: Engine | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        progress: Progress | None = None,
        steps: Steps | None = None,
    ) -> Self:
        """Open an existing workspace. Raises StateError if the folder is not one."""
        file = folder / config.FILE_NAME
        if not file.is_file():
            raise StateError(
                f"{folder} is not a workspace",
                code="state.no_workspace",
                hint=f"cryptocast init --workspace {folder}",
            )
        environ = with_dotenv(folder, os.environ if environ is None else environ)
        settings, _ = config.load(file, environ, options)
        require_plugins(settings)
        return cls(
            folder,
            settings,
            Secrets(environ),
            clock or SystemClock(),
            progress or Silence(),
            steps or Inline(),
        )

    def step(self, name: str, work: Callable[[], T]) -> T:
        """Begin a stage of the checklist, run its step and return the result."""
        self.progress.stage(name)
        return self.steps.step(name, work)

    @property
    def file(self) -> Path:
        """The settings file."""
        return self.folder / config.FILE_NAME

    @property
    def store(self) -> Store:
        """The database, opened when it is first used."""
        if self._store is None:
            self._store = Store(self.folder / DATABASE, self.settings.store.wait_seconds)
        return self._store

    def guest(self, wait_seconds: float) -> Workspace:
        """Return this workspace for readers beside it that must keep nobody from writing."""
        store = GuestStore(self.folder / DATABASE, wait_seconds)
        return Workspace(self.folder, self.settings, self.secrets, self.clock, _store=store)

    @contextmanager
    def snapshot(self) -> Iterator[Store]:
        """Yield a private copy of what the database holds by the clock; it blocks no tick."""
        from cryptocast.store.copies import snapshot  # late: a tick makes none

        with snapshot(self.store) as copy:
            with copy.write() as writer:
                if self.clock.virtual:
                    writer.forget_later(self.clock.now())
            yield copy

    def query(self, sql: str, *, most: int = MOST_ROWS, seconds: float = 60.0) -> DataFrame:
        """Return the rows of one SELECT about the tables and views, as a polars frame.

        It runs on a snapshot, so that it blocks no tick, reads nothing else and writes nothing.
        Raises UsageError (`usage.sql`) for anything but one SELECT, for its errors, for more
        than `most` rows, and if it takes longer than `seconds`.
        """
        import polars as pl  # late: the tick needs none

        from cryptocast.store.exporter import ask

        with self.snapshot() as copy:
            asked = ask(copy.path, sql, most=most, seconds=seconds)
        if asked.more:
            raise UsageError(
                f"the query has more than {most:,} rows", code="usage.sql", hint="ask for less"
            )
        return pl.DataFrame(asked.rows, asked.columns, orient="row", infer_schema_length=None)

    @property
    def optuna(self) -> Path:
        """The file of Optuna's studies."""
        return self.folder / "optuna.db"

    @property
    def studies(self) -> str:
        """The address of Optuna's database: the setting, or that of our own file."""
        named = self.secrets.reveal("tune.storage", self.settings.tune.storage)
        return named or f"sqlite:///{self.optuna.resolve()}"

    def bundle_folder(self, version: str) -> Path:
        """Return the folder that a version is frozen in."""
        return self.folder / "bundles" / version

    def bundle(self, version: str) -> Bundle:
        """Return a frozen version, read again only if its files have changed.

        Raises ModelError if it is missing or damaged.
        """
        from cryptocast import bundles  # late: not every command loads ONNX Runtime

        folder = self.bundle_folder(version)
        with suppress(OSError):
            state = tuple(entry.stat().st_mtime_ns for entry in sorted(folder.iterdir()))
            if (cached := self._bundles.get(version)) and cached[0] == state:
                return cached[1]
            # Room for production and the previous version of every market, and one to look at.
            for oldest in list(self._bundles)[: -1 - 2 * len(self.settings.market.symbols)]:
                del self._bundles[oldest]
            self._bundles[version] = state, bundles.load_version(folder)
            return self._bundles[version][1]
        return bundles.load_version(folder)  # which raises what is wrong with it

    def frozen_curve(self, version: str) -> str | None:
        """Return the text of a frozen version's own curve, or None if it has none."""
        from cryptocast import bundles  # late, as above

        return bundles.frozen_curve(self.bundle_folder(version))

    def markets(self, symbols: tuple[str, ...] = ()) -> tuple[Market, ...]:
        """Return the configured markets, or those of them named by symbol or id.

        Raises ConfigError for a symbol that is not configured.
        """
        configured = self.settings.markets()
        if not symbols:
            return configured
        chosen: list[Market] = []
        for symbol in symbols:
            matching = [m for m in configured if symbol in (m.symbol, m.id)]
            if not matching:
                raise ConfigError(
                    f"'{symbol}' is not a market of this workspace",
                    code="config.symbol",
                    hint="configured: " + ", ".join(m.symbol for m in configured),
                )
            chosen += matching
        return tuple(dict.fromkeys(chosen))

    def source(self, name: str) -> CandleSource:
        """Return the source of that name, opened once."""
        if name not in self._sources:
            markets = [m for m in self.settings.markets() if m.source == name]
            root = self.settings.source.root(name)
            settings = replace(self.settings.source, name=name, base_url=root)
            setup = Setup(settings, markets, self.secrets, clock=self.clock, meter=self.budget)
            self._sources[name] = open_source(setup)
        return self._sources[name]

    @property
    def budget(self) -> Budget:
        """The month's budget, which pays for the calls of metered sources."""
        if self._budget is None:
            self._budget = Budget(self.store, self.settings.source.monthly_credits)
        return self._budget

    def registry(self) -> Registry:
        """Return the MLflow store: `MLFLOW_TRACKING_URI`, the setting, or the workspace's own."""
        if self._registry is None:
            from cryptocast.registry import Registry  # late: the tick loads no MLflow

            mlflow, reveal = self.settings.mlflow, self.secrets.reveal
            named = self.secrets.environ.get("MLFLOW_TRACKING_URI")
            named = named or reveal("mlflow.tracking_uri", mlflow.tracking_uri)
            own = f"sqlite:///{(self.folder / 'mlflow.db').resolve()}"
            experiment = "cryptocast " + " ".join(m.id for m in self.settings.markets()[:8])
            environ = self.secrets.environ
            self._registry = Registry(
                named or own,
                experiment,
                None if named else self.folder / "mlartifacts",
                files=reveal("mlflow.artifacts", mlflow.artifacts),
                model=mlflow.model,
                owner=self.identity if named else None,
                environ={k: v for k, v in environ.items() if k.startswith("MLFLOW_")},
            )
        return self._registry

    @property
    def engine(self) -> Engine:
        """Where heavy work runs, opened when it is first used."""
        if self._engine is None:
            from cryptocast.engines import open_engine  # late: a tick uses none

            self._engine = open_engine(self.settings.engine)
        return self._engine

    @contextmanager
    def on(self, engine: Engine) -> Iterator[None]:
        """Let the heavy work of the block run on another engine."""
        own, self._engine = self._engine, engine
        try:
            yield
        finally:
            self._engine = own

    def identity(self) -> str:
        """Return the id of this workspace among those that share a store.

        It is made once and never changes.
        """
        with self.store.read() as reader:
            events = reader.events(IDENTITY)
        if events:
            return str(events[0].detail["id"])  # the first, if two processes made one
        with self.store.write() as writer:
            writer.put_event(self.clock.now(), IDENTITY, None, {"id": uuid.uuid4().hex})
        return self.identity()

    def close(self) -> None:
        """Close the sources and let the database rest."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._store is not None:
            self._store.rest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
