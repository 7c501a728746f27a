"""replay: a past range through the code of the tick, into the ledger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cryptocast.cli.root.hints import as_typed
from cryptocast.errors import StateError
from cryptocast.values import iso
from cryptocast.workflows import replay as module
from cryptocast.workflows.replay import plan, replay
from support.commands import BARS, Done, query, run, start_loaded
from support.ticks import MARKETS, SYMBOLS, at, change, drop, origin, sets, spoil_from, tick_rows
from support.ticks import ticked as ticked_once

# What a replay and separate ticks share; doubles with all their digits.
EQUAL = (
    "market, bar, model_version, level_set, quantiles::VARCHAR, last_close, stale_bars, served,"
    " fallback, scale::VARCHAR"
)
HALTING = """
import sys
import time
from cryptocast import cli
from cryptocast.workflows import replay
replay.BLOCK_ORIGINS = 10
forecast_runs, asked = replay.forecast_runs, []

def halting(*arguments, **named):
    asked.append(1)
    if len(asked) == 3:
        print("here", flush=True)
        time.sleep(3600)
    return forecast_runs(*arguments, **named)

replay.forecast_runs = halting
sys.exit(cli.run(sys.argv[1:]))
"""


def copy(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.parent / name))


def replayed(folder: Path, first: int, last: int, *, settings: Any = None, **options: Any) -> int:
    """Replay, and how many sets were made."""
    with at(folder, max(last, 0) + 1, **(settings or {})) as ws:
        planned = plan(ws, origin(first), origin(last), **options)
        return sum(len(block.sets) for block in replay(ws, planned))


def command(folder: Path, first: int, last: int, *options: str) -> Done:
    times = ("--start", iso(origin(first)), "--end", iso(origin(last)))
    return run("replay", "-w", folder, *times, "--as-of", iso(origin(last)), *options)


def warnings(done: Done) -> list[str]:
    return [line for line in done.err.splitlines() if line.startswith("warning: ")]


def documents(done: Done) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in done.out.splitlines()]
    assert all(d["command"] == "replay" and d["ok"] is True for d in found)
    return [d["data"] for d in found]


def test_it_equals_separate_ticks_byte_for_byte(w: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 5 bars in a row are stale data; with every other one of a later stretch, too many are gone.
    drop(w, [*range(10, 15), *range(17, 43, 2)])
    other = copy(w, "other")
    ticked_once(w, *range(1, 46))
    monkeypatch.setattr(module, "BLOCK_ORIGINS", 17)
    assert replayed(other, 1, 45) == 45
    assert sets(other, EQUAL) == sets(w, EQUAL)
    assert query(w, "SELECT fallback, count(*) FROM forecast_sets GROUP BY 1 ORDER BY 1") == [
        ("missing_bars", 6),
        ("stale_data", 2),
        (None, 37),
    ]


def test_it_equals_ticks_where_production_is_damaged_and_for_many_markets(w: Path) -> None:
    settings = {"market__symbols": list(SYMBOLS)}
    (w / "bundles" / "2" / "model.onnx").write_bytes(b"broken")
    drop(w, range(3, 9), MARKETS[1])
    other = copy(w, "other")
    ticked_once(w, *range(1, 13), **settings)
    assert replayed(other, 1, 12, settings=settings) == 36
    assert sets(other, EQUAL) == sets(w, EQUAL)
    assert {row[0] for row in sets(w, "fallback")} == {"bundle_damaged"}


def test_it_equals_ticks_where_there_are_too_few_candles(w: Path) -> None:
    drop(w, range(-BARS, -10))
    other = copy(w, "other")
    for bar in range(10, 14):
        with pytest.raises(StateError, match="at least 24 are needed"):
            ticked_once(w, bar)
    ticked_once(w, *range(14, 20))
    done = command(other, 10, 19, "--json")
    *_, last = documents(done)
    assert (last["summary"]["made"], last["summary"]["failed"]) == (6, 4)
    assert warnings(done) == [
        f"warning: file:BTC/EUR:5m has 20 candles before {iso(origin(10))}, at least 24 are needed"
    ]
    assert sets(other, EQUAL) == sets(w, EQUAL)


def test_a_set_says_that_it_was_replayed_and_its_tick_is_ok(w: Path) -> None:
    replayed(w, 1, 3)
    assert sets(w, "bar, mode, late, served, epoch(issued_at) = epoch(origin)") == [
        (bar, "replay", False, True, True) for bar in (1, 2, 3)
    ]
    assert tick_rows(w) == [(1, "ok"), (2, "ok"), (3, "ok")]


def test_without_calibration_there_is_no_scale(w: Path) -> None:
    replayed(w, 1, 5, settings={"calibration__enabled": False})
    assert sets(w, "scale") == [(None,)] * 5
    assert query(w, "SELECT DISTINCT scale FROM forecasts") == [(1.0,)]


def test_origins_that_were_served_are_skipped(w: Path) -> None:
    ticked_once(w, 3)
    assert replayed(w, 1, 5) == 4
    assert sets(w, "bar, mode") == [
        (1, "replay"), (2, "replay"), (3, "live"), (4, "replay"), (5, "replay"),
    ]  # fmt: skip
    done = command(w, 1, 6, "--json")
    document, summary = documents(done)
    assert document["origin"] == iso(origin(6))
    assert summary["summary"]["skipped"] == 5


def test_interrupted_it_goes_on_after_the_last_block(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy(w, "other")
    monkeypatch.setattr(module, "BLOCK_ORIGINS", 8)
    with at(w, 30) as ws:
        blocks = replay(ws, plan(ws, origin(1), origin(20)))
        next(blocks)
        blocks.close()
    assert [bar for (bar,) in sets(w, "bar")] == [*range(1, 9)]
    assert replayed(w, 1, 20) == 12
    monkeypatch.undo()
    replayed(other, 1, 20)
    assert sets(w, EQUAL) == sets(other, EQUAL)


def test_killed_it_goes_on_after_the_last_block(w: Path) -> None:
    other = copy(w, "other")
    times = ("--start", iso(origin(1)), "--end", iso(origin(40)), "--as-of", iso(origin(40)))
    child = start_loaded("replay", "-w", w, *times, script=HALTING)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
    finally:
        child.kill()
        child.communicate()
    assert [bar for (bar,) in sets(w, "bar")] == [*range(1, 21)]
    assert replayed(w, 1, 40) == 20
    replayed(other, 1, 40)
    assert sets(w, EQUAL) == sets(other, EQUAL)
    assert tick_rows(w) == tick_rows(other)


def test_it_prints_a_document_a_set_and_then_the_summary(w: Path) -> None:
    (w / "bundles" / "2" / "model.onnx").write_bytes(b"broken")
    done = command(w, 1, 3, "--json")
    assert (done.code, warnings(done)) == (0, [])
    *forecasts, summary = documents(done)
    assert [f["origin"] for f in forecasts] == [iso(origin(bar)) for bar in (1, 2, 3)]
    stored = query(w, "SELECT quantiles FROM forecasts ORDER BY origin, step")
    printed = [(step["quantiles"],) for f in forecasts for step in f["steps"]]
    assert printed == stored
    assert summary == {
        "summary": {
            "start": iso(origin(1)),
            "end": iso(origin(3)),
            "made": 3,
            "skipped": 0,
            "failed": 0,
            "served": True,
            "fallbacks": {"bundle_damaged": 3},
        }
    }


def test_a_person_is_shown_what_it_came_to(w: Path) -> None:
    done = command(w, 1, 3)
    assert (done.code, warnings(done)) == (0, [])
    words = [word for word in done.out.split() if word[0].isalnum()]
    told = f"Origins from {iso(origin(1))} to {iso(origin(3))} sets forecast 3 already there 0"
    assert " ".join(words) == f"{told} too few candles 0"
    quiet = command(w, 4, 5, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_the_range_is_of_origins_whatever_lies_between(w: Path) -> None:
    times = ("--start", "2024-06-03T00:06:01Z", "--end", "2024-06-03T00:19:59Z")
    done = run("replay", "-w", w, *times, "--as-of", "2024-06-03T01:00:00Z", "--json")
    assert done.code == 0
    assert [bar for (bar,) in sets(w, "bar")] == [2, 3]


def test_without_an_end_it_goes_to_now(w: Path) -> None:
    done = run("replay", "-w", w, "--start", iso(origin(1)), "--as-of", iso(origin(2) + 299))
    assert done.code == 0
    assert [bar for (bar,) in sets(w, "bar")] == [1, 2]


@pytest.mark.parametrize(
    ("times", "message", "hint"),
    [
        (
            ("2024-06-03T00:10:00Z", "2024-06-03T00:05:00Z"),
            "no origin lies between 2024-06-03T00:10:00Z and 2024-06-03T00:05:00Z",
            "--start and --end are the first and the last origin",
        ),
        (
            ("2024-06-03T00:11:00Z", "2024-06-03T00:14:00Z"),
            "no origin lies between 2024-06-03T00:11:00Z and 2024-06-03T00:14:00Z",
            "--start and --end are the first and the last origin",
        ),
        (
            ("2024-06-03T00:10:00Z", "2024-06-03T03:00:00Z"),
            "the origin 2024-06-03T03:00:00Z is not over yet",
            "--end 2024-06-03T02:00:00Z",
        ),
        (("soon", "2024-06-03"), "'soon' is not a time", "write it as 2024-06-03T00:00:00Z"),
    ],
)
def test_a_range_that_cannot_be_is_refused(
    w: Path, times: tuple[str, str], message: str, hint: str
) -> None:
    options = ("--start", times[0], "--end", times[1], "--as-of", "2024-06-03T02:00:00Z")
    done = run("replay", "-w", w, *options, "--json")
    assert done.code == 2
    assert (done.error["message"], done.error["hint"]) == (message, hint)
    assert sets(w, "bar") == []


def data_end(folder: Path) -> str:
    card = json.loads((folder / "bundles" / "2" / "card.json").read_text(encoding="utf-8"))
    return iso(card["data_end"])


def test_origins_that_the_model_has_learned_from_are_refused(w: Path) -> None:
    done = command(w, -1000, 3, "--json")
    assert done.code == 2
    assert done.error == {
        "code": "usage.in_sample",
        "message": f"version 2 has learned from the candles up to {data_end(w)}",
        "hint": f"--start {data_end(w)}, or --in-sample for sets that do not count as served",
    }
    assert sets(w, "bar") == []


def test_the_hint_to_origins_that_were_not_learned_from_works(w: Path) -> None:
    hint = ("--start", data_end(w), "--end", data_end(w), "--as-of", iso(origin(0)))
    assert run("replay", "-w", w, *hint).code == 0
    assert sets(w, "served, fallback") == [(True, None)]


def test_sets_that_do_not_count_never_bar_the_way_for_those_that_do(w: Path) -> None:
    done = command(w, -1000, 3, "--in-sample", "--json")
    assert (done.code, done.error["code"]) == (2, "usage.in_sample")
    assert done.error["message"] == (
        f"version 2 has not learned from the candles after {data_end(w)}"
    )
    done = command(w, 1, 3, "--version", "2", "--json")
    assert (done.code, done.error["code"]) == (2, "usage.serves")
    assert done.error["message"] == "version 2 is in production: it cannot be a shadow"
    assert query(w, "SELECT count(*) FROM forecast_sets") == [(0,)]


def test_in_sample_sets_are_unserved_and_leave_no_tick(w: Path) -> None:
    done = command(w, -1000, -990, "--in-sample", "--json")
    assert done.code == 0
    *_, summary = documents(done)
    assert (summary["summary"]["made"], summary["summary"]["served"]) == (11, False)
    assert sets(w, "model_version, served, mode, fallback") == [("2", False, "replay", None)] * 11
    assert tick_rows(w) == []
    *_, summary = documents(command(w, -1000, -989, "--in-sample", "--json"))
    assert (summary["summary"]["made"], summary["summary"]["skipped"]) == (1, 11)


def test_another_version_replays_as_a_shadow_beside_what_was_served(w: Path) -> None:
    replayed(w, 1, 5)
    served = sets(w, EQUAL)
    done = command(w, 1, 5, "--version", "1", "--json")
    assert done.code == 0
    *forecasts, summary = documents(done)
    assert {f["model"]["version"] for f in forecasts} == {"1"}
    assert summary["summary"]["served"] is False
    assert sets(w, EQUAL, "served") == served
    assert sets(w, "bar, model_version", "NOT served") == [(bar, "1") for bar in range(1, 6)]
    assert len(tick_rows(w)) == 5


def test_a_shadows_replay_is_what_the_version_would_have_served(w: Path) -> None:
    other = copy(w, "other")
    columns = "bar, quantiles::VARCHAR, scale::VARCHAR"
    replayed(w, 1, 40, version="1")
    change(  # a deployment keeps the hash of its version's graph: this one has none
        other,
        "UPDATE deployments SET model_version = '1', previous_version = NULL, scores = NULL",
    )
    replayed(other, 1, 40)
    assert sets(w, columns) == sets(other, columns)


def test_what_a_version_cannot_answer_is_no_shadow_of_it(w: Path) -> None:
    drop(w, range(5, 12))
    assert replayed(w, 1, 15, version="1") == 11
    assert [bar for (bar,) in sets(w, "bar")] == [*range(1, 9), *range(13, 16)]


def test_a_version_that_is_unknown_is_told(w: Path) -> None:
    done = command(w, 1, 5, "--version", "77", "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_version")


def test_candles_that_end_before_the_range_are_refused(w: Path) -> None:
    drop(w, range(10, 288))
    done = command(w, 1, 14, "--json")
    assert (done.code, done.error["code"]) == (3, "state.not_enough_candles")
    assert done.error["message"] == (
        f"file:BTC/EUR:5m has no candles up to {iso(origin(14))}: they end at {iso(origin(9))}"
    )
    hint = f"cryptocast fetch --start ... --end {iso(origin(14))}"
    assert done.error["hint"] == as_typed(hint)
    assert sets(w, "bar") == []
    assert replayed(w, 1, 13) == 13  # as stale as a tick may be


def test_a_market_without_candles_is_refused(w: Path) -> None:
    change(w, "DELETE FROM candles")
    done = command(w, 1, 2, "--json")
    assert (done.code, done.error["code"]) == (3, "state.not_enough_candles")
    assert done.error["message"].endswith(": there are none")


def test_bars_that_are_not_stored_are_told(w: Path) -> None:
    drop(w, [3, 4, 7])
    done = command(w, 1, 10)
    assert done.code == 0
    hint = as_typed("(cryptocast fetch brings them, if they exist)")
    assert f"warning: file:BTC/EUR:5m: 3 bars of the range are not stored {hint}\n" in done.err


def test_without_production_there_is_nothing_to_replay(w: Path) -> None:
    change(w, "DELETE FROM deployments")
    done = command(w, 1, 3)
    told = as_typed("error: there is no production model (cryptocast init)\n")
    assert (done.code, done.err) == (3, told)


@pytest.mark.parametrize("bar", [4, 8])
def test_another_future_changes_nothing(w: Path, bar: int) -> None:
    other = copy(w, "other")
    spoil_from(other, bar)
    for folder in (w, other):
        replayed(folder, 1, 12)
    assert sets(other, EQUAL, f"bar <= {bar}") == sets(w, EQUAL, f"bar <= {bar}")
    assert sets(other, EQUAL, f"bar > {bar}") != sets(w, EQUAL, f"bar > {bar}")


def test_only_the_markets_that_are_asked_for_are_replayed(w: Path) -> None:
    assert replayed(w, 1, 3, symbols=("ETH/EUR",), settings={"market__symbols": list(SYMBOLS)}) == 3
    assert {market for (market,) in sets(w, "market")} == {MARKETS[1].id}


def test_ticks_go_on_from_what_was_replayed(w: Path) -> None:
    other = copy(w, "other")
    replayed(w, 1, 10)
    ticked_once(w, 11, 12)
    ticked_once(other, *range(1, 13))
    assert sets(w, EQUAL) == sets(other, EQUAL)
