"""A flush archives what nobody needs, whole or not at all, and that is never served again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cryptocast.clock import VirtualClock
from cryptocast.errors import StoreError
from cryptocast.store import Store, retention
from cryptocast.values import Market, iso
from cryptocast.workflows.keeping.flush import Flushed, flush
from cryptocast.workflows.watching import verdicts
from cryptocast.workspace import Workspace
from support.aged import (
    GONE,
    KEPT_BARS,
    SETS_GONE,
    SMALL,
    a_set,
    age,
    archives,
    in_archive,
    in_database,
)
from support.commands import BTC, INTERVAL, NOW, Made, counts, query, run

LIMIT = NOW - KEPT_BARS * INTERVAL
ETH = Market.of("ETH/EUR", "file", "5m")


@pytest.fixture(scope="module")
def template(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return age(made.folder, tmp_path_factory.mktemp("aged") / "w")


@pytest.fixture
def old(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "w"))


def opened(folder: Path, now: int = NOW) -> Workspace:
    return Workspace.open(folder, environ=SMALL, clock=VirtualClock(now))


def flushed(folder: Path, now: int = NOW) -> Flushed:
    with opened(folder, now) as ws:
        return flush(ws.store, ws.folder, ws.settings, ws.clock.now())


def told(folder: Path) -> list[dict[str, Any]]:
    rows = query(folder, "SELECT detail::VARCHAR FROM events WHERE kind = 'archived'")
    return [json.loads(row[0]) for row in rows]


def test_old_rows_move_into_the_archive_and_everything_else_stays(old: Path) -> None:
    before = {table: in_database(old, table) for table in ("candles", "forecast_sets")}
    rows = counts(old)
    done = flushed(old)
    (archive,) = archives(old)
    assert done.folder == archive
    assert [t.rows for t in done.tables] == [GONE, SETS_GONE]
    for table, everything in before.items():
        went, stayed = in_archive(archive, table), in_database(old, table)
        assert went | stayed == everything
        assert not went & stayed
    assert counts(old) == rows | {
        "candles": KEPT_BARS,
        "forecast_sets": rows["forecast_sets"] - SETS_GONE,
        "events": rows["events"] + 1,
    }
    assert query(old, "SELECT epoch(min(open_time)) FROM candles") == [(LIMIT,)]


def test_the_event_tells_counts_and_hashes_of_the_files(old: Path) -> None:
    done = flushed(old)
    (event,) = told(old)
    (archive,) = archives(old)
    assert event == {
        "folder": archive.name,
        "before": {BTC.id: iso(LIMIT)},
        "served_until": {BTC.id: iso(LIMIT - INTERVAL)},
        "tables": {
            t.table: {
                "rows": t.rows,
                "fingerprint": t.fingerprint,
                "sha256": hashlib.sha256((archive / f"{t.table}.parquet").read_bytes()).hexdigest(),
            }
            for t in done.tables
        },
    }


def test_the_monitor_says_the_same_after_a_flush(old: Path) -> None:
    with opened(old) as ws:
        before = verdicts.look(ws)
        flush(ws.store, ws.folder, ws.settings, ws.clock.now())
        after = verdicts.look(ws)
    assert before.markets[0].windows["week"].origins == 2017
    assert verdicts.document(after) == verdicts.document(before)


def test_where_nothing_is_old_there_is_no_archive(old: Path) -> None:
    flushed(old)
    rows = counts(old)
    assert flushed(old) == Flushed(None, (), {})
    assert counts(old) == rows
    assert len(archives(old)) == 1


def test_the_last_origins_stay_however_long_ago_they_were(old: Path) -> None:
    flushed(old, NOW + 3650 * 86_400)
    assert counts(old)["forecast_sets"] == 2016
    assert counts(old)["candles"] == 2016
    assert query(old, "SELECT epoch(max(origin)) FROM forecast_sets") == [(NOW - INTERVAL,)]


@pytest.mark.parametrize(
    "command",
    [
        ("forecast", "--once", "--no-fetch", "--as-of", iso(LIMIT - INTERVAL)),
        ("replay", "--in-sample", "--start", iso(LIMIT - INTERVAL), "--end", iso(LIMIT)),
    ],
    ids=["a tick", "a replay"],
)
def test_an_archived_origin_is_not_served_again(
    old: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    flushed(old)
    rows = counts(old)
    done = run(*command, "-w", old, "--json")
    (archive,) = archives(old)
    last = iso(LIMIT - INTERVAL)
    assert done.code == 2
    assert done.error == {
        "code": "usage.archived",
        "message": f"forecasts of {BTC.id} were archived up to the origin {last}: "
        f"{last} is not served again",
        "hint": f"the forecasts of that time are in archive/{archive.name}",
    }
    assert counts(old) == rows


def test_a_pruned_origin_is_not_served_again_either(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    assert run("prune", "-w", old, "--days", "8", "--as-of", iso(NOW)).code == 0
    when = NOW - 8 * 86_400 - INTERVAL
    done = run("forecast", "--once", "--no-fetch", "--as-of", iso(when), "-w", old, "--json")
    assert (done.code, done.error["code"]) == (2, "usage.pruned")
    assert done.error["hint"] == "the forecasts of that time were not kept"


def test_a_market_without_archived_forecasts_may_be_served_at_any_origin(old: Path) -> None:
    with Store(old / "cryptocast.duckdb", 60).write() as writer:
        rows = writer.candles([BTC], 0, NOW)[BTC]
        writer.put_candles(ETH, rows, provenance="backfill", fetched_at=NOW)
        sets = [a_set(NOW - INTERVAL * bar, 100.0, market=ETH) for bar in range(1, 2018)]
        writer.ledger.put_sets(sets, served=True)
    flushed(old)
    (event,) = told(old)
    assert set(event["before"]) == {BTC.id, ETH.id}
    assert set(event["served_until"]) == {BTC.id}


def test_a_revision_meanwhile_deletes_nothing_and_leaves_no_archive(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(3))
    archivable = retention.archivable

    def revised(*arguments: Any) -> Any:
        found = archivable(*arguments)
        if next(looks) < 2:  # before writing, and while it writes
            return found
        return [dataclasses.replace(found[0], fingerprint="other"), found[1]]

    monkeypatch.setattr(retention, "archivable", revised)
    rows = counts(old)
    with pytest.raises(StoreError, match=r"^candles were revised while") as caught:
        flushed(old)
    assert (caught.value.code, caught.value.retry) == ("store.changed", True)
    assert counts(old) == rows
    assert archives(old) == []


def test_what_a_killed_flush_left_is_removed_by_the_next(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention, "delete_archived", killed)
        with pytest.raises(KeyboardInterrupt):
            flushed(old)
    (uncommitted,) = archives(old)
    part = old / "archive" / ".20240101T000000.000Z.999999999.part"
    shutil.copytree(uncommitted, part)
    alive = part.with_name(f".20240101T000000.000Z.{os.getppid()}.part")
    alive.mkdir()
    done = flushed(old)
    assert set(archives(old)) == {alive, done.folder}
    assert done.folder != uncommitted


def test_an_archive_of_a_database_that_is_no_more_stays(old: Path) -> None:
    """Whoever begins the database anew has only the archive; no event tells of it any more."""
    first = flushed(old)
    assert first.folder is not None
    for file in old.glob("cryptocast.duckdb*"):
        file.unlink()
    with Store(old / "cryptocast.duckdb", 60).write() as writer:
        before = age_rows()
        writer.ledger.put_sets(before, served=True)
    mine = old / "archive" / "20200101T000000.000Z"
    mine.mkdir()
    flushed(old)
    assert {first.folder, mine} <= set(archives(old))


def age_rows() -> list[Any]:
    return [a_set(NOW - INTERVAL * bar, 100.0) for bar in range(1, 2030)]


def test_an_archive_that_cannot_be_removed_is_told(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = flushed(old)
    assert done.folder is not None
    with Store(old / "cryptocast.duckdb", 60).write() as writer:
        writer.query("DELETE FROM events WHERE kind = 'archived'")
        for table in ("candles", "forecast_sets"):
            writer.query(f"CREATE TABLE gone AS FROM '{done.folder}/{table}.parquet'")
            columns = "* EXCLUDE (levels), 1 AS level_set" if table != "candles" else "*"
            writer.query(f"INSERT INTO {table} BY NAME SELECT {columns} FROM gone")
            writer.query("DROP TABLE gone")

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError) as caught:
        flushed(old)
    assert caught.value.code == "store.unwritable"
    assert str(done.folder) in caught.value.message
