"""With --json every command gives one document, with the keys and types of the contract."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.commands import AS_OF, NEXT, Done, Made, as_in_a_test, good, run

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
TIMES = {"first", "last", "start", "end", "now", "next_tick", "at", "created_at"}
TIMES |= {"origin", "issued_at", "target_time", "forecast_origin", "made_at"}
SCORE = {
    "model": str,
    "version": (str, type(None)),
    "market": str,
    "step": (int, str),
    "n": int,
    "crps_bp": float,
    "mae_bp": float,
    "relative_mae": float,
    "direction_accuracy": (float, type(None)),
    "coverage80": float,
    "coverage90": float,
    "skill_vs_random_walk": float,
    "skill_vs_constant": float,
    "p_value": (float, type(None)),
}
COMMANDS = {
    "fetch": (),
    "forecast": ("--once",),
    "evaluate": ("--test-bars", "48"),
    "models": (),
    "status": (),
    "notify": (),
    "monitor": (),
    "config": (),
    "backup": (),
    "prune": (),
    "serve-loop": ("--max-ticks", "2"),
    "promote": ("1", "--force", "--reason", "a test"),
    "rollback": (),
    "tune": ("--trials", "1"),
    "train": (),
    "retrain": (),
}
CHEAP = ("fetch", "forecast", "evaluate", "models", "status", "serve-loop", "promote", "rollback")
CHEAP += ("notify", "config", "backup", "prune", "monitor")


@pytest.fixture(scope="module")
def told(forced: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """Every command once, one after the other in one workspace."""
    folder = Path(shutil.copytree(forced, tmp_path_factory.mktemp("told") / "w"))
    with as_in_a_test():
        return {
            name: run(name, *options, "-w", folder, "--as-of", NEXT, "--json")
            for name, options in COMMANDS.items()
        }


KEYS = Path(__file__).parent / "golden" / "document_keys.json"
FREE = {"best", "params", "importance", "rows", "value", "secrets", "tags", "evidence"}  # any keys


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Every key of a document by its path, in the document's order."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield f"{at}.{name}".removeprefix(".")
            if name not in FREE:
                yield from paths(entry, f"{at}.{name}")
    elif isinstance(value, list):
        for entry in value:
            yield from paths(entry, f"{at}[]")


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from walk(entry, name)
    elif isinstance(value, list):
        for entry in value:
            yield from walk(entry, key)
    else:
        yield key, value


def typed(row: dict[str, Any], types: dict[str, Any]) -> None:
    assert set(row) >= set(types)
    for name, kind in types.items():
        assert isinstance(row[name], kind), (name, row[name])


def scored(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typed(row, SCORE)
        assert row["step"] == "all" or 1 <= row["step"] <= 24
    assert {"random_walk", "constant", "lstm"} <= {row["model"] for row in rows}
    assert {row["step"] for row in rows} == {"all", *range(1, 25)}


def decided(decision: dict[str, Any]) -> None:
    typed(decision, {"promoted": bool, "version": str, "model": str, "reason": str})


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "serve-loop"])
def test_a_command_prints_one_document_and_nothing_else_on_stdout(
    told: dict[str, Done], name: str
) -> None:
    done = told[name]
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    document = json.loads(done.out)
    assert (document["command"], document["ok"]) == (name, True)
    assert "NaN" not in done.out
    assert "Infinity" not in done.out


def test_documents_have_the_keys_that_they_always_had(told: dict[str, Done], made: Made) -> None:
    """Some documents are the fields of a dataclass: renaming one would change what scripts read.

    `UPDATE_GOLDEN=1 pytest THIS_FILE` writes the keys anew, to be looked at.
    """
    keys = {"init": list(dict.fromkeys(paths(made.data)))}
    for name, done in told.items():
        lines = [json.loads(text)["data"] for text in done.out.splitlines()]
        keys[name] = list(dict.fromkeys(path for data in lines for path in paths(data)))
    if os.environ.get("UPDATE_GOLDEN"):
        KEYS.write_text(json.dumps(keys, indent=1) + "\n", encoding="utf-8")
    assert keys == json.loads(KEYS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_time_is_iso_with_a_z(told: dict[str, Done], name: str) -> None:
    for line in told[name].out.splitlines():
        for key, value in walk(json.loads(line)["data"]):
            if key in TIMES and value is not None:
                assert TIME.fullmatch(value), (key, value)


def test_init_tells_candles_split_tuning_scores_and_decision(made: Made) -> None:
    data = made.data
    (market,) = data["candles"]
    assert {k: market[k] for k in ("market", "rows", "first", "last", "gaps")} == {
        "market": "file:BTC/EUR:5m",
        "rows": 2016,
        "first": "2024-05-27T00:00:00Z",
        "last": "2024-06-02T23:55:00Z",
        "gaps": [],
    }
    split = data["split"]
    assert {name: part["rows"] for name, part in split.items()} == {
        "train": 1416,
        "validation": 576,
        "gate": 288,
        "test": 24,
    }
    assert split["train"]["first"] == market["first"]
    assert split["test"] == {
        "first": "2024-06-02T22:00:00Z",
        "last": "2024-06-02T23:55:00Z",
        "rows": 24,
    }
    assert data["tuning"]["trials"] == 2
    assert data["tuning"]["best"]["epochs"] == 2
    scored(data["scores"])
    decided(data["decision"])


def test_init_ticks_off_its_steps_on_stderr(made: Made) -> None:
    steps = (
        "fetch candles",
        "preprocess and split",
        "tune lstm",
        "train lstm from scratch",
        "evaluate",
    )
    for step in (*steps, "select and promote"):
        assert f"✓ {step}" in made.talk


def test_forecast_tells_every_step_with_rising_prices(told: dict[str, Done]) -> None:
    data = told["forecast"].data
    assert data["new"] is True
    (forecast,) = data["forecasts"]
    known = {
        "market": "file:BTC/EUR:5m",
        "origin": NEXT,
        "issued_at": NEXT,
        "stale_bars": 0,
        "late": False,
        "model": {"version": "2", "kind": "lstm", "fallback": None},
        "levels": [round(0.05 * k, 2) for k in range(1, 20)],
    }
    assert {key: forecast[key] for key in known} == known
    assert isinstance(forecast["last_close"], float)
    assert [step["step"] for step in forecast["steps"]] == list(range(1, 25))
    assert forecast["steps"][0]["target_time"] == "2024-06-03T00:10:00Z"
    assert forecast["steps"][23]["target_time"] == "2024-06-03T02:05:00Z"
    for step in forecast["steps"]:
        quantiles = step["quantiles"]
        assert len(quantiles) == 19
        assert all(low < high for low, high in itertools.pairwise(quantiles))
        assert quantiles == [float(f"{q:.9g}") for q in quantiles]


def test_fetch_tells_of_every_market(told: dict[str, Done]) -> None:
    (market,) = told["fetch"].data["markets"]
    typed(market, {"market": str, "new": int, "revised": int, "repaired": int, "missing": int})
    assert (market["new"], market["missing"], market["gaps"]) == (1, 0, [])


def test_evaluate_tells_scores_of_all_steps(told: dict[str, Done]) -> None:
    scored(told["evaluate"].data["scores"])
    rows = told["evaluate"].data["scores"]
    baseline = next(r for r in rows if r["model"] == "random_walk" and r["version"] is None)
    assert baseline["skill_vs_random_walk"] == 0


def test_models_tells_versions_and_aliases(told: dict[str, Done]) -> None:
    data = told["models"].data
    assert data["production"] == "2"
    by_version = {v["version"]: v for v in data["versions"]}
    assert by_version["2"]["aliases"] == ["production"]
    assert by_version["1"]["aliases"] == ["previous"]
    assert (by_version["1"]["kind"], by_version["2"]["kind"]) == ("random_walk", "lstm")


def test_status_tells_what_serves_and_what_is_stored(told: dict[str, Done]) -> None:
    data = told["status"].data
    assert data["production"]["version"] == "2"
    assert (data["now"], data["next_tick"]) == (NEXT, "2024-06-03T00:10:10Z")
    (market,) = data["markets"]
    assert (market["rows"], market["behind_bars"], market["forecast_origin"]) == (2017, 0, NEXT)
    assert market["last_tick"]["status"] == "ok"


@pytest.mark.parametrize("name", ["promote", "rollback", "retrain"])
def test_what_changes_production_tells_its_decision(told: dict[str, Done], name: str) -> None:
    decided(told[name].data["decision"])


def test_retrain_tells_what_init_tells(told: dict[str, Done], made: Made) -> None:
    assert set(told["retrain"].data) >= {"candles", "split", "tuning", "scores", "decision"}
    scored(told["retrain"].data["scores"])


def test_tune_tells_the_best_and_train_uses_it(told: dict[str, Done]) -> None:
    tuned, trained = told["tune"].data, told["train"].data
    assert tuned["trials"] == 1
    assert trained["params_from"] == "best"
    assert trained["params"] == tuned["best"]
    assert trained["version"] == "3"


def test_serve_loop_tells_a_document_a_tick_and_then_a_summary(told: dict[str, Done]) -> None:
    done = told["serve-loop"]
    assert done.code == 0
    *ticks, last = [json.loads(line) for line in done.out.splitlines()]
    assert [t["data"]["new"] for t in ticks] == [False, True]
    origins = [t["data"]["forecasts"][0]["origin"] for t in ticks]
    assert origins == [NEXT, "2024-06-03T00:10:00Z"]
    assert last == {
        "command": "serve-loop",
        "ok": True,
        "data": {"summary": {"ticks": 2, "failed": 0}},
    }


@pytest.mark.parametrize("name", CHEAP)
def test_quiet_leaves_stdout_empty_and_the_default_does_not(workspace: Path, name: str) -> None:
    options = (name, *COMMANDS[name], "-w", workspace, "--as-of", NEXT)
    if name == "rollback":
        good("promote", "1", "-w", workspace, "--force", "--reason", "x", "--as-of", NEXT)
    quiet = run(*options, "--quiet")
    assert (quiet.code, quiet.out) == (0, "")
    assert "✓" not in quiet.err
    talking = run(*options)
    assert talking.code == 0
    assert talking.out.strip()
    assert "Traceback" not in talking.err


def test_a_forecast_without_once_shows_the_newest(workspace: Path) -> None:
    none = run("forecast", "-w", workspace, "--as-of", NEXT, "--json")
    assert (none.code, none.error["code"]) == (3, "state.no_forecast")
    made = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)
    shown = good("forecast", "-w", workspace, "--as-of", "2024-06-03T00:20:00Z")
    assert shown["forecasts"] == made["forecasts"]
    assert shown["new"] is False
    assert run("forecast", "-w", workspace, "--as-of", AS_OF).code == 3
