"""init: from an empty folder to a promoted model, however often it is interrupted."""

from __future__ import annotations

import itertools
import json
import re
import signal
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cryptocast import config
from cryptocast.models import _lightning
from cryptocast.store.writer import Writer
from cryptocast.workflows import init as workflow
from support.commands import (
    AS_OF,
    BARS,
    HALTING,
    INIT,
    INTERVAL,
    NEXT,
    NOW,
    Made,
    candles,
    good,
    listing,
    query,
    run,
    start_loaded,
    state,
    write,
)
from support.loopback import KEY, Loopback

# A process that is killed in the last epoch of the training of its LSTM; trials have no file.
IN_EPOCH_2 = """
import sys, time
from support import commands
from cryptocast import cli
from cryptocast.models import _lightning
commands.small_networks()
commands.ready_mlflow()
_lightning._SAVE_SECONDS = -1.0
keep = _lightning._Keeper._keep
def halting(self, number):
    if self.training.run.checkpoint is not None and number == 2:
        print("here", flush=True)
        time.sleep(3600)
    return keep(self, number)
_lightning._Keeper._keep = halting
sys.exit(cli.run(sys.argv[1:]))
"""
SAME = ("decision", "tuning", "split", "scores")


def finished_trials(folder: Path) -> list[str]:
    """Names of MLflow's finished runs of trials."""
    with sqlite3.connect(folder / "mlflow.db") as connection:
        rows = connection.execute(
            "SELECT name FROM runs JOIN tags USING (run_uuid) "
            "WHERE key = 'stage' AND value = 'trial' AND status = 'FINISHED' ORDER BY start_time"
        ).fetchall()
    connection.close()
    return [row[0] for row in rows]


def again(folder: Path, made: Made) -> dict[str, Any]:
    """The same command again, later: it keeps the clock of its first start."""
    later = (*INIT[:-1], "2024-06-03T12:00:00Z")
    return good("init", "-w", folder, "--path", made.files, *later)


@pytest.mark.parametrize("where", ["after the fetch", "in the second trial"])
def test_a_killed_init_goes_on_and_ends_as_if_nothing_had_been(
    made: Made, tmp_path: Path, where: str
) -> None:
    folder = tmp_path / "w"
    options = ("init", "-w", folder, "--path", made.files, *INIT)
    child = start_loaded(where, *options, script=HALTING)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n", child.communicate()[1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    before = finished_trials(folder) if where == "in the second trial" else []
    assert len(before) == (where == "in the second trial")
    data = again(folder, made)
    assert {key: data[key] for key in SAME} == {key: made.data[key] for key in SAME}
    after = finished_trials(folder)
    assert len(after) == 2
    assert after[: len(before)] == before
    assert data["candles"][0]["last"] == "2024-06-02T23:55:00Z"


@pytest.mark.parametrize("crash", ["put_deployment", "the end"])
def test_what_is_trained_already_is_not_trained_again(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    folder = tmp_path / "w"

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if crash == "the end":
            patch.setattr(workflow, "FINISHED", None)  # no event of that kind can be written
            with pytest.raises(Exception, match="NOT NULL"):
                run("init", "-w", folder, "--path", made.files, *INIT)
        else:
            patch.setattr(Writer, crash, interrupt)
            assert run("init", "-w", folder, "--path", made.files, *INIT).code == 130
    data = again(folder, made)
    assert data["decision"]["version"] == made.data["decision"]["version"]
    assert data["tuning"] == made.data["tuning"]
    assert len(good("models", "-w", folder)["versions"]) == 2
    assert len(query(folder, 'SELECT * EXCLUDE ("at", written_at) FROM deployments')) == 1


def test_an_init_that_is_killed_inside_its_training_goes_on_at_that_epoch(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "w"
    options = ("init", "-w", folder, "--path", made.files, *INIT)
    child = start_loaded(*options, script=IN_EPOCH_2)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n", child.communicate()[1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    seen: list[int] = []
    keep = _lightning._Keeper._keep

    def watched(self: _lightning._Keeper, number: int) -> float:
        if self.training.run.checkpoint is not None:  # not a trial
            seen.append(number)
        return keep(self, number)

    monkeypatch.setattr(_lightning._Keeper, "_keep", watched)
    data = again(folder, made)
    assert seen == [2]
    assert {key: data[key] for key in SAME} == {key: made.data[key] for key in SAME}
    assert not (folder / "checkpoints").exists()


def test_ctrl_c_inside_a_training_is_one_line_and_exit_130(made: Made, tmp_path: Path) -> None:
    options = ("init", "-w", tmp_path / "w", "--path", made.files, *INIT)
    child = start_loaded("inside a training", *options, script=HALTING)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n", child.communicate()[1]
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=600)
    assert (child.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == ("error: interrupted (the same command continues)")
    assert err.count("error") == 1


def test_a_walk_that_stands_in_for_a_refused_model_promises_nothing_of_it(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_GATE__LEAST_SKILL", "0.9")
    decision = good("init", "-w", tmp_path / "w", "--path", made.files, *INIT)["decision"]
    assert decision["model"] == "random_walk"
    assert "is not promoted: " in decision["reason"]
    assert decision["gate"] != []
    [(scores,)] = query(tmp_path / "w", "SELECT scores FROM deployments")
    assert json.loads(scores)["gate"] == []


def test_a_finished_workspace_says_so_and_stays_as_it_is(fresh: Path, made: Made) -> None:
    before = state(fresh)
    settings = (fresh / "cryptocast.toml").read_text(encoding="utf-8")
    done = run("init", "-w", fresh, "--path", made.files, *INIT)
    assert (done.code, done.out.replace("\n", " ").strip()) == (
        0,
        f"{fresh} is a finished workspace: nothing to do",
    )
    again = good("init", "-w", fresh)
    assert again["added"] == []
    assert (again["candles"], again["scores"], again["tuning"]["trials"]) == ([], [], 0)
    assert {k: again["decision"][k] for k in ("promoted", "version", "model")} == {
        "promoted": False,
        "version": "2",
        "model": "lstm",
    }
    assert state(fresh) == before
    assert (fresh / "cryptocast.toml").read_text(encoding="utf-8") == settings


def test_of_two_inits_at_once_the_second_leaves_and_takes_nothing_away(
    made: Made, tmp_path: Path
) -> None:
    fresh = tmp_path / "w"
    (fresh / "logs").mkdir(parents=True)
    with FileLock(fresh / "logs" / "init.lock"):
        done = run("init", "-w", fresh, "--path", made.files, *INIT, "--json")
        assert (done.code, done.error["code"]) == (4, "init.running")
    assert not (fresh / "cryptocast.toml").exists()


def test_a_second_symbol_is_added_and_forecast_too(workspace: Path) -> None:
    data = good("init", "-w", workspace, "--symbol", "ETH/EUR", "--as-of", AS_OF)
    assert data["added"] == ["ETH/EUR"]
    assert {m["market"]: m["new"] for m in data["candles"]}["file:ETH/EUR:5m"] == BARS
    both = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)["forecasts"]
    assert [f["market"] for f in both] == ["file:BTC/EUR:5m", "file:ETH/EUR:5m"]
    assert {f["model"]["version"] for f in both} == {"2"}
    assert both[1]["last_close"] == candles("ETH/EUR", bars=BARS + 1).close[-1]
    one = good("forecast", "-w", workspace, "--symbol", "ETH/EUR", "--as-of", NEXT)["forecasts"]
    assert one == both[1:]
    assert good("init", "-w", workspace, "--symbol", "ETH/EUR", "--as-of", AS_OF)["added"] == []


def test_a_symbol_that_cannot_be_added_changes_nothing(workspace: Path) -> None:
    settings = (workspace / "cryptocast.toml").read_bytes()
    before = state(workspace)
    done = run("init", "-w", workspace, "--symbol", "SOL/EUR", "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (2, "config.symbol")
    assert "there is BTC/EUR, ETH/EUR" in done.error["message"]
    assert (workspace / "cryptocast.toml").read_bytes() == settings
    assert state(workspace) == before


@pytest.mark.parametrize("exists", [False, True])
def test_fewer_than_24_candles_are_refused_and_nothing_is_left(
    tmp_path: Path, exists: bool
) -> None:
    file = write(tmp_path / "few" / "BTC-EUR.csv", candles(bars=BARS).take(slice(-23, None)))
    folder = tmp_path / "w"
    if exists:
        folder.mkdir()
        (folder / "mine.txt").write_text("mine", encoding="utf-8")
    done = run("init", "-w", folder, "--path", file, *INIT, "--json")
    assert (done.code, done.error["code"]) == (3, "state.not_enough_candles")
    assert done.error["message"] == "file:BTC/EUR:5m has 23 candles, at least 24 are needed"
    assert "--days" in done.error["hint"]
    assert folder.exists() is exists
    assert not exists or listing(folder) == {"mine.txt"}


def short(tmp_path: Path, bars: int) -> dict[str, Any]:
    c = candles(bars=BARS).take(slice(-bars, None))
    file = write(tmp_path / str(bars) / "BTC-EUR.csv", c)
    folder = tmp_path / f"w{bars}"
    return good(
        "init", "-w", folder, "--path", file, "--trials", "1", "--source", "file",
        "--as-of", AS_OF,
    )  # fmt: skip


@pytest.mark.parametrize("bars", [24, 100, 288])
def test_too_few_candles_for_an_lstm_promote_the_random_walk(tmp_path: Path, bars: int) -> None:
    data = short(tmp_path, bars)
    decision = data["decision"]
    assert (decision["promoted"], decision["model"]) == (True, "random_walk")
    assert "too few candles for the lstm: 406 would suffice" in decision["reason"]
    assert data["tuning"] == {"trials": 0, "best": None, "value": None}
    once = good("forecast", "--once", "-w", tmp_path / f"w{bars}", "--as-of", AS_OF)
    assert once["forecasts"][0]["model"]["kind"] == "random_walk"


def test_the_number_that_would_suffice_does_suffice(tmp_path: Path) -> None:
    told = short(tmp_path, 100)["decision"]["reason"]
    found = re.search(r"(\d+) would suffice", told)
    assert found is not None
    enough = int(found[1])
    assert short(tmp_path, enough - 1)["tuning"]["trials"] == 0
    assert short(tmp_path, enough)["tuning"]["trials"] == 1


def test_the_random_walk_as_the_kind_is_promoted_and_says_that_it_was_asked_for(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MODEL__KIND", "random_walk")
    data = good("init", "-w", tmp_path / "w", "--path", made.files, *INIT)
    assert data["decision"]["reason"] == "[model] kind asks for the random walk"
    assert data["tuning"] == {"trials": 0, "best": None, "value": None}


def test_the_settings_hold_a_comment_above_each_key_and_load_again(fresh: Path, made: Made) -> None:
    file = fresh / "cryptocast.toml"
    lines = file.read_text(encoding="utf-8").splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r"(# )?\w+ =", line):
            assert re.match(r"# \w.{8,}", above), line
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    assert document["source"]["path"] == str(made.files)
    assert document["tune"]["trials"] == 2
    settings, _ = config.load(file, {})
    file.write_text(config.render(settings), encoding="utf-8")
    assert config.load(file, {})[0] == settings


def no_key_in(folder: Path, *texts: str) -> None:
    for text in texts:
        assert KEY not in text
    for file in folder.rglob("*"):
        if file.is_file() and file.name != ".env":
            assert KEY.encode() not in file.read_bytes(), file


def day_of(symbol: str) -> Loopback:
    return Loopback({symbol: candles(symbol, bars=BARS)})


@pytest.mark.usefixtures("impatient")
def test_auto_is_bitvavo_without_a_key_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with day_of("BTC/EUR") as server:
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", server.base_url("bitvavo"))
        done = run("init", "-w", tmp_path / "w", "--days", "1", "--as-of", AS_OF)
    assert done.code == 0, done.err
    told = "source bitvavo: bitvavo needs no key, and COINCAP_API_KEY is not set"
    assert told in " ".join(done.out.split())
    document = tomllib.loads((tmp_path / "w" / "cryptocast.toml").read_text(encoding="utf-8"))
    assert document["source"]["name"] == "bitvavo"
    rows = query(tmp_path / "w", "SELECT market, count(*) FROM candles GROUP BY 1")
    assert rows == [("bitvavo:BTC/EUR:5m", 288)]


@pytest.mark.usefixtures("impatient")
def test_auto_is_coincap_with_a_key_and_dollars_and_the_key_is_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINCAP_API_KEY", KEY)
    folder = tmp_path / "w"
    with day_of("BTC/USD") as server:
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", server.base_url("coincap"))
        options = ("--symbol", "BTC/USD", "--days", "1", "--as-of", AS_OF, "--json")
        done = run("init", "-w", folder, *options)
    assert done.code == 0, done.err
    assert done.data["source"] == "coincap"
    assert done.data["source_reason"] == (
        "COINCAP_API_KEY is set and every market is quoted in USD"
    )
    assert done.data["candles"][0]["rows"] == 288
    assert query(folder, "SELECT count(*) FROM candles WHERE volume IS NULL") == [(288,)]
    no_key_in(folder, done.out, done.err)


@pytest.mark.usefixtures("impatient")
def test_the_key_may_stand_in_the_workspaces_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / ".env").write_text(f"COINCAP_API_KEY={KEY}\n", encoding="utf-8")
    with day_of("BTC/USD") as server:
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", server.base_url("coincap"))
        done = run("init", "-w", folder, "--symbol", "BTC/USD", "--days", "1", "--as-of", AS_OF)
        assert done.code == 0, done.err
        assert good("fetch", "-w", folder, "--days", "2", "--as-of", AS_OF)["markets"][0]["new"]
    no_key_in(folder, done.out, done.err)


def test_gaps_are_told_and_no_row_is_invented(tmp_path: Path) -> None:
    c = candles(bars=BARS)
    kept = (c.open_time < NOW - 50 * INTERVAL) | (c.open_time >= NOW - 47 * INTERVAL)
    file = write(tmp_path / "BTC-EUR.parquet", c.take(kept))
    options = ("--source", "file", "--path", file, "--days", "1", "--as-of", AS_OF)
    done = run("init", "-w", tmp_path / "w", *options, "--json")
    (market,) = done.data["candles"]
    assert (market["rows"], market["missing"]) == (285, 3)
    assert market["gaps"] == [
        {"start": "2024-06-02T19:50:00Z", "end": "2024-06-02T20:05:00Z", "bars": 3}
    ]
    assert query(tmp_path / "w", "SELECT count(*) FROM candles") == [(285,)]
    assert "3 bars are missing in 1 gap from 2024-06-02T19:50:00Z to" in done.err


def test_a_folder_that_holds_other_things_is_no_workspace_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRYPTOCAST_WORKSPACE", raising=False)
    done = run("init", "--source", "sim")
    told = f"{tmp_path} is not empty"
    assert (done.code, done.err) == (
        2,
        f"error: {told} (name a folder for the workspace: cryptocast init -w btc)\n",
    )
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked = []
    monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text))
    assert run("init", "--source", "sim").code == 2
    assert asked == [f"{told}: make it a workspace?"]
    assert listing(tmp_path) == {"thesis.txt"}


def test_settings_that_travel_with_the_program_are_named_without_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "none.parquet"
    more = ("-w", "w", "--as-of", AS_OF, "--path", path)
    error = run("init", "--config", "recorded", *more, "--json").error
    assert str(path) in error["message"]
    error = run("init", "--config", "record", *more, "--json").error
    assert error["message"].startswith("cannot read the configuration record: ")
    assert listing(tmp_path) == set()
    (tmp_path / "recorded").mkdir()  # a folder of that name is none
    assert str(path) in run("init", "--config", "recorded", *more, "--json").error["message"]
