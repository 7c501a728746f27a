"""MLflow and Optuna on a real PostgreSQL server, named in the settings without its password."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from cryptocast import tuning
from cryptocast.errors import RegistryError, StoreError
from cryptocast.registry import Registry
from cryptocast.seams import LATER, Later, Params, Trial
from cryptocast.tuning import FoldScore, SearchPlan, SearchResult, TrialFold
from support.commands import AS_OF, INIT, NEXT, Made, good, query, run
from support.postgres import GUEST, PASSWORD, Postgres, postgres  # noqa: F401 - a fixture

SHARED = """
[mlflow]
tracking_uri = "env:TRACKING"
artifacts = "files"

[tune]
storage = "env:STUDIES"
"""


@pytest.fixture(autouse=True)
def _closed_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow keeps its connections open until its process ends, which here is pytest's."""
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")


@pytest.fixture
def shared(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:  # noqa: F811 - a fixture
    """Two new databases, whose addresses stand in the environment."""
    tracking, studies = postgres.database(), postgres.database()
    monkeypatch.setenv("TRACKING", postgres.uri(tracking))
    monkeypatch.setenv("STUDIES", postgres.uri(studies))
    return tracking, studies


def configured(folder: Path, settings: str = SHARED) -> Path:
    folder.mkdir()
    (folder / "cryptocast.toml").write_text(settings)
    return folder


def test_a_workspace_keeps_runs_versions_and_studies_on_a_database_server(
    postgres: Postgres,  # noqa: F811 - a fixture
    shared: tuple[str, str],
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    w = configured(tmp_path / "w")
    begun = run("init", "-w", w, "--path", made.files, *INIT, "--verbose", "--json")
    assert begun.code == 0, begun.err
    at = ("-w", w, "--as-of", AS_OF)
    found = good("tune", "--trials", "3", *at)
    assert (found["trials"], begun.data["tuning"]["trials"]) == (3, 2)
    assert begun.data["tuning"]["best"] == made.data["tuning"]["best"]
    assert good("train", "--params", "default", *at)["version"] == "3"
    listed = good("models", *at)
    assert [v["usable"] for v in listed["versions"]] == [True] * 3
    assert good("promote", "3", "--force", "--reason", "x", *at)["decision"]["version"] == "3"
    (told,) = good("forecast", "--once", "-w", w, "--as-of", NEXT)["forecasts"]
    assert told["model"] == {"version": "3", "kind": "lstm", "fallback": None}
    assert run("backup", "-w", w, "--quiet").err == (
        "warning: runs and versions are in another MLflow store: back that up too\n"
        "warning: studies are in another database: back that up too\n"
    )
    # Files lie where the settings say, none of them beside whoever typed the command.
    assert list(Path.cwd().iterdir()) == []
    assert list((w / "files").glob("**/model.onnx"))
    assert not (w / "mlflow.db").exists()
    assert not (w / "optuna.db").exists()
    # The password stays in the environment.
    assert PASSWORD not in begun.out + begun.err
    for file in w.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file
    assert not any(PASSWORD in postgres.dump(name) for name in shared)


def test_files_of_runs_are_never_put_into_the_current_folder(
    postgres: Postgres,  # noqa: F811 - a fixture
    shared: tuple[str, str],
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.uri(shared[0]))
    done = run("models", "-w", workspace, "--json")
    assert (done.code, done.error) == (
        2,
        {
            "code": "config.artifacts",
            "message": f"the MLflow store {postgres.shown(shared[0])} is a database, which keeps "
            "no files",
            "hint": f"cryptocast config -w {workspace} set mlflow.artifacts FOLDER_OR_URI, or name "
            "an `mlflow server`",
        },
    )
    good("config", "set", "mlflow.artifacts", tmp_path / "files", "-w", workspace)
    assert good("models", "-w", workspace)["versions"] == []
    # What was made with one folder is not looked for in another.
    good("config", "set", "mlflow.artifacts", tmp_path / "others", "-w", workspace)
    done = run("models", "-w", workspace, "--json")
    assert (done.code, done.error["code"]) == (4, "registry.files")
    assert done.error["message"].endswith(f"keeps its files in file://{tmp_path / 'files'}")
    assert list(Path.cwd().iterdir()) == []


def test_workspaces_on_one_database_search_each_for_themselves(
    shared: tuple[str, str], made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the same candles: without an owner, the second would find the first's trials."""
    monkeypatch.setenv("CRYPTOCAST_TUNE__STORAGE", "env:STUDIES")
    studies = []
    for name in ("a", "b"):
        w = shutil.copytree(made.folder, tmp_path / name)
        studies.append(good("tune", "-w", w, "--trials", "1", "--as-of", AS_OF)["study"])
        ((owner,),) = query(w, "SELECT detail ->> 'id' FROM events WHERE kind LIKE '%identity'")
        assert studies[-1].startswith(f"{owner} lstm 2024-06-0")
    assert len(set(studies)) == 2
    assert len({study.partition(" ")[2] for study in studies}) == 1


def bowl(storage: str, trials: int) -> SearchResult:
    def suggest(trial: Trial) -> Params:
        return {"x": trial.suggest_float("x", -10, 10)}

    def judge(pieces: Iterable[TrialFold | Later]) -> Iterator[FoldScore]:
        for piece in (p for p in pieces if p is not LATER):
            yield FoldScore(piece.fold + (float(piece.params["x"]) - 3) ** 2, 0.0, 0.0)

    return tuning.search(SearchPlan(storage, "a", trials, 0), judge, suggest, folds=3)


def test_a_study_is_the_same_on_a_server_and_goes_on_there(
    postgres: Postgres,  # noqa: F811 - a fixture
    tmp_path: Path,
) -> None:
    storage = postgres.uri(postgres.database())
    bowl(storage, 4)
    assert bowl(storage, 8) == bowl(f"sqlite:///{tmp_path / 'optuna.db'}", 8)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_database_server_refuses_is_told_and_no_password_is(
    postgres: Postgres,  # noqa: F811 - a fixture
) -> None:
    name = postgres.database()
    cases = {
        postgres.uri(name, password="wrong2"): ("refused", "refuses us"),
        postgres.uri(name, user=GUEST): ("refused", "refuses us"),
        postgres.uri("nowhere"): ("refused", "is not on that server"),
        postgres.uri(name).replace("postgresql", "postgres"): ("driver", "is of no kind that is "),
        postgres.uri(name).replace("sql:", "sql+psycopg2:"): ("driver", "needs a driver that is "),
        f"postgresql://o:{PASSWORD}@127.0.0.1:1/x": ("unreachable", "cannot be reached"),
    }
    for uri, (code, words) in cases.items():
        with pytest.raises(RegistryError) as mlflow:
            Registry(uri, "x", None, files="s3://bucket")
        with pytest.raises(StoreError) as optuna:
            bowl(uri, 1)
        for error in (mlflow.value, optuna.value):
            assert error.code.partition(".")[2] == code, (error, error.hint)
            assert words in error.message
            assert error.__cause__ is None  # which --verbose would show
            assert not any(word in error.message + error.hint for word in (PASSWORD, "wrong2"))
            assert (error.hint == "pip install 'cryptocast[postgres]'") == ("psycopg2" in uri)
    del mlflow, optuna, error
    gc.collect()  # Optuna leaves the connection of a refused user to Python, which warns of it


def test_mlflow_and_optuna_need_a_database_each(
    postgres: Postgres,  # noqa: F811 - a fixture
) -> None:
    storage = postgres.uri(postgres.database())
    bowl(storage, 1)
    with pytest.raises(RegistryError, match="holds the studies of Optuna") as caught:
        Registry(storage, "x", None, files="s3://bucket")
    assert caught.value.code == "registry.taken"
