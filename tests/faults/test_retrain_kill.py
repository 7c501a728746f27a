"""`retrain --flush` that is killed: nothing is lost, a model always serves, the next one is clean.

`KILLS=30 pytest tests/faults/test_retrain_kill.py` kills more often than the suite has time for.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cryptocast.values import iso
from support.aged import age, archives, in_archive, in_database
from support.commands import AS_OF, HALTING, INTERVAL, NOW, Made, good, query, start_loaded

KILLS = int(os.environ.get("KILLS", "2"))
TABLES = ("candles", "forecast_sets")
DEPLOYED = "SELECT id, model_version, previous_version, scores FROM deployments ORDER BY id"
FLUSH = ("retrain", "--flush", "--as-of", AS_OF, "-w")
# Every fresh model is promoted, so that this is killed too.
QUICK = {
    "CRYPTOCAST_MODEL__KIND": "random_walk",
    "CRYPTOCAST_GATE__LEAST_SKILL": "-1",
    "CRYPTOCAST_GATE__WORST_LOSS": "1",
}
# Says when the archiving begins and ends, and stays there until it is told to go on.
SPEAKING = """
import sys
from cryptocast import cli
from cryptocast.workflows import retrain
flush = retrain.flush
def speaking(*arguments):
    print("begins", flush=True)
    sys.stdin.readline()
    done = flush(*arguments)
    print("done", flush=True)
    return done
retrain.flush = speaking
sys.exit(cli.run(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Before:
    """A workspace with a past, what it held, and how long the work on it takes."""

    folder: Path
    rows: dict[str, set[str]]
    production: str
    flush_seconds: float
    whole_seconds: float


def begun(folder: Path) -> subprocess.Popen[str]:
    """A process that has just begun to archive."""
    child = start_loaded(*FLUSH, folder, script=SPEAKING, environ=QUICK)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "begins\n", child.communicate()[1]
    child.stdin.write("\n")
    child.stdin.flush()
    return child


@pytest.fixture(scope="module")
def before(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Before:
    base = tmp_path_factory.mktemp("killed")
    folder = age(made.folder, base / "template")
    child = begun(Path(shutil.copytree(folder, base / "timed")))
    started = time.monotonic()
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    flushed = time.monotonic()
    assert child.communicate()[1]
    assert child.returncode == 0
    ((production,),) = query(folder, "SELECT model_version FROM deployments")
    rows = {table: in_database(folder, table) for table in TABLES}
    whole = time.monotonic() - started
    return Before(folder, rows, production, flushed - started, whole)


def kill_after(folder: Path, seconds: float) -> None:
    child = begun(folder)
    time.sleep(seconds)
    child.kill()
    child.communicate()


def events(folder: Path) -> list[str]:
    rows = query(folder, "SELECT detail->>'folder' FROM events WHERE kind = 'archived'")
    return [name for (name,) in rows]


def check(folder: Path, before: Before) -> tuple[bool, bool]:
    """Old or new, nothing between: whether it was archived, and whether promoted."""
    committed = events(folder)
    visible = [path for path in archives(folder) if not path.name.startswith(".")]
    for table, rows in before.rows.items():
        kept = in_database(folder, table)
        archived: set[str] = set()
        for archive in visible:
            found = in_archive(archive, table)
            assert found <= rows
            if archive.name in committed:
                assert not found & kept
                archived |= found
            else:
                assert found <= kept
        assert kept | archived == rows
    versions = query(folder, "SELECT model_version FROM deployments ORDER BY id")
    assert versions[0] == (before.production,)
    assert len(versions) <= 2
    serving(folder, versions[-1][0])
    return bool(committed), len(versions) == 2


def serving(folder: Path, version: str) -> None:
    """The version that was deployed last serves, from its own bundle."""
    copy = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-tick")))
    (told,) = good("forecast", "--once", "-w", copy, "--as-of", iso(NOW + INTERVAL))["forecasts"]
    assert (told["model"]["version"], told["model"]["fallback"]) == (version, None)
    shutil.rmtree(copy)


def clean(folder: Path, before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt ends as one that nothing had come before."""
    with monkeypatch.context() as patch:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        decision = good(*FLUSH, folder)["decision"]
    assert decision["promoted"] is True
    assert query(folder, "SELECT max(id) FROM deployments") in ([(2,)], [(3,)])
    committed = events(folder)
    assert len(committed) == 1
    assert [path.name for path in archives(folder)] == committed
    check_rows = {table: in_archive(archives(folder)[0], table) for table in TABLES}
    for table, rows in before.rows.items():
        assert check_rows[table] | in_database(folder, table) == rows
    files = [str(path) for path in archives(folder)[0].iterdir()]
    with duckdb.connect() as connection:
        for file in files:
            assert connection.execute(f"SELECT count(*) > 0 FROM '{file}'").fetchall() == [(True,)]
    aliases: dict[str, Any] = {
        v["version"]: v["aliases"] for v in good("models", "-w", folder)["versions"]
    }
    assert "production" in aliases[decision["version"]]


@pytest.mark.parametrize("number", range(KILLS))
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_state(
    number: int, before: Before, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(before.folder, tmp_path / "w"))
    # Archiving is short and has the most to lose: every second kill is aimed at it.
    seconds = before.whole_seconds if number % 2 else before.flush_seconds
    kill_after(folder, random.Random(number).uniform(0, seconds))
    archived, promoted = check(folder, before)
    print(f"killed {number}: archived {archived}, promoted {promoted}")
    clean(folder, before, monkeypatch)


def test_a_kill_inside_a_training_leaves_production_and_counts_as_an_attempt(
    made: Made, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made.folder, tmp_path / "w"))
    deployed = query(folder, DEPLOYED)
    child = start_loaded(
        "inside a training", "retrain", "-w", folder, "--as-of", AS_OF, script=HALTING,
        environ={"CRYPTOCAST_TUNE__TRIALS": "0"},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n", child.communicate()[1]
    child.kill()
    child.communicate()
    assert query(folder, DEPLOYED) == deployed
    told = query(folder, "SELECT detail->>'told' FROM events WHERE kind = 'retrain'")
    assert told == [("it did not end",)]
    serving(folder, deployed[-1][1])
    decision = good("retrain", "-w", folder, "--as-of", iso(NOW + INTERVAL))["decision"]
    assert query(folder, "SELECT max(id) FROM deployments") == [(2 if decision["promoted"] else 1,)]
