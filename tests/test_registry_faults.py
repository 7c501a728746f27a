"""Stores that cannot be used, and stores that several processes make at once."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
import pytest

from cryptocast.errors import RegistryError
from cryptocast.registry import Registry
from cryptocast.registry.local import make
from support.commands import start_loaded
from support.loopback import Loopback, Reply, continues, drip, drip_head
from support.patience import forbid_sleep, record_sleep

ADDRESS = "check MLFLOW_TRACKING_URI or [mlflow] tracking_uri"

# Makes a store in each folder that it is told, trains in it, and tells what it found there.
MAKER = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import numpy as np
from cryptocast.models import _graphs
from cryptocast.registry import Registry, Servable
graph = _graphs.Graph(4).constant(np.arange(6.0).reshape(2, 3))
model = Servable(graph, {"levels": [0.5]}, "package", {"__init__.py": ""}, "package", None)
print("ready", flush=True)
for line in sys.stdin:
    folder = Path(line.strip())
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", "markets", folder / "mlartifacts")
    with registry.runs.begin("train") as run_id:
        registry.runs.log_card(run_id, {"kind": "x"})
        uri = registry.runs.log_model(run_id, model)
    version = registry.register(run_id, uri, "x", "", {})
    print(registry._store.experiment, version, flush=True)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store. Not to be written to: copy it."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    Registry(f"sqlite:///{file}", "cryptocast", file.parent / "mlartifacts")
    return file


def failure(uri: str, artifacts: Path | None = None) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        Registry(uri, "cryptocast", artifacts)
    assert caught.value.exit_code == 4
    assert "\n" not in caught.value.message
    return caught.value


def told(error: RegistryError) -> tuple[str, str, str, bool]:
    return error.code, error.message, error.hint, error.retry


def test_a_server_that_cannot_be_reached_is_told_of_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    forbid_sleep(monkeypatch)
    error = failure("http://127.0.0.1:1")
    assert told(error) == (
        "registry.unreachable",
        "the MLflow store http://127.0.0.1:1 cannot be reached",
        f"see that the server runs, and {ADDRESS}",
        True,
    )


def test_what_is_no_address_is_told() -> None:
    assert told(failure("http://[::1:hunter2")) == (
        "registry.failed",
        "the MLflow store (an address that is not shown) is at no address",
        ADDRESS,
        False,
    )


@pytest.mark.parametrize(
    "uri",
    [
        "http://somebody:hunter2@127.0.0.1:1",
        "http://somebody:hun/hunter2@127.0.0.1:1",
        "ftp://somebody:hunter2@127.0.0.1:1",
        "postgresql+nodriver://somebody:hunter2@127.0.0.1:1/db",
        "postgresql+nodriver:///db?user=somebody&password=hunter2",
        "postgresql://somebody:hunter2@127.0.0.1:1/db",
    ],
)
def test_credentials_in_an_address_are_never_repeated(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    error = failure(uri, Path("files"))
    assert error.hint.endswith(ADDRESS)
    # Not even in the traceback that --verbose shows.
    shown = "".join(traceback.format_exception(error)) + error.hint
    shown = shown.replace(f'"{uri}"', "")
    assert "hunter2" not in shown
    assert "somebody:" not in shown


def damaged(file: Path, how: str, store: Path) -> None:
    content = store.read_bytes()
    if how == "no database at all":
        content = b"no database " * 500
    elif how == "cut off":
        content = content[: len(content) // 3]
    elif how == "overwritten":
        content = content[:4096] + b"?" * (len(content) - 4096)
    file.write_bytes(content)
    if how == "without its tables":
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("ALTER TABLE experiments RENAME COLUMN name TO title")


@pytest.mark.parametrize(
    "how", ["no database at all", "cut off", "overwritten", "without its tables"]
)
@pytest.mark.parametrize("own", [True, False])
def test_a_damaged_store_is_told_and_left_as_it_is(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str, own: bool
) -> None:
    file = tmp_path / "mlflow.db"
    damaged(file, how, store)
    before = file.read_bytes()
    error = failure(f"sqlite:///{file}", tmp_path / "mlartifacts" if own else None)
    assert told(error) == (
        "registry.damaged",
        f"the MLflow store sqlite:///{file} is damaged, or is no store of MLflow",
        "restore a copy of it; what serves is frozen in bundles and goes on",
        False,
    )
    assert file.read_bytes() == before
    assert capfd.readouterr() == ("", "")  # MLflow and SQLAlchemy tell nothing themselves


@contextmanager
def schema(store: Path, file: Path, revision: str) -> Iterator[None]:
    shutil.copy(store, file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    before = file.read_bytes()
    yield
    assert file.read_bytes() == before


def test_a_store_of_a_newer_mlflow_is_left_alone(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with schema(store, file, "ffffffffffff"):
        error = failure(f"sqlite:///{file}", tmp_path / "mlartifacts")
    assert told(error) == (
        "registry.newer",
        f"the MLflow store sqlite:///{file} has the schema ffffffffffff, which MLflow "
        f"{mlflow.__version__} does not know: it is from a newer one",
        "upgrade MLflow: pip install --upgrade mlflow",
        False,
    )


def test_a_store_of_an_older_mlflow_is_not_migrated_behind_its_owners_back(
    store: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mlflow.db"
    with schema(store, file, "451aebb31d03"):  # MLflow's first migration
        error = failure(f"sqlite:///{file}", tmp_path / "mlartifacts")
    assert told(error) == (
        "registry.older",
        f"the MLflow store sqlite:///{file} has the schema 451aebb31d03, older than that of "
        f"MLflow {mlflow.__version__}",
        "keep a copy of it, then: mlflow db upgrade URI",
        False,
    )


def test_a_store_that_cannot_be_opened_is_given_up_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").mkdir()
    sleeps = record_sleep(monkeypatch)
    error = failure(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts")
    assert sum(sleeps) < 10
    assert told(error) == (
        "registry.unwritable",
        f"the MLflow store sqlite:///{tmp_path / 'mlflow.db'} cannot be opened and written",
        "check that the folder exists and that you may write in it",
        False,
    )


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Every write beyond that many bytes of a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_while_the_store_is_made_leaves_none(tmp_path: Path) -> None:
    with no_file_beyond(100_000):
        error = failure(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts")
    assert error.code == "registry.full"
    assert error.hint == "free some space; nothing was registered, and what serves goes on"
    assert list(tmp_path.iterdir()) == []


def test_a_draft_of_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    draft = tmp_path / f".mlflow.db.{os.getpid()}.new"
    draft.write_bytes(b"half of a database")
    make(file, (tmp_path / "mlartifacts").as_uri())
    assert list(tmp_path.iterdir()) == [file]


def test_two_processes_that_make_a_store_at_once_share_it(tmp_path: Path) -> None:
    makers = [start_loaded(script=MAKER) for _ in range(2)]
    try:
        for maker in makers:
            assert maker.stdout is not None
            assert maker.stdout.readline() == "ready\n"
        for number in range(3):
            folder = tmp_path / str(number)
            folder.mkdir()
            for maker in makers:
                assert maker.stdin is not None
                maker.stdin.write(f"{folder}\n")
                maker.stdin.flush()
            answers = [maker.stdout.readline().split() for maker in makers if maker.stdout]
            if not all(answers):
                for maker in makers:
                    maker.kill()
                pytest.fail("\n".join(maker.communicate()[1] for maker in makers))
            experiments, versions = zip(*answers, strict=True)
            assert len(set(experiments)) == 1
            assert sorted(versions) == ["1", "2"]
            assert sorted(p.name for p in folder.iterdir()) == ["mlartifacts", "mlflow.db"]
            registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", "markets", None)
            assert [registry.missing(v) for v in registry.versions()] == [(), ()]
    finally:
        for maker in makers:
            maker.kill()
            maker.communicate()


@pytest.mark.parametrize(
    "fault",
    [drip_head(), continues(), drip(), Reply(503, b"", {"Retry-After": "3600"})],
    ids=["drips its head", "only continues", "drips its body", "asks for an hour"],
)
def test_a_server_that_never_ends_its_answer_or_asks_for_an_hour_is_given_up(
    fault: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with Loopback({}) as server:
        server.faults.extend([fault] * 9)
        uri = server.base_url("mlflow").removesuffix("/mlflow")
        error = failure(uri)
    assert error.code == "registry.unreachable"
    assert error.message == f"the MLflow store {uri} cannot be reached"
