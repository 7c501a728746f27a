"""backup: a consistent copy while the loop runs, restored by copying a folder."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from cryptocast.values import iso
from cryptocast.workflows import backup as workflow
from support.commands import (
    BTC,
    HELD,
    INTERVAL,
    NEXT,
    NOW,
    good,
    listing,
    process,
    query,
    run,
    start_loaded,
)

TABLES = ("candles", "forecast_sets", "ticks", "deployments", "events", "scores")

# A loop that ticks as fast as it can, each on its own.
TICKS = """
import sys
from cryptocast import cli
from cryptocast.values import iso
folder, first = sys.argv[1], int(sys.argv[2])
for bar in range(200):
    code = cli.run(["forecast", "--once", "-q", "-w", folder, "--as-of", iso(first + 300 * bar)])
    print(code, flush=True)
"""
HALTING = """
import sys, time
from cryptocast import cli
from cryptocast.workflows import backup

def halt(*_):
    print("here", flush=True)
    time.sleep(3600)

backup._copy_folder = halt
sys.exit(cli.run(sys.argv[1:]))
"""


def made(workspace: Path, *options: str | Path) -> Path:
    return Path(good("backup", "-w", workspace, *options)["folder"])


def contents(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: query(folder, f"SELECT count(*), bit_xor(hash(t)) FROM {table} AS t")
        for table in TABLES
    }


def test_a_copied_backup_is_the_workspace_and_ticks_on(workspace: Path, tmp_path: Path) -> None:
    (workspace / ".env").write_text("COINCAP_API_KEY=hush\n", encoding="utf-8")
    (workspace / "logs" / "cron.log").write_text("a line\n", encoding="utf-8")
    good("forecast", "--once", "-w", workspace, "--as-of", NEXT)
    data = good("backup", "-w", workspace)
    folder = Path(data["folder"])
    assert folder.parent == workspace / "backups"
    assert data["rows"]["cryptocast.duckdb"]["forecast_sets"] == 1
    assert set(data["rows"]) == {"cryptocast.duckdb", "mlflow.db", "optuna.db"}
    subprocess.run(["cp", "-r", str(folder), str(tmp_path / "restored")], check=True)
    restored = tmp_path / "restored"
    assert contents(restored) == contents(workspace)
    names = listing(restored)
    assert not any(".env" in name or "logs" in name or "backups" in name for name in names)
    shown = [good("models", "-w", w)["versions"] for w in (workspace, restored)]
    assert shown[0] == shown[1]
    shutil.rmtree(workspace)
    later = ("--as-of", iso(NOW + 2 * INTERVAL))
    assert good("forecast", "--once", "-w", restored, *later)["new"] is True
    assert good("status", "-w", restored, *later)["production"]["version"] == "2"
    assert good("promote", "1", "-w", restored, "--force", "--reason", "x", *later)
    assert good("backup", "-w", restored)["rows"]["cryptocast.duckdb"]["forecast_sets"] == 2


def test_backups_while_ticks_write_are_whole_and_lose_no_tick(workspace: Path) -> None:
    child = start_loaded(str(workspace), str(NOW + INTERVAL), script=TICKS)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "0\n"
        folders = [made(workspace, "--out", workspace / "backups" / str(n)) for n in range(4)]
        said = [child.stdout.readline() for _ in range(5)]
    finally:
        child.kill()
        child.communicate()
    assert said == ["0\n"] * 5
    sets = []
    for folder in folders:
        # A set and its tick are written together.
        counted = [query(folder, f"SELECT count(*) FROM {t}")[0][0] for t in ("ticks", TABLES[1])]
        assert counted[0] == counted[1]
        sets.append(counted[1])
    assert sets == sorted(sets)
    assert sets[0] >= 1
    again = good("forecast", "--once", "-w", folders[0], "--as-of", iso(NOW + 250 * INTERVAL))
    assert [f["market"] for f in again["forecasts"]] == [BTC.id]


def test_a_killed_backup_is_none_and_the_next_one_removes_what_it_left(workspace: Path) -> None:
    child = start_loaded("backup", "-w", workspace, script=HALTING)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
    finally:
        child.kill()
        child.communicate()
    (left,) = (workspace / "backups").iterdir()
    assert left.name.startswith(".")
    assert left.name.endswith(f".{child.pid}.part")
    folder = made(workspace)
    assert list((workspace / "backups").iterdir()) == [folder]


def test_keep_leaves_the_newest_and_whatever_is_no_backup_of_its_own(
    workspace: Path, tmp_path: Path
) -> None:
    shelf = tmp_path / "shelf"
    first, second = (made(workspace, "--out", shelf / name) for name in ("1", "2"))
    renamed = second.rename(shelf / "mine")  # perhaps a workspace in use by now
    other = tmp_path / "other"
    shutil.copytree(workspace, other)
    foreign = made(other, "--out", shelf / "other")
    third = made(workspace, "--out", shelf / "3")
    data = good("backup", "-w", workspace, "--out", shelf / "4", "--keep", "2")
    assert data["removed"] == [str(first)]
    assert set(shelf.iterdir()) == {renamed, foreign, third, shelf / "4"}


def test_the_default_folder_is_the_workspaces_own_also_after_it_was_moved(workspace: Path) -> None:
    made(workspace)
    moved = workspace.rename(workspace.parent / "moved")
    data = good("backup", "-w", moved, "--keep", "1")
    assert len(data["removed"]) == 1
    assert [str(p) for p in (moved / "backups").iterdir()] == [data["folder"]]


OUTSIDE = "name a folder outside of it, or leave --out away for {0}/backups"
ABSENT = "name a folder that is not there yet"
REFUSED = [
    ("{0}", "{0} cannot be a backup of {0}: one lies inside the other", OUTSIDE),
    ("{0}/..", "{1} cannot be a backup of {0}: one lies inside the other", OUTSIDE),
    ("{0}/bundles/x", "{0}/bundles/x cannot be a backup of {0}: one lies inside the other",
     OUTSIDE),
    ("{0}/link/x", "{0}/bundles/x cannot be a backup of {0}: one lies inside the other", OUTSIDE),
    ("{0}/backups", "{0}/backups cannot become a backup", ABSENT),
    ("{1}/file", "{1}/file cannot become a backup", ABSENT),
    ("{1}/full", "{1}/full is not empty", ABSENT),
]  # fmt: skip


@pytest.mark.parametrize(("out", "message", "hint"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_place_that_cannot_hold_a_backup_is_refused(
    workspace: Path, tmp_path: Path, out: str, message: str, hint: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (workspace / "link").symlink_to(workspace / "bundles")
    before = listing(tmp_path)
    done = run("backup", "-w", workspace, "--out", out.format(workspace, tmp_path), "--json")
    told = {"message": message.format(workspace, tmp_path), "hint": hint.format(workspace)}
    assert (done.code, done.error) == (2, {"code": "usage", **told})
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db", "cryptocast.duckdb"])
def test_a_damaged_database_is_told_and_costs_no_older_backup(workspace: Path, name: str) -> None:
    kept = made(workspace)
    with (workspace / name).open("r+b") as file:
        file.write(b"no database " * 1000)
    done = run("backup", "-w", workspace, "--keep", "1", "--json")
    assert (done.code, done.error["code"]) == (4, "store.corrupt")
    assert str(workspace / name) in done.error["message"]
    assert list((workspace / "backups").iterdir()) == [kept]


def test_a_disk_that_is_full_or_soon_would_be_is_told_and_nothing_is_left(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        done = run("backup", "-w", workspace, "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (done.code, done.error["code"]) == (4, "store.full")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(workflow.shutil, "disk_usage", lambda _: usage(free=50_500_000))
    done = run("backup", "-w", workspace, "--json")
    assert (done.code, done.error["code"]) == (4, "store.full")
    assert done.error["message"].endswith(f"{workspace / 'backups'} has 50 MB free")
    assert list((workspace / "backups").iterdir()) == []


def test_a_database_that_somebody_writes_to_for_long_is_told(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_STORE__WAIT_SECONDS", "0")
    holder = start_loaded(workspace / "cryptocast.duckdb", script=HELD)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = run("backup", "-w", workspace, "--json")
    finally:
        holder.kill()
        holder.communicate()
    assert (done.code, done.error["code"]) == (4, "store.busy")
    assert list((workspace / "backups").iterdir()) == []


def test_a_bundle_that_is_replaced_meanwhile_is_copied_whole(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copytree, seen = shutil.copytree, []

    def disturbed(source: Path, target: Path, *more: object, **options: object) -> object:
        seen.append(source)
        if len(seen) == 1:
            raise shutil.Error([(str(source), str(target), "[Errno 2] No such file: '2'")])
        return copytree(source, target, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(workflow.shutil, "copytree", disturbed)
    folder = made(workspace)
    assert seen[0] == seen[1] == workspace / "bundles"
    assert listing(folder / "bundles") == listing(workspace / "bundles")


def test_links_and_pipes_are_not_followed_but_told(workspace: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("do not copy", encoding="utf-8")
    (workspace / "reports").mkdir(exist_ok=True)
    (workspace / "reports" / "page.html").symlink_to(secret / "key")
    (workspace / "bundles" / "x").symlink_to(secret)
    shutil.rmtree(workspace / "archive", ignore_errors=True)
    (workspace / "archive").symlink_to(secret)
    os.mkfifo(workspace / "mlartifacts" / "pipe")
    done = run("backup", "-w", workspace, "--out", tmp_path / "copy")
    assert done.code == 0
    texts = [f.read_bytes() for f in (tmp_path / "copy").rglob("*") if f.is_file()]
    assert not any(b"do not copy" in text for text in texts)
    assert not any(f.is_symlink() for f in (tmp_path / "copy").rglob("*"))
    for name in ("reports/page.html", "bundles/x", "archive", "mlartifacts/pipe"):
        assert f"warning: {workspace / name} is left out: it is a link, or no reg" in done.err


def test_an_empty_workspace_can_be_backed_up(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "cryptocast.toml").touch()
    folder = made(tmp_path / "w", "--out", tmp_path / "b")
    assert listing(folder) == {"cryptocast.toml", "backup.json"}


def test_another_mlflow_store_is_named_as_not_copied(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = run("backup", "-w", workspace)
    assert done.code == 0
    assert "warning: runs and versions are in another MLflow store: back that up too" in done.err
    lines = done.out.splitlines()
    assert lines[-1].startswith(f"restore it with: cp -r {workspace}/backups/")


def test_backing_up_loads_nothing_heavy(workspace: Path) -> None:
    script = """
import sys
from cryptocast import cli
code = cli.run(sys.argv[1:])
heavy = ("torch", "lightning", "mlflow", "optuna", "pandas", "polars", "pyarrow")
print([n for n in heavy if n in sys.modules])
sys.exit(code)
"""
    done = process("backup", "-q", "-w", workspace, script=script)
    assert (done.code, done.out, done.err) == (0, "[]\n", "")
