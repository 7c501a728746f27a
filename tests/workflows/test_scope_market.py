"""`[model] scope = "market"`: a model for each market, made, served and put back on its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cryptocast.cli.root.hints import as_typed
from cryptocast.errors import ModelError
from cryptocast.store import Store, unserved_origins
from cryptocast.values import Deployment, iso
from cryptocast.workflows.learning import pipeline, preparing
from cryptocast.workflows.serving.afterwards import make_up
from support.commands import (
    AS_OF,
    INTERVAL,
    NEXT,
    NOW,
    Made,
    as_in_a_test,
    good,
    query,
    run,
)
from support.ticks import at, change, origin, sets, ticked

BTC, ETH = "file:BTC/EUR:5m", "file:ETH/EUR:5m"
BOTH = ("--symbol", "BTC/EUR", "--symbol", "ETH/EUR")
SCOPE, FOLDS = "CRYPTOCAST_MODEL__SCOPE", "CRYPTOCAST_TUNE__FOLDS"
ROWS = "SELECT market, model_version, previous_version, action FROM deployments ORDER BY id"
LENIENT = {"CRYPTOCAST_GATE__LEAST_SKILL": "-1", "CRYPTOCAST_GATE__WORST_LOSS": "1"}
WALK = {"CRYPTOCAST_MODEL__KIND": "random_walk"}

_made: dict[str, Any] = {}


@pytest.fixture(scope="session")
def parted(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A workspace of two markets with a model each, just after `init`, and what that said."""
    if "parted" not in _made:
        folder = tmp_path_factory.mktemp("parted") / "w"
        with as_in_a_test() as patch:
            for name, value in ({SCOPE: "market", FOLDS: "1"} | LENIENT).items():
                patch.setenv(name, value)
            options = ("--source", "file", "--path", made.files, "--days", "3", "--trials", "1")
            _made["parted"] = folder, good("init", "-w", folder, *options, *BOTH, "--as-of", AS_OF)
    found: tuple[Path, dict[str, Any]] = _made["parted"]
    return found


@pytest.fixture
def p(parted: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of it, whose deployments were written at AS_OF."""
    folder = Path(shutil.copytree(parted[0], tmp_path / "w"))
    change(folder, 'UPDATE deployments SET written_at = "at"')
    return folder


def serving(folder: Path) -> dict[str, str]:
    """The version that serves each market."""
    return {
        market: entry["version"]
        for entry in good("models", "-w", folder, "--as-of", AS_OF)["versions"]
        for market in entry["serves"]
    }


def aliases(folder: Path) -> dict[str, str]:
    entries = good("models", "-w", folder, "--as-of", AS_OF)["versions"]
    return {alias: entry["version"] for entry in entries for alias in entry["aliases"]}


def say(folder: Path, bar: float, **verdicts: str) -> None:
    """What the monitor said of each market, at a bar."""
    told = [
        {"market": f"file:{base}/EUR:5m", "version": None, "verdict": said, "reason": f"of {base}"}
        for base, said in verdicts.items()
    ]
    worst = "declined" if "declined" in verdicts.values() else "healthy"
    with Store(folder / "cryptocast.duckdb", 60).write() as writer:
        detail = {"verdict": worst, "reason": "some", "markets": told}
        writer.put_event(NOW + bar * INTERVAL, "monitor", None, detail)


def noted(folder: Path) -> list[tuple[str, str]]:
    """The market and the end of each attempt to retrain."""
    sql = "SELECT market, detail::VARCHAR FROM events WHERE kind = 'retrain' ORDER BY rowid"
    return [(market, json.loads(detail)["told"]) for market, detail in query(folder, sql)]


# Made.


def test_init_makes_a_model_of_each_market_from_its_candles_alone(
    parted: tuple[Path, dict[str, Any]],
) -> None:
    folder, told = parted
    assert [d["market"] for d in told["decisions"]] == [BTC, ETH]
    assert {d["promoted"] for d in told["decisions"]} == {True}
    assert told["decision"] == told["decisions"][0]
    assert told["tuning"] == {"trials": 2, "best": None, "value": None}
    assert told["split"]["train"]["rows"] + told["split"]["validation"]["rows"] == 2 * (864 - 24)
    assert {row["market"] for row in told["scores"]} == {BTC, ETH}
    versions = {d["market"]: d["version"] for d in told["decisions"]}
    assert query(folder, ROWS) == [
        (BTC, versions[BTC], None, "promote"),
        (ETH, versions[ETH], None, "promote"),
    ]
    for market, version in versions.items():
        card = json.loads((folder / "bundles" / version / "card.json").read_text())
        assert card["markets"] == [market]
    # Each has its own scores, of its own market.
    for row in told["scores"]:
        if row["version"] == versions[BTC]:
            assert row["market"] == BTC


def test_a_tick_asks_each_markets_own_model(p: Path) -> None:
    serves = serving(p)
    assert len(set(serves.values())) == 2
    done = good("forecast", "--once", "-w", p, "--as-of", NEXT)
    served = {
        f["market"]: (f["model"]["version"], f["model"]["fallback"]) for f in done["forecasts"]
    }
    assert served == {market: (version, None) for market, version in serves.items()}


def test_the_aliases_name_market_and_version(p: Path) -> None:
    serves = serving(p)
    assert aliases(p) == {
        "production-file-BTC_EUR-5m": serves[BTC],
        "production-file-ETH_EUR-5m": serves[ETH],
    }


def test_a_finished_workspace_says_so_and_a_market_that_is_added_gets_its_model(
    parted: tuple[Path, dict[str, Any]], made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WALK.items():
        monkeypatch.setenv(name, value)
    files = shutil.copytree(made.files, tmp_path / "files")
    shutil.copy(files / "ETH-EUR.parquet", files / "SOL-EUR.parquet")
    folder = Path(shutil.copytree(parted[0], tmp_path / "w"))
    monkeypatch.setenv("CRYPTOCAST_SOURCE__PATH", str(files))
    again = good("init", "-w", folder, "--as-of", AS_OF)
    assert (again["finished_before"], again["added"]) == (True, [])
    done = good("init", "-w", folder, "--symbol", "SOL/EUR", "--as-of", AS_OF)
    assert (done["finished_before"], done["added"]) == (True, ["SOL/EUR"])
    assert [d["market"] for d in done["decisions"]] == ["file:SOL/EUR:5m"]
    assert len(serving(folder)) == 3


def failing(patch: pytest.MonkeyPatch, market: str) -> None:
    """Let the training on one market diverge."""
    train = pipeline.train_on

    def diverge(ws: Any, material: Any, *arguments: Any, **named: Any) -> Any:
        if material.markets[0].id == market:
            raise ModelError("the loss is not finite", hint="lower learning_rate")
        return train(ws, material, *arguments, **named)

    patch.setattr(pipeline, "train_on", diverge)


def test_a_market_that_fails_stops_no_other_and_init_goes_on_there(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({SCOPE: "market"} | LENIENT | WALK).items():
        monkeypatch.setenv(name, value)
    options = ("init", "-w", tmp_path / "w", "--source", "file", "--path", made.files, *BOTH)
    options = (*options, "--days", "3", "--as-of", AS_OF)
    with monkeypatch.context() as patch:
        failing(patch, BTC)
        done = run(*options, "--json")
    assert done.code == 5
    assert f"warning: {BTC}: the loss is not finite (lower learning_rate)\n" in done.err
    first, second = done.data["decisions"]
    assert done.data["decision"] == first
    assert (first["market"], first["promoted"]) == (BTC, False)
    assert first["version"] == "builtin:random_walk"
    assert first["reason"] == "failed: the loss is not finite"
    assert (second["market"], second["promoted"], second["version"]) == (ETH, True, "1")
    made_sets = good("forecast", "--once", "-w", tmp_path / "w", "--as-of", NEXT)["forecasts"]
    assert [(f["market"], f["model"]["fallback"]) for f in made_sets] == [
        (BTC, "no_production"),
        (ETH, None),
    ]
    issues = good("status", "-w", tmp_path / "w", "--as-of", NEXT)["issues"]
    assert "BTC/EUR: it has no model yet: cryptocast retrain" in issues
    again = good(*options)
    assert [(d["market"], d["version"]) for d in again["decisions"]] == [(BTC, "2"), (ETH, "1")]
    assert good(*options)["finished_before"] is True


def test_a_market_with_too_few_candles_is_told_and_the_others_have_their_models(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars as pl

    for name, value in ({SCOPE: "market"} | LENIENT | WALK).items():
        monkeypatch.setenv(name, value)
    files = Path(shutil.copytree(made.files, tmp_path / "files"))
    rows = pl.read_parquet(files / "BTC-EUR.parquet")
    few = rows.filter(pl.col("open_time").is_between(NOW - 10 * INTERVAL, NOW - 1))
    few.write_parquet(files / "BTC-EUR.parquet")
    options = ("init", "-w", tmp_path / "w", "--source", "file", "--path", files, *BOTH)
    done = run(*options, "--days", "3", "--as-of", AS_OF, "--json")
    assert done.code == 3
    assert f"warning: {BTC}: {BTC} has 10 candles, at least 24 are needed" in done.err
    assert serving(tmp_path / "w") == {ETH: "1"}
    assert good(*options, "--as-of", AS_OF)["finished_before"] is True


# Promoted and put back.


def test_promote_is_for_the_market_that_the_version_learned_from(
    p: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = serving(p)
    made = good("train", "--model", "random_walk", "--symbol", "ETH/EUR", "-w", p, "--as-of", AS_OF)
    assert made["markets"] == [ETH]
    assert [entry["version"] for entry in made["versions"]] == [made["version"]]
    version = made["version"]
    decision = good("promote", version, "--force", "--reason", "x", "-w", p, "--as-of", AS_OF)[
        "decision"
    ]
    assert (decision["market"], decision["version"]) == (ETH, version)
    assert serving(p) == {BTC: before[BTC], ETH: version}
    assert query(p, ROWS)[-1] == (ETH, version, before[ETH], "force")
    again = good("promote", version, "-w", p, "--as-of", AS_OF)["decision"]
    assert (again["market"], again["reason"]) == (ETH, "it was already")
    assert len(query(p, ROWS)) == 3
    monkeypatch.setenv(SCOPE, "global")  # as the only word of what a version is for
    decision = good("promote", version, "--force", "--reason", "x", "-w", p, "--as-of", AS_OF)[
        "decision"
    ]
    assert decision["market"] == "*"
    assert serving(p) == {"*": version}
    assert aliases(p) == {"production": version}


def test_train_makes_a_version_of_each_market(p: Path) -> None:
    told = good("train", "--model", "random_walk", "-w", p, "--as-of", AS_OF)
    assert [entry["markets"] for entry in told["versions"]] == [[BTC], [ETH]]
    assert told["version"] == told["versions"][0]["version"]


def test_tune_searches_for_each_market_and_train_uses_its_own_study(p: Path) -> None:
    told = good("tune", "--trials", "1", "--symbol", "ETH/EUR", "-w", p, "--as-of", AS_OF)
    assert [study["markets"] for study in told["studies"]] == [[ETH]]
    events = "SELECT market FROM events WHERE kind = 'tune.finished' ORDER BY rowid"
    assert query(p, events) == [(BTC,), (ETH,), (ETH,)]
    change(p, f"DELETE FROM events WHERE kind = 'tune.finished' AND market = '{BTC}'")
    told = good("train", "--params", "best", "-w", p, "--as-of", AS_OF)
    assert [entry["params_from"] for entry in told["versions"]] == ["default", "best"]


def test_rollback_needs_to_know_the_market_where_several_versions_serve(p: Path) -> None:
    before = serving(p)
    done = run("rollback", "-w", p, "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (2, "usage.market")
    assert done.error["message"] == "several versions serve, those of BTC/EUR, ETH/EUR"
    assert done.error["hint"] == as_typed("cryptocast rollback --symbol BTC/EUR")
    eth = ("--symbol", "ETH/EUR", "-w", p, "--as-of", AS_OF)
    done = run("rollback", *eth, "--json")
    assert (done.code, done.error["code"]) == (3, "state.no_previous")
    assert done.error["message"] == (
        f"version {before[ETH]} is the first of {ETH}: there is none before it"
    )
    version = good("train", "--model", "random_walk", *eth)["version"]
    good("promote", version, "--force", "--reason", "x", "-w", p, "--as-of", AS_OF)
    told = good("rollback", *eth)
    assert told["decision"]["version"] == before[ETH]
    assert told["decisions"] == [told["decision"]]
    assert serving(p) == before
    assert aliases(p)["previous-file-ETH_EUR-5m"] == version
    assert good("rollback", *eth)["decision"]["version"] == version


def test_one_version_of_all_takes_over_and_each_market_can_have_its_own_back(p: Path) -> None:
    before = serving(p)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SCOPE, "global")
        version = good("train", "--model", "random_walk", "-w", p, "--as-of", AS_OF)["version"]
    good("promote", version, "--force", "--reason", "x", "-w", p, "--as-of", AS_OF)
    assert serving(p) == {"*": version}
    assert aliases(p) == {"production": version}
    done = good("rollback", "--symbol", "BTC/EUR", "-w", p, "--as-of", AS_OF)
    assert done["decision"]["version"] == before[BTC]
    assert serving(p) == {BTC: before[BTC], ETH: version}


@pytest.mark.parametrize("command", ["train", "tune", "rollback"])
def test_a_symbol_that_is_not_configured_is_refused(p: Path, command: str) -> None:
    done = run(command, "--symbol", "XRP/EUR", "-w", p, "--json")
    assert (done.code, done.error["code"]) == (2, "config.symbol")
    assert done.error["message"] == "'XRP/EUR' is not a market of this workspace"


@pytest.mark.parametrize(
    ("scope", "hint"),
    [
        ("each", "must be one of global, market"),
        ("markets", "must be one of global, market, did you mean 'market'?"),
    ],
)
def test_another_scope_is_refused(
    p: Path, scope: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCOPE, scope)
    done = run("status", "-w", p, "--json")
    assert (done.code, done.error["code"]) == (2, "config.invalid")
    assert done.error["message"] == f'model.scope = "{scope}" in {SCOPE} is not allowed'
    assert done.error["hint"] == hint


# Served.


def test_what_was_missed_is_made_up_for_by_the_version_that_ruled_each_market_then(
    p: Path,
) -> None:
    first = serving(p)
    good("fetch", "-w", p, "--as-of", iso(origin(8)))
    ticked(p, 1)
    with Store(p / "cryptocast.duckdb", 60).write() as writer:
        for market, version, bar in ((ETH, first[BTC], 3), ("*", first[ETH], 5)):
            writer.put_deployment(
                Deployment(0, origin(bar), market, version, None, "force", "x", "{}"),
                written_at=origin(bar),
            )
    ticked(p, 7)
    btc, eth = first[BTC], first[ETH]
    versions = [row[0] for row in sets(p, "model_version", f"market = '{BTC}'")]
    assert versions == [btc, btc, btc, btc, eth, eth, eth]
    versions = [row[0] for row in sets(p, "model_version", f"market = '{ETH}'")]
    assert versions == [eth, eth, btc, btc, eth, eth, eth]


def test_the_rulings_are_read_once_however_many_origins_were_missed(
    p: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptocast.store import Reader

    ticked(p, 1)
    read: list[int] = []
    rulings = Reader.rulings

    def counted(self: Reader) -> Any:
        read.append(1)
        return rulings(self)

    with at(p, 20) as ws:
        with ws.store.read() as reader:
            unserved = unserved_origins(
                reader, ws.markets(), origin(-268), origin(20), virtual=True
            )
        monkeypatch.setattr(Reader, "rulings", counted)
        make_up(ws, unserved)
    assert len(read) == 1


def test_a_shadow_of_one_market_leaves_the_others_alone(p: Path) -> None:
    made = good("train", "--model", "random_walk", "--symbol", "ETH/EUR", "-w", p, "--as-of", AS_OF)
    good("shadow", made["version"], "-w", p, "--as-of", AS_OF)
    assert ticked(p, 1).warnings == ()
    assert sets(p, "market, model_version", "NOT served") == [(ETH, made["version"])]
    done = run("shadow", serving(p)[BTC], "-w", p, "--json")
    assert (done.code, done.error["code"]) == (3, "state.serves")


def test_a_replay_is_answered_by_each_markets_own_model(p: Path) -> None:
    serves = serving(p)
    range_ = ("--start", iso(origin(1)), "--end", iso(origin(3)))
    good("fetch", "-w", p, "--as-of", iso(origin(4)))
    assert run("replay", *range_, "-w", p, "--as-of", iso(origin(4)), "--json").code == 0
    assert sets(p, "DISTINCT market, model_version") == sorted(serves.items())
    made = good("train", "--model", "random_walk", "--symbol", "ETH/EUR", "-w", p, "--as-of", AS_OF)
    shadow = (*range_, "--version", made["version"], "-w", p, "--as-of", iso(origin(4)), "--json")
    assert run("replay", *shadow).code == 0
    assert sets(p, "DISTINCT market, model_version", "NOT served") == [(ETH, made["version"])]
    done = run("replay", *shadow, "--symbol", "BTC/EUR")
    assert (done.code, done.error["message"]) == (
        2,
        f"version {made['version']} is meant for {ETH}",
    )


# Looked at.


def test_the_words_of_every_screen_name_several_versions(p: Path) -> None:
    serves = serving(p)
    ticked(p, 1)
    at_ = ("-w", p, "--as-of", NEXT)
    told = good("status", *at_)
    assert {row["market"]: row["version"] for row in told["productions"]} == serves
    assert told["production"] == told["productions"][0]
    assert {row["market"]: row["version"] for row in told["markets"]} == serves
    assert "2 versions, the newest for file:ETH/EUR:5m: version" in run("status", *at_).out
    assert "serves ETH/EUR" in run("models", *at_).out
    monitored = good("monitor", *at_)
    assert monitored["version"] is None
    assert {row["market"]: row["version"] for row in monitored["markets"]} == serves
    scored = good("evaluate", "--test-bars", "24", "-w", p, "--as-of", AS_OF)["scores"]
    mine = {(row["version"], row["market"]) for row in scored if row["version"]}
    assert {(version, market) for market, version in serves.items()} <= mine
    cards = {v: json.loads((p / "bundles" / v / "card.json").read_text()) for v in serves.values()}
    for version, market in mine:
        if version in cards:
            assert cards[version]["markets"] == [market]
    checks = {c["name"]: c["status"] for c in good("doctor", *at_)["checks"]}
    assert checks["production"] == "ok"
    assert "alias" not in checks
    done = run("audit", *at_, "--json")
    assert (done.code, done.error["code"]) == (2, "usage.market")
    assert done.error["message"] == "2 versions serve: one is audited at a time"
    assert good("report", *at_)["markets"][0]["forecasts"] == 1


def test_metrics_say_which_version_serves_which_market(p: Path) -> None:
    from cryptocast.workflows.watching.metrics import exposition, gather

    serves = serving(p)
    with at(p, 1) as ws, ws.store.read() as reader:
        text = exposition(gather(reader, ws.markets(), ws.settings, ws.clock.now()))
    for market, version in serves.items():
        named = f'cryptocast_production_info{{market="{market}",version="{version}"}} 1\n'
        assert named in text


# Renewed.


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (LENIENT | WALK).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("lenient")
def test_only_the_declined_market_is_renewed(p: Path) -> None:
    before = serving(p)
    say(p, 1, BTC="healthy", ETH="declined")
    done = good("retrain", "--if-needed", "-w", p, "--as-of", NEXT)
    assert [d["market"] for d in done["decisions"]] == [ETH]
    assert done["reason"] == "declined: of ETH"
    after = serving(p)
    assert after[BTC] == before[BTC]
    assert after[ETH] == done["decision"]["version"] != before[ETH]
    assert noted(p) == [(ETH, "it did not end"), (ETH, done["decision"]["reason"])]
    assert done["decisions"][0]["finding"] == done["finding"]


@pytest.mark.usefixtures("lenient")
def test_each_market_has_a_cool_down_and_a_budget_of_its_own(p: Path) -> None:
    say(p, 1, BTC="healthy", ETH="declined")
    good("retrain", "--if-needed", "-w", p, "--as-of", NEXT)
    say(p, 2, BTC="declined", ETH="declined")
    done = good("retrain", "--if-needed", "-w", p, "--as-of", iso(origin(2)))
    assert [d["market"] for d in done["decisions"]] == [BTC]
    say(p, 3, BTC="declined", ETH="healthy")
    done = good("retrain", "--if-needed", "-w", p, "--as-of", iso(origin(3)))
    assert done["decisions"] == []
    assert done["decision"] == {
        "promoted": False,
        "model": None,
        "version": None,
        "reason": (
            f"{BTC}: the cool-down holds until 2024-06-03T12:10:00Z; "
            f"{ETH}: the monitor says healthy: of ETH"
        ),
    }


@pytest.mark.usefixtures("lenient")
def test_retrain_renews_every_market_and_one_that_fails_stops_no_other(
    p: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = serving(p)
    with monkeypatch.context() as patch:
        failing(patch, BTC)
        done = run("retrain", "-w", p, "--as-of", NEXT, "--json")
    assert done.code == 5
    first, second = done.data["decisions"]
    assert (first["market"], first["version"], first["promoted"]) == (BTC, before[BTC], False)
    assert (second["market"], second["promoted"]) == (ETH, True)
    assert serving(p) == {BTC: before[BTC], ETH: second["version"]}
    assert [told for market, told in noted(p) if market == BTC] == [
        "it did not end",
        "failed: the loss is not finite",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "gather", _fail)
        done = run("retrain", "-w", p, "--as-of", iso(origin(2)), "--json")
    assert (done.code, done.error["message"]) == (5, "nothing works")


def _fail(*_: object, **__: object) -> None:
    raise ModelError("nothing works")


def test_a_market_without_a_model_is_due(p: Path) -> None:
    from cryptocast.workflows.watching.due import is_due, look

    change(p, f"DELETE FROM deployments WHERE market = '{ETH}'")
    say(p, 1, BTC="healthy", ETH="unknown")
    with at(p, 1) as ws:
        btc, eth = ws.markets()
        facts, rule = look(ws), ws.settings.retrain
        assert is_due(facts, rule, btc) == (False, "the monitor says healthy: of BTC")
        assert is_due(facts, rule, eth) == (True, "declined: it has no model yet")
