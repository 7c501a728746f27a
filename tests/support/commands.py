"""Commands as a person runs them: in process, or as a process of their own; and workspaces.

Making a workspace takes seconds, so one is made a session and tests copy it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer.main
from filelock import FileLock

from cryptocast import cli
from cryptocast.models import lstm
from cryptocast.seams import TrainingRun
from cryptocast.sources import Setup, sim
from cryptocast.tuning import TrialFold
from cryptocast.values import Candles, Market, parse_time
from support import engines, forking
from support.patience import PATIENT

INTERVAL = 300
AS_OF = "2024-06-03T00:00:00Z"
NOW = parse_time(AS_OF)
NEXT = "2024-06-03T00:05:00Z"
BARS = 2016
LATER_BARS = 288  # what the files hold beyond AS_OF
BTC = Market("file", "BTC", "EUR", "5m")
INIT = ("--source", "file", "--trials", "2", "--as-of", AS_OF)

_TESTS = Path(__file__).parents[1]
_READY = "READY_MLFLOW"  # the variable with the file of an empty store

# Typer reads the signatures of all commands at each run: 5 ms that a process pays once.
typer.main.get_command = functools.cache(typer.main.get_command)

COMMAND = """
import sys
from cryptocast import cli
sys.exit(cli.run(sys.argv[1:]))
"""
# A process whose networks are small, that halts at a named place to be killed there.
HALTING = """
import sys
from support import commands
from cryptocast import cli
commands.small_networks()
commands.bare_pictures()
commands.ready_mlflow()
commands.halt_at(sys.argv[1])
sys.exit(cli.run(sys.argv[2:]))
"""
HELD = """
import sys
from pathlib import Path
from cryptocast.store import Store
with Store(Path(sys.argv[1]), 60).write():
    print("held", flush=True)
    sys.stdin.readline()
"""


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """`data` of the one JSON document on stdout."""
        document = json.loads(self.out)
        assert document["ok"] is True
        assert set(document) == {"command", "ok", "data"}
        return dict(document["data"])

    @property
    def error(self) -> dict[str, str]:
        """The one JSON line of an error on stderr; nothing stands on stdout."""
        assert self.out == ""
        document = json.loads(self.err.splitlines()[-1])
        assert set(document) == {"ok", "error"}
        assert document["ok"] is False
        assert set(document["error"]) == {"code", "message", "hint"}
        return dict(document["error"])


def run(*arguments: str | Path) -> Done:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run([str(a) for a in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def good(*arguments: str | Path) -> dict[str, Any]:
    """`data` of a command that must succeed."""
    done = run(*arguments, "--json")
    assert done.code == 0, done.err
    return done.data


def start(
    *arguments: str | Path, script: str | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command as a process; with `script` that Python text instead of cryptocast."""
    head = ["-m", "cryptocast"] if script is None else ["-c", script]
    return _piped(subprocess.Popen, [sys.executable, *head, *map(str, arguments)], environ)


def start_loaded(
    *arguments: str | Path, script: str = COMMAND, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process as `start` does, with the libraries of a training loaded already.

    That pays for what trains or uses MLflow; what ends by itself takes a second to unload them.
    """
    if sys.platform != "linux":
        return start(*arguments, script=script, environ=environ)
    store = {_READY: str(_made["store"])} if "store" in _made else {}
    return _piped(forking.Forked, [script, *map(str, arguments)], {**store, **(environ or {})})


def _piped(
    popen: Callable[..., subprocess.Popen[str]],
    words: list[str],
    environ: Mapping[str, str] | None,
) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(_TESTS), str(_TESTS.parent)])
    return popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **(environ or {})},
    )


def process(
    *arguments: str | Path, script: str | None = None, environ: Mapping[str, str] | None = None
) -> Done:
    """Run a command as a process to its end."""
    return ended(start(*arguments, script=script, environ=environ))


def ended(child: subprocess.Popen[str]) -> Done:
    """What a process left when it has come to its end."""
    try:
        out, err = child.communicate(timeout=600)
    finally:
        child.kill()
    return Done(child.returncode, out, err)


def small_networks(patch: pytest.MonkeyPatch | None = None) -> None:
    """Networks of a few cells and two epochs: what they learn is not what is tested here."""
    patch = patch or pytest.MonkeyPatch()
    defaults = lstm.Model.defaults

    def small(self: lstm.Model) -> dict[str, float | int | str]:
        return {**defaults(self), "hidden": 8, "epochs": 2}

    def suggest(self: lstm.Model, trial: Any) -> dict[str, float | int | str]:
        return {**small(self), "bound": trial.suggest_float("bound", 0.2, 0.6)}

    patch.setattr(lstm.Model, "defaults", small)
    patch.setattr(lstm.Model, "suggest", suggest)


def bare_pictures(patch: pytest.MonkeyPatch | None = None) -> None:
    """Pictures are composed but not painted, which is four fifths of what an evaluation takes.

    They are painted where `made` makes its workspace, in real processes, and in tests of them.
    """
    from cryptocast.reports import _canvas

    patch = patch or pytest.MonkeyPatch()
    patch.setattr(_canvas, "_painted", lambda drawn: b"not painted")


def halt_at(where: str) -> None:
    """Say `here` on stdout and stay, when the work comes to that place."""
    from cryptocast.workflows.learning import preparing, search

    def halt(*_: object, **__: object) -> None:
        print("here", flush=True)
        time.sleep(3600)

    if where == "after the fetch":
        preparing.gather = halt  # type: ignore[assignment]
    elif where == "in the second trial":
        score = search.fold_score

        def second(piece: TrialFold, plan: Any) -> Any:
            return halt() if piece.number else score(piece, plan)

        search.fold_score = second
    elif where == "inside a training":
        fit = lstm.Model.fit

        def halting(self: lstm.Model, *arguments: Any, run: TrainingRun, **named: Any) -> Any:
            return fit(self, *arguments, run=dataclasses.replace(run, on_epoch=halt), **named)

        lstm.Model.fit = halting  # type: ignore[method-assign]


def candles(symbol: str = "BTC/EUR", *, bars: int = BARS + LATER_BARS) -> Candles:
    """Candles of the simulated exchange without a gap: BARS before AS_OF, the rest after."""
    first = (NOW - BARS * INTERVAL) // sim.DAY_SECONDS
    days = np.arange(first, first + -(-bars * INTERVAL // sim.DAY_SECONDS), dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sim, "MISSING_SHARE", 0.0)
        return sim.simulate(0, Market.of(symbol, "sim", "5m"), days).take(slice(bars))


def write(file: Path, c: Candles) -> Path:
    """Candles as a Parquet or CSV file, open_time in Unix seconds."""
    names = ("open_time", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: getattr(c, name) for name in names})
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".csv":
        frame.write_csv(file)
    else:
        frame.write_parquet(file)
    return file


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Ask a workspace's database as somebody with plain DuckDB would."""
    with engines.opened(folder / "cryptocast.duckdb", read_only=True) as connection:
        return connection.execute(sql).fetchall()


TABLES = ("candles", "forecast_sets", "ticks", "deployments", "events")


def counts(folder: Path) -> dict[str, int]:
    """Rows a table; no table where there is no database."""
    if not (folder / "cryptocast.duckdb").exists():
        return {}
    return {t: query(folder, f"SELECT count(*) FROM {t}")[0][0] for t in TABLES}


def listing(folder: Path) -> set[str]:
    """Every file and folder below, by its relative path."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def state(folder: Path) -> tuple[set[str], dict[str, int]]:
    """What a failed command must leave as it was."""
    return listing(folder), counts(folder)


# Fixtures, for the conftests of tests/cli and tests/workflows.


@pytest.fixture(scope="session", autouse=True)
def _mlflow_is_loaded() -> None:
    """MLflow's lazy modules warn, of SQLAlchemy and of themselves, when they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


@pytest.fixture(autouse=True)
def _signals_stay() -> Iterator[None]:
    """serve-loop takes the signals of its process, which here is pytest's."""
    before = {
        name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    small_networks(monkeypatch)


@pytest.fixture
def painted() -> None:
    """The test looks at pictures."""


@pytest.fixture(autouse=True)
def _bare_pictures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "painted" not in request.fixturenames:
        bare_pictures(monkeypatch)


@pytest.fixture(autouse=True)
def _ready_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    ready_mlflow(monkeypatch)


def ready_mlflow(patch: pytest.MonkeyPatch | None = None) -> None:
    """A new workspace starts with an empty MLflow store: its 60 migrations take seconds.

    A process that a test starts takes the store that the tests made, from its environment.
    """
    from cryptocast.registry import Registry
    from support.sql import share_statements

    patch = patch or pytest.MonkeyPatch()
    share_statements(patch)
    if _READY in os.environ:
        _made.setdefault("store", Path(os.environ[_READY]))
    begin = Registry.__init__

    def quick(
        self: Registry, uri: str, experiment: str, artifacts: Path | None, **more: Any
    ) -> None:
        file = Path(uri.removeprefix("sqlite:///"))
        if artifacts is not None and not file.exists():
            if "store" not in _made:
                begin(self, f"sqlite:///{tempfile.mkdtemp()}/mlflow.db", "nothing", None)
                _made["store"] = Path(self._store.uri.removeprefix("sqlite:///"))
            shutil.copy(_made["store"], file)
        begin(self, uri, experiment, artifacts, **more)

    patch.setattr(Registry, "__init__", quick)


@contextlib.contextmanager
def as_in_a_test() -> Iterator[pytest.MonkeyPatch]:
    """What each test finds, for fixtures that live longer: they are made before it is there."""
    with pytest.MonkeyPatch.context() as patch:
        small_networks(patch)
        bare_pictures(patch)
        ready_mlflow(patch)
        yield patch


_made: dict[str, Any] = {}


@dataclass(frozen=True)
class Made:
    """What `init` made and said; both conftests share it."""

    folder: Path
    data: dict[str, Any]
    talk: str
    files: Path


@contextlib.contextmanager
def _shared(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A folder of all workers of pytest-xdist: the first fills it while the others wait."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / f"{name}.lock"):
        yield folder / name


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A workspace just after `init`. Not to be written to: copy it."""
    with _shared(tmp_path_factory, "made") as base:
        told = base / "told.json"
        if not told.exists():
            for symbol in ("BTC/EUR", "ETH/EUR"):
                name = symbol.replace("/", "-")
                write(base / "files" / f"{name}.parquet", candles(symbol))
            with pytest.MonkeyPatch.context() as patch:
                for name in [n for n in os.environ if n.startswith(("CRYPTOCAST_", "MLFLOW_TR"))]:
                    patch.delenv(name)
                small_networks(patch)
                ready_mlflow(patch)
                done = run("init", "-w", base / "w", "--path", base / "files", *INIT, "--json")
            assert done.code == 0, done.err
            told.write_text(json.dumps([done.out, done.err]), encoding="utf-8")
        done = Done(0, *json.loads(told.read_text(encoding="utf-8")))
        return Made(base / "w", done.data, done.err, base / "files")


@pytest.fixture
def fresh(made: Made, tmp_path: Path) -> Path:
    """A copy of the workspace as `init` left it."""
    return Path(shutil.copytree(made.folder, tmp_path / "w"))


@pytest.fixture(scope="session")
def forced(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The LSTM is production (version 2), the random walk the one before (version 1)."""
    with _shared(tmp_path_factory, "forced") as base:
        folder, done = base / "w", base / "done"
        if not done.exists():  # promoted where it stays: MLflow keeps the addresses of files
            shutil.copytree(made.folder, folder)
            for version in ("1", "2"):
                good("promote", version, "-w", folder, "--force", "--reason", "x", "--as-of", AS_OF)
            done.touch()
        return folder


@pytest.fixture
def workspace(forced: Path, tmp_path: Path) -> Path:
    """A copy of a workspace that an LSTM serves in."""
    return Path(shutil.copytree(forced, tmp_path / "w"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP sources ask again at once and give up soon."""
    monkeypatch.setitem(Setup.__init__.__kwdefaults__, "patience", PATIENT)
