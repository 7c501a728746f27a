"""prune: what is of no more use goes, what anybody may need stays, and an event tells of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptocast.store import Store, Tick
from cryptocast.values import Deployment, ForecastSet, Market, ServedModel, iso
from cryptocast.workflows.keeping import spent
from support.commands import BTC, INTERVAL, NOW, candles, good, listing, query, run, start_loaded

DAY = 86_400
KEPT = 2016
RULES = [
    "logs that nobody wrote to for 30 days",
    "MLflow's trials, and runs deleted by hand, older than 90 days",
    "bundles that served for the last time more than 90 days ago",
    "all but the newest 7 backups",
    "no rows: [prune] rows_days is not set",
]


def aged(path: Path, days: float, text: str | None = None) -> Path:
    """A file (or a folder with a file) that was last written so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is not None:
        path.write_text(text, encoding="utf-8")
    moment = time.time() - days * DAY
    for entry in (*path.rglob("*"), path):
        os.utime(entry, (moment, moment))
    return path


def pruned(folder: Path, *options: str) -> list[tuple[str, str]]:
    """Kind and name of what a dry run would remove; the real one removes the same."""
    before = listing(folder)
    dry = good("prune", "-w", folder, "--dry-run", *options)
    assert listing(folder) == before
    assert events(folder) == []
    real = good("prune", "-w", folder, *options)
    assert real | {"dry_run": True, "database": dry["database"]} == dry
    return [(thing["kind"], thing["name"]) for thing in real["things"]]


def events(folder: Path) -> list[dict[str, Any]]:
    rows = query(folder, "SELECT detail::VARCHAR FROM events WHERE kind = 'pruned' ORDER BY rowid")
    return [json.loads(row[0]) for row in rows]


def test_in_a_young_workspace_nothing_goes_and_the_rules_are_told(workspace: Path) -> None:
    assert pruned(workspace) == []
    assert events(workspace) == []
    data = good("prune", "-w", workspace)
    assert (data["rules"], data["rows"], data["bytes"]) == (RULES, [], 0)
    done = run("prune", "-w", workspace, "--dry-run")
    assert done.out.splitlines()[:2] == ["Nothing would be removed.", f"rule: {RULES[0]}"]


def test_old_logs_go_and_large_ones_are_rotated(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spent, "_LARGE_LOG_BYTES", 10)
    logs = workspace / "logs"
    aged(logs / "cron.20240101T000000Z.old", 31, "old")
    young = aged(logs / "young.log", 29, "young")
    large = aged(logs / "cron.log", 0, "a line\n" * 3)
    with large.open("a", encoding="utf-8") as writer:
        assert pruned(workspace) == [
            ("log", "logs/cron.20240101T000000Z.old"),
            ("rotated", "logs/cron.log"),
        ]
        writer.write("the next line\n")  # of a loop that has the file open
    (rotated,) = logs.glob("cron.*.old")
    assert rotated.read_text(encoding="utf-8") == "a line\n" * 3
    assert large.read_text(encoding="utf-8") == "the next line\n"
    assert set(logs.iterdir()) == {young, large, rotated}
    told = {"count": 1, "bytes": 3, "names": ["logs/cron.20240101T000000Z.old"]}
    assert events(workspace)[0]["log"] == told


def test_what_killed_processes_left_goes_and_what_live_ones_write_stays(workspace: Path) -> None:
    gone = [
        aged(workspace / ".mlflow.db.999999999.new", 1, "x"),
        aged(workspace / ".cryptocast.duckdb.999999999.part", 1, "x"),
        aged(workspace / "bundles" / ".7.999999999" / "card.json", 1, "x").parent,
        aged(workspace / "checkpoints" / "1.npz", 2, "x"),
    ]
    aged(gone[2], 1)
    aged(workspace / f".mlflow.db.{os.getppid()}.new", 1, "x")
    aged(workspace / ".mlflow.db.999999998.new", 0, "x")  # perhaps of another machine
    aged(workspace / "checkpoints" / "2.npz", 0.5, "x")
    aged(workspace / ".env", 900, "COINCAP_API_KEY=hush")
    names = sorted(("leftover", str(path.relative_to(workspace))) for path in gone)
    before = {p for p in workspace.rglob("*") if not p.is_relative_to(gone[2])} - set(gone)
    assert sorted(pruned(workspace)) == names
    assert set(workspace.rglob("*")) == before


@pytest.fixture
def tuned(workspace: Path) -> Path:
    """All of MLflow's runs are 91 days old."""
    moment = int((time.time() - 91 * DAY) * 1000)
    with sqlite3.connect(workspace / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET start_time = ?, end_time = ?", (moment, moment))
    connection.close()
    return workspace


def stages(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / "mlflow.db") as connection:
        found = connection.execute(
            "SELECT value, count(*) FROM tags WHERE key = 'stage' GROUP BY value"
        ).fetchall()
    connection.close()
    return dict(found)


def test_old_trials_go_and_every_version_stays_as_it_was(tuned: Path) -> None:
    versions, before = good("models", "-w", tuned)["versions"], stages(tuned)
    assert before["trial"] == 2
    gone = pruned(tuned)
    assert [kind for kind, _ in gone] == ["run", "run"]
    del before["trial"]
    assert stages(tuned) == before
    assert good("models", "-w", tuned)["versions"] == versions
    assert all(version["usable"] for version in versions)
    assert set(events(tuned)[0]["run"]["names"]) == {name for _, name in gone}
    # Production can be frozen anew from what MLflow keeps.
    shutil.rmtree(tuned / "bundles")
    good("promote", "2", "-w", tuned, "--as-of", iso(NOW))


def test_a_run_that_was_deleted_by_hand_goes_with_its_files_unless_a_version_is_of_it(
    tuned: Path,
) -> None:
    with sqlite3.connect(tuned / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = 1")
        (uri,) = connection.execute(
            "SELECT artifact_uri FROM runs JOIN tags USING (run_uuid) "
            "WHERE key = 'stage' AND value = 'tune'"
        ).fetchone()
    connection.close()
    folder = tuned / "mlartifacts" / uri.partition("/mlartifacts/")[2]
    assert (folder / "history.png").exists()
    gone = dict.fromkeys(kind for kind, _ in pruned(tuned))
    assert list(gone) == ["run"]
    assert not folder.parent.exists()
    assert set(stages(tuned)) == {"train"}
    assert all(version["usable"] for version in good("models", "-w", tuned)["versions"])


def test_another_mlflow_store_is_left_alone_and_bundles_with_it_where_it_is_silent(
    tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stages(tuned)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tuned / 'cryptocast.toml'}/mlflow.db")
    aged(tuned / "logs" / "x.log", 31, "old")
    done = run("prune", "-w", tuned, "--json")
    assert done.code == 0
    assert [thing["kind"] for thing in done.data["things"]] == ["log"]
    assert "warning: runs and bundles were left alone: " in done.err
    assert stages(tuned) == before


def deploy(folder: Path, version: str, previous: str, days: float) -> None:
    """A deployment that was written so many days ago, with its bundle of that age."""
    with Store(folder / "cryptocast.duckdb", 60).write() as writer:
        writer.put_deployment(
            Deployment(0, NOW, "*", version, previous, "promote", "x", "{}"),
            written_at=time.time() - days * DAY,
        )
    aged(folder / "bundles" / version / "card.json", days, "{}")
    aged(folder / "bundles" / version, days)


def test_bundles_go_that_nothing_of_the_kept_time_names(workspace: Path) -> None:
    with Store(workspace / "cryptocast.duckdb", 60).write() as writer:
        writer.query("DELETE FROM deployments")
    deploy(workspace, "11", "10", 400)
    deploy(workspace, "12", "11", 300)
    deploy(workspace, "13", "12", 200)  # ruled when the kept time began
    deploy(workspace, "14", "13", 10)
    aged(workspace / "bundles" / "15" / "card.json", 1, "{}")  # just frozen: no row names it yet
    aged(workspace / "bundles" / "16" / "card.json", 400, "{}")
    for version in ("1", "2", "16"):  # 1 and 2 bear aliases
        aged(workspace / "bundles" / version, 400)
    assert pruned(workspace) == [("bundle", "bundles/11"), ("bundle", "bundles/16")]
    left = {path.name for path in (workspace / "bundles").iterdir()}
    assert left == {"1", "2", "12", "13", "14", "15"}


def test_the_bundle_of_a_shadow_stays(workspace: Path) -> None:
    good("shadow", "1", "-w", workspace, "--as-of", iso(NOW))
    with Store(workspace / "cryptocast.duckdb", 60).write() as writer:
        writer.query("DELETE FROM deployments")
    with sqlite3.connect(workspace / "mlflow.db") as connection:
        connection.execute("DELETE FROM registered_model_aliases")
    connection.close()
    for version in ("1", "2"):
        aged(workspace / "bundles" / version, 400)
    assert pruned(workspace) == [("bundle", "bundles/2")]


def test_only_the_newest_backups_stay(workspace: Path) -> None:
    made = [Path(good("backup", "-w", workspace)["folder"]).name for _ in range(3)]
    assert pruned(workspace, "--keep", "2") == [("backup", f"backups/{made[0]}")]
    assert sorted(p.name for p in (workspace / "backups").iterdir()) == sorted(made[1:])


def a_set(market: Market, origin: int) -> ForecastSet:
    quantiles = 100 + np.outer([1.0, 2.0], [-1.0, 0.1, 1.0])
    model = ServedModel("2", "lstm", None)
    return ForecastSet(
        market, origin, origin + 10.0, 100.0, 0, "live", model, (0.05, 0.5, 0.95), quantiles
    )


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """20 days of candles and 10 of forecasts of a market; a few old rows of another."""
    folder = tmp_path / "long"
    folder.mkdir()
    toml = f'[source]\nname = "file"\n[market]\nsymbols = ["{BTC.symbol}"]\n'
    (folder / "cryptocast.toml").write_text(toml, encoding="utf-8")
    other = Market("kraken", "ETH", "EUR", "5m")
    series = candles(bars=20 * 288)
    end = int(series.open_time[-1]) + INTERVAL
    with Store(folder / "cryptocast.duckdb", 60).write() as writer:
        for market, kept in ((BTC, series), (other, series.take(slice(100)))):
            writer.put_candles(market, kept, provenance="live", fetched_at=1)
            writer.put_event(int(series.open_time[0]), "candle.revised", market.id, {})
        writer.put_event(int(series.open_time[0]), "init.finished", None, {})
        origins = range(end - 10 * DAY, end, INTERVAL)
        writer.ledger.put_sets([a_set(BTC, origin) for origin in origins], served=True)
        ticks = [Tick(BTC.id, origin, origin, origin + 1, "ok") for origin in origins]
        writer.ledger.put_ticks(ticks)
    return folder


def rows(folder: Path, market: Market) -> dict[str, int]:
    tables = ("candles", "forecast_sets", "ticks", "events")
    return {
        t: query(folder, f"SELECT count(*) FROM {t} WHERE market = '{market.id}'")[0][0]
        for t in tables
    }


def test_rows_stay_unless_they_are_asked_for(long: Path) -> None:
    before = rows(long, BTC)
    assert pruned(long, "--as-of", "2030-01-01T00:00:00Z") == []
    assert rows(long, BTC) == before


def test_old_rows_go_but_the_newest_of_each_market_and_what_is_of_none_stay(long: Path) -> None:
    end = iso(int(candles(bars=20 * 288).open_time[-1]) + INTERVAL)
    assert pruned(long, "--days", "8", "--as-of", end) == []
    assert rows(long, BTC) == dict.fromkeys(("candles", "forecast_sets", "ticks"), 8 * 288) | {
        "events": 0
    }
    # The other market has fewer candles than always stay.
    assert rows(long, Market("kraken", "ETH", "EUR", "5m"))["candles"] == 100
    assert query(long, "SELECT kind FROM events WHERE market IS NULL ORDER BY rowid") == [
        ("init.finished",),
        ("pruned",),
    ]
    (told,) = events(long)
    assert {table: found["count"] for table, found in told["rows"].items()} == {
        "candles": 12 * 288,
        "forecast_sets": 2 * 288,
        "ticks": 2 * 288,
        "events": 1,
    }
    # Ten years later, the last 2,016 origins and candles are still there.
    good("prune", "-w", long, "--days", "7", "--as-of", "2034-01-01T00:00:00Z")
    assert rows(long, BTC) == dict.fromkeys(("candles", "forecast_sets", "ticks"), KEPT) | {
        "events": 0
    }


def test_the_candles_that_a_model_is_made_from_stay(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_DATA__DAYS", "15")
    good("prune", "-w", long, "--days", "7", "--as-of", "2034-01-01T00:00:00Z")
    assert rows(long, BTC)["candles"] == 15 * 288


def test_compaction_gives_the_room_back(long: Path) -> None:
    good("prune", "-w", long, "--days", "7", "--as-of", "2034-01-01T00:00:00Z")
    data = good("prune", "-w", long, "--compact")
    assert data["database"]["after_bytes"] < 0.8 * data["database"]["before_bytes"]
    assert data["database"]["after_bytes"] == (long / "cryptocast.duckdb").stat().st_size
    assert rows(long, BTC)["candles"] == KEPT
    done = run("prune", "-w", long, "--compact", "--dry-run")
    assert "compact" not in done.err


def test_what_cannot_be_removed_is_told_and_what_went_before_it_is_an_event(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.log", "b.log", "c.log"):
        aged(workspace / "logs" / name, 31, "old")
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self.name == "b.log":
            raise PermissionError(13, "Permission denied", str(self))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    done = run("prune", "-w", workspace, "--json")
    assert (done.code, done.error["code"]) == (4, "store.unwritable")
    assert str(workspace / "logs" / "b.log") in done.error["message"]
    assert [e["log"]["names"] for e in events(workspace)] == [["logs/a.log"]]
    assert sorted(p.name for p in (workspace / "logs").iterdir()) == ["b.log", "c.log"]


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--days", "1"), "prune.rows_days = 1.0 in "), (("--keep", "0"), "prune.backups = 0 in ")],
)
def test_a_rule_that_leaves_too_little_is_refused(
    workspace: Path, options: tuple[str, ...], message: str
) -> None:
    done = run("prune", "-w", workspace, *options, "--json")
    assert (done.code, done.error["code"]) == (2, "config.invalid")
    assert done.error["message"].startswith(message)


def test_ticks_go_on_while_rows_are_pruned_and_the_file_is_compacted(workspace: Path) -> None:
    script = """
import sys
from cryptocast import cli
from cryptocast.values import iso
folder, first = sys.argv[1], int(sys.argv[2])
for bar in range(12):
    code = cli.run(["forecast", "--once", "-q", "-w", folder, "--as-of", iso(first + 300 * bar)])
    print(code, flush=True)
"""
    child = start_loaded(str(workspace), str(NOW + INTERVAL), script=script)
    assert child.stdout is not None
    assert child.stdout.readline() == "0\n"
    for _ in range(3):
        good("prune", "-w", workspace, "--days", "7", "--compact")
    out, err = child.communicate(timeout=600)
    assert (out, err) == ("0\n" * 11, "")
    counts = query(workspace, "SELECT count(*), count(DISTINCT origin) FROM forecast_sets")
    assert counts == [(12, 12)]


def test_a_lock_is_no_log_however_long_it_is_held(workspace: Path) -> None:
    lock = workspace / "logs" / "serve-flows.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    os.utime(lock, (0, 0))
    good("prune", "-w", workspace)
    assert lock.exists()
