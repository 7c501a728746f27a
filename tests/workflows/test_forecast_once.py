"""One tick: what it serves, what it stores, and what it does when something is missing."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cryptocast.values import iso
from support.commands import (
    AS_OF,
    BARS,
    INTERVAL,
    NEXT,
    NOW,
    Made,
    candles,
    counts,
    good,
    listing,
    query,
    run,
    state,
    write,
)

H = 24
SETS = "SELECT t::VARCHAR FROM forecast_sets t ORDER BY origin"  # doubles with all their digits


def tick(folder: Path, as_of: str = NEXT, *options: str) -> dict:
    return good("forecast", "--once", "-w", folder, "--as-of", as_of, *options)


def files(folder: Path, monkeypatch: pytest.MonkeyPatch, bars: int, *, wrong_from: int = 0) -> None:
    """Let the files of a workspace end after `bars`; prices from `wrong_from` on are others."""
    c = candles(bars=bars)
    if wrong_from:
        c = dataclasses.replace(
            c,
            **{
                name: np.where(np.arange(bars) < wrong_from, getattr(c, name), 7.0)
                for name in ("open", "high", "low", "close", "volume")
            },
        )
    file = write(folder.parent / "other" / "BTC-EUR.parquet", c)
    monkeypatch.setenv("CRYPTOCAST_SOURCE__PATH", str(file))


def test_a_second_run_at_the_same_moment_changes_nothing(workspace: Path) -> None:
    first = tick(workspace)
    stored, rows = query(workspace, SETS), counts(workspace)
    for as_of in (NEXT, "2024-06-03T00:09:59Z"):
        again = tick(workspace, as_of)
        assert (first["new"], again["new"]) == (True, False)
        assert again["forecasts"] == first["forecasts"]
    assert query(workspace, SETS) == stored
    assert counts(workspace) == rows


def test_twelve_runs_leave_twelve_whole_sets(workspace: Path) -> None:
    for bar in range(1, 13):
        tick(workspace, iso(NOW + bar * INTERVAL))
    assert query(
        workspace,
        """SELECT count(*), count(DISTINCT origin), count(DISTINCT step), bool_and(served),
        bool_and(mode = 'live'), bool_and(fallback IS NULL), min(model_version)
        FROM forecasts WHERE served""",
    ) == [(12 * H, 12, H, True, True, True, "2")]
    assert query(workspace, "SELECT DISTINCT status, count(*) FROM ticks GROUP BY 1") == [
        ("ok", 12)
    ]


def test_what_is_printed_is_what_is_stored(workspace: Path) -> None:
    (forecast,) = tick(workspace)["forecasts"]
    rows = query(workspace, "SELECT step, levels, quantiles FROM forecasts ORDER BY step")
    assert rows == [(s["step"], forecast["levels"], s["quantiles"]) for s in forecast["steps"]]


def test_no_later_candle_is_seen(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(workspace, tmp_path / "other-w"))
    moment = "2024-06-03T00:12:30Z"  # the candle of 00:10 is still open
    honest = tick(workspace, moment)["forecasts"]
    files(workspace, monkeypatch, BARS + 20, wrong_from=BARS + 2)
    assert tick(other, moment)["forecasts"] == honest
    assert query(other, "SELECT max(open_time)::VARCHAR FROM candles")[0][0].startswith(
        "2024-06-03 00:05:00"
    )


def test_an_earlier_candle_does_change_the_forecast(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(workspace, tmp_path / "other-w"))
    honest = tick(workspace, "2024-06-03T00:10:00Z")["forecasts"]
    files(workspace, monkeypatch, BARS + 20, wrong_from=BARS + 1)
    assert tick(other, "2024-06-03T00:10:00Z")["forecasts"] != honest


def test_a_missing_newest_candle_keeps_the_clocks_origin(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(workspace, monkeypatch, BARS + 2)
    (forecast,) = tick(workspace, "2024-06-03T00:15:00Z")["forecasts"]
    assert forecast["origin"] == "2024-06-03T00:15:00Z"
    assert forecast["stale_bars"] == 1
    assert forecast["last_close"] == candles(bars=BARS + 2).close[-1]
    assert forecast["model"] == {"version": "2", "kind": "lstm", "fallback": None}


def test_too_old_a_candle_makes_the_random_walk_serve(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(workspace, monkeypatch, BARS)
    fine = run("forecast", "--once", "-w", workspace, "--as-of", "2024-06-03T00:15:00Z", "--json")
    assert fine.data["forecasts"][0]["stale_bars"] == 3
    assert fine.data["forecasts"][0]["model"]["version"] == "2"
    old = run("forecast", "--once", "-w", workspace, "--as-of", "2024-06-03T00:20:00Z", "--json")
    assert old.code == 0
    (forecast,) = old.data["forecasts"]
    assert forecast["stale_bars"] == 4
    assert forecast["model"] == {
        "version": "builtin:random_walk",
        "kind": "random_walk",
        "fallback": "stale_data",
    }
    assert (
        "warning: file:BTC/EUR:5m: served by builtin:random_walk instead of production (stale_data)"
    ) in old.err
    assert query(
        workspace, "SELECT DISTINCT model_version, fallback FROM forecasts ORDER BY 1"
    ) == [
        ("2", None),
        ("builtin:random_walk", "stale_data"),
    ]


def test_a_candle_that_comes_later_changes_no_forecast(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        files(workspace, patch, BARS)
        before = tick(workspace)["forecasts"]
    again = tick(workspace)
    assert again["forecasts"] == before
    assert again["new"] is False


def damage(folder: Path, version: str, how: str) -> None:
    bundle = folder / "bundles" / version
    if how == "bundle_missing":
        shutil.rmtree(bundle)
    elif how == "graph":
        graph = bytearray((bundle / "model.onnx").read_bytes())
        graph[len(graph) // 2] ^= 1
        (bundle / "model.onnx").write_bytes(bytes(graph))
    elif how == "card":
        text = (bundle / "card.json").read_text(encoding="utf-8")
        (bundle / "card.json").write_text(text.replace('"lookback": 64', '"lookback": 65'))
    else:
        (bundle / "card.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("bundle_missing", "bundle_missing"),
        ("graph", "bundle_damaged"),
        ("card", "bundle_damaged"),
        ("torn", "bundle_damaged"),
    ],
)
def test_a_bad_bundle_makes_the_version_before_serve_and_says_so(
    workspace: Path, how: str, reason: str
) -> None:
    damage(workspace, "2", how)
    done = run("forecast", "--once", "-w", workspace, "--as-of", NEXT, "--json")
    assert done.code == 0
    assert done.data["forecasts"][0]["model"] == {
        "version": "1",
        "kind": "random_walk",
        "fallback": reason,
    }
    assert f"served by 1 instead of production ({reason})" in done.err


def test_two_bad_bundles_leave_the_random_walk_that_is_built_in(workspace: Path) -> None:
    damage(workspace, "2", "graph")
    damage(workspace, "1", "bundle_missing")
    done = run("forecast", "--once", "-w", workspace, "--as-of", NEXT, "--json")
    assert done.code == 0
    assert done.data["forecasts"][0]["model"] == {
        "version": "builtin:random_walk",
        "kind": "random_walk",
        "fallback": "bundle_damaged",
    }
    steps = done.data["forecasts"][0]["steps"]
    assert all(np.diff(step["quantiles"]).min() > 0 for step in steps)


def test_promoting_again_mends_a_damaged_bundle(workspace: Path) -> None:
    damage(workspace, "2", "graph")
    good("promote", "2", "-w", workspace, "--as-of", NEXT, "--force", "--reason", "mend it")
    assert tick(workspace)["forecasts"][0]["model"]["version"] == "2"


def test_a_source_that_is_gone_costs_a_warning_not_the_forecast(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_SOURCE__PATH", "/gone/BTC-EUR.parquet")
    done = run("forecast", "--once", "-w", workspace, "--as-of", NEXT, "--json")
    assert done.code == 0
    assert done.data["forecasts"][0]["stale_bars"] == 1
    assert (
        "warning: file:BTC/EUR:5m: there is no file /gone/BTC-EUR.parquet (check [source] path)"
    ) in done.err


def test_without_fetching_nothing_is_asked_of_the_source(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_SOURCE__PATH", "/gone/BTC-EUR.parquet")
    done = run("forecast", "--once", "--no-fetch", "-w", workspace, "--as-of", NEXT, "--json")
    assert done.code == 0
    assert "warning" not in done.err
    alone = run("forecast", "--no-fetch", "-w", workspace, "--as-of", NEXT, "--json")
    assert (alone.code, alone.error["code"]) == (2, "usage")


def test_a_folder_that_is_no_workspace_is_told_and_left_alone(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        done = run("forecast", "--once", "-w", folder, "--json")
        assert done.code == 3
        assert done.error == {
            "code": "state.no_workspace",
            "message": f"{folder} is not a workspace",
            "hint": f"cryptocast init --workspace {folder}",
        }
    assert listing(tmp_path) == set()


def test_a_workspace_without_a_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "cryptocast.toml").write_text('[source]\nname = "sim"\n', encoding="utf-8")
    done = run("forecast", "--once", "-w", tmp_path, "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_production")
    assert run("forecast", "--once", "-w", tmp_path).err == (
        f"error: there is no production model (cryptocast init -w {tmp_path})\n"
    )


def test_a_market_below_24_candles_has_no_forecast(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["sim:SOL/EUR:5m"]')
    done = run("forecast", "--once", "--no-fetch", "-w", workspace, "--as-of", NEXT, "--json")
    assert (done.code, done.error["code"]) == (3, "state.not_enough_candles")
    assert done.error["message"] == (
        f"sim:SOL/EUR:5m has 0 candles before {NEXT}, at least 24 are needed"
    )
    assert query(workspace, "SELECT status, error_code FROM ticks") == [
        ("failed", "state.not_enough_candles")
    ]
    assert query(workspace, "SELECT count(*) FROM forecast_sets") == [(0,)]


def test_one_market_that_fails_does_not_stop_the_other(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["sim:SOL/EUR:5m", "BTC/EUR"]')
    done = run("forecast", "--once", "--no-fetch", "-w", workspace, "--as-of", NEXT, "--json")
    assert done.code == 0
    assert [f["market"] for f in done.data["forecasts"]] == ["file:BTC/EUR:5m"]
    assert "warning: sim:SOL/EUR:5m: sim:SOL/EUR:5m has 0 candles" in done.err


def test_a_forecast_that_comes_late_says_so(workspace: Path) -> None:
    assert tick(workspace, "2024-06-03T00:07:30Z")["forecasts"][0]["late"] is False
    late = tick(workspace, "2024-06-03T00:12:31Z")["forecasts"][0]
    assert (late["late"], late["origin"]) == (True, "2024-06-03T00:10:00Z")
    assert query(workspace, "SELECT DISTINCT mode FROM forecasts WHERE late") == [("late",)]


def test_a_database_that_is_none_is_told_and_left_alone(workspace: Path) -> None:
    file = workspace / "cryptocast.duckdb"
    file.write_bytes(b"this is no database" * 1000)
    before = listing(workspace)
    done = run("forecast", "--once", "-w", workspace, "--as-of", NEXT, "--json")
    assert (done.code, done.error["code"]) == (4, "store.corrupt")
    assert listing(workspace) == before
    assert file.read_bytes() == b"this is no database" * 1000


def test_a_tick_that_cannot_commit_leaves_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptocast.errors import StoreError
    from cryptocast.store import LedgerWriter

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full", code="store.full")

    good("fetch", "-w", workspace, "--as-of", NEXT)
    before = state(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(LedgerWriter, "put_ticks", full)
        done = run("forecast", "--once", "-w", workspace, "--as-of", NEXT, "--json")
    assert (done.code, done.error["code"]) == (4, "store.full")
    assert state(workspace) == before
    assert tick(workspace)["new"] is True


def test_a_workspace_can_be_moved(made: Made, forced: Path, tmp_path: Path) -> None:
    """What MLflow keeps by absolute paths follows: nothing may reach back to the old place."""
    first = Path(shutil.copytree(forced, tmp_path / "first"))
    good("models", "-w", first, "--as-of", AS_OF)
    moved = first.rename(tmp_path / "second")
    assert tick(moved)["forecasts"][0]["model"]["fallback"] is None
    good("evaluate", "-w", moved, "--as-of", NEXT)
    good("rollback", "-w", moved, "--as-of", NEXT)
    good("train", "--model", "random_walk", "-w", moved, "--as-of", NEXT)
    with closing(sqlite3.connect(moved / "mlflow.db")) as connection:
        kept = "\n".join(connection.iterdump())
    assert str(moved) in kept
    # Other tests copy the first two meanwhile: they cannot be hidden.
    assert [old for old in (made.folder, forced, first) if str(old) in kept] == []
    assert not first.exists()


def test_no_version_forecasts_what_it_has_learned_from(workspace: Path) -> None:
    """Asked for a past moment, a version that was trained later would know the answer."""
    (made,) = tick(workspace, "2024-06-01T12:00:00Z", "--no-fetch")["forecasts"]
    assert made["model"] == {
        "version": "builtin:random_walk",
        "kind": "random_walk",
        "fallback": "learned_later",
    }
