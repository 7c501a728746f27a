"""Retraining: when it is due, what it leaves alone, what it says of the model and the market."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from filelock import FileLock

from cryptocast.cli.root.hints import as_typed
from cryptocast.clock import VirtualClock
from cryptocast.config import Settings
from cryptocast.errors import ModelError
from cryptocast.evaluation import Verdict
from cryptocast.evaluation.gate import Comparison
from cryptocast.store import Store
from cryptocast.values import iso
from cryptocast.workflows import retrain as workflow
from cryptocast.workflows.learning import pipeline, preparing, selection
from cryptocast.workflows.learning.deployment import Decision
from cryptocast.workspace import Workspace
from support.aged import GONE, SETS_GONE, age, archives
from support.commands import (
    AS_OF,
    BTC,
    INTERVAL,
    NEXT,
    NOW,
    Made,
    candles,
    counts,
    good,
    query,
    run,
    state,
)
from support.loopback import Loopback

HOUR = 3600
LONGER = 22  # steps of a horizon of 24 beyond those of `aged`: as many bars more are kept
WALK = {"CRYPTOCAST_MODEL__KIND": "random_walk"}
LENIENT = {"CRYPTOCAST_GATE__LEAST_SKILL": "-1", "CRYPTOCAST_GATE__WORST_LOSS": "1"}


@pytest.fixture(scope="module")
def template(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return age(made.folder, tmp_path_factory.mktemp("aged") / "w")


@pytest.fixture
def old(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "w"))


@pytest.fixture
def walking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the random walk is trained: that is quick."""
    setting(monkeypatch, WALK)


def setting(patch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        patch.setenv(name, value)


def noted(folder: Path, kind: str = "retrain") -> list[dict[str, Any]]:
    sql = f"SELECT detail::VARCHAR FROM events WHERE kind = '{kind}' ORDER BY rowid"
    return [json.loads(row[0]) for row in query(folder, sql)]


def deployed(folder: Path) -> list[tuple[Any, ...]]:
    return query(folder, "SELECT id, model_version FROM deployments ORDER BY id")


def aliases(folder: Path) -> dict[str, list[str]]:
    return {v["version"]: v["aliases"] for v in good("models", "-w", folder)["versions"]}


# When it is due.


def verdict(hour: float, said: str = "declined") -> tuple[float, str, dict[str, Any]]:
    return hour, "monitor", {"verdict": said, "reason": "a reason"}


def attempt(hour: float, promoted: bool | None) -> tuple[float, str, dict[str, Any]]:
    """One that ended at that hour; None: it was killed."""
    return hour, "retrain", {"started": iso(NOW + hour * HOUR), "promoted": bool(promoted)}


def due(
    folder: Path, hour: float, events: Sequence[tuple[float, str, dict[str, Any]]], **settings: Any
) -> tuple[bool, str]:
    with Store(folder / "cryptocast.duckdb", 60).write() as writer:
        for at, kind, detail in events:
            writer.put_event(NOW + at * HOUR, kind, None, detail)
    options = {f"retrain.{name}": value for name, value in settings.items()}
    clock = VirtualClock(NOW + hour * HOUR)
    with Workspace.open(folder, environ={}, options=options, clock=clock) as ws:
        return workflow.is_due(workflow.look(ws), ws.settings.retrain)


UNKNOWN = (
    "the monitor says unknown: file:BTC/EUR:5m: nothing was served yet: cryptocast forecast --once"
)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], UNKNOWN),
        ([verdict(99, "healthy")], "the monitor says healthy: a reason"),
        ([verdict(99, "watch")], "the monitor says watch: a reason"),
        ([verdict(98.9)], UNKNOWN),
        ([verdict(-1)], UNKNOWN),
        ([verdict(101)], UNKNOWN),
        ([verdict(100), attempt(88.1, True)], "the cool-down holds until 2024-06-07T04:06:00Z"),
        ([verdict(100), attempt(76.1, False)], "the cool-down holds until 2024-06-07T04:06:00Z"),
        ([verdict(100), attempt(76.1, None)], "the cool-down holds until 2024-06-07T04:06:00Z"),
        (
            [verdict(100), attempt(10, False), attempt(52.1, False)],
            "the cool-down holds until 2024-06-07T04:06:00Z",
        ),
    ],
    ids=[
        "no verdict",
        "healthy",
        "watch",
        "an old verdict",
        "one of what served before",
        "one of the future",
        "renewed 12 hours ago",
        "in vain 24 hours ago",
        "killed 24 hours ago",
        "in vain for the second time 48 hours ago",
    ],
)
def test_it_is_not_due_while(
    workspace: Path, events: list[tuple[float, str, dict[str, Any]]], said: str
) -> None:
    assert due(workspace, 100, events) == (False, said)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [attempt(87.9, True)],
        [attempt(75.9, False)],
        [attempt(75, False), attempt(87.9, True)],
        [attempt(10, False), attempt(51.9, False)],
        [attempt(200, False)],
    ],
    ids=["alone", "long after", "twice as long", "success ends it", "four times", "of the future"],
)
def test_it_is_due_on_a_decline(
    workspace: Path, events: list[tuple[float, str, dict[str, Any]]]
) -> None:
    assert due(workspace, 100, [*events, verdict(99.5)]) == (True, "declined: a reason")


@pytest.mark.parametrize(
    ("declined", "is_due"),
    [
        (("inputs",), False),
        (("still", "answers"), False),
        (("inputs", "loss"), True),
        (("wide",), True),
    ],
)
def test_damaged_inputs_alone_are_no_reason(
    workspace: Path, declined: Sequence[str], is_due: bool
) -> None:
    hour, kind, said = verdict(100)
    names = ("loss", "narrow", "wide", "inputs", "still", "answers")
    said["tests"] = [
        {"market": BTC.id, "name": n, "verdict": "declined" if n in declined else "watch"}
        for n in names
    ]
    why = "its inputs are damaged, and a new model would learn from the same: a reason"
    expected = (True, "declined: a reason") if is_due else (False, why)
    assert due(workspace, 100, [(hour, kind, said)]) == expected


def test_the_budget_of_a_day_is_kept(workspace: Path) -> None:
    events = [attempt(70, True), attempt(80, True), attempt(90, True), verdict(100)]
    spent = (False, "[retrain] daily allows 2 in 24 hours: 2 were made")
    assert due(workspace, 100, events, cooldown_hours=0) == spent
    assert due(workspace, 100, [], cooldown_hours=0, daily=3) == (True, "declined: a reason")


def test_an_attempt_counts_once_though_two_events_tell_of_it(workspace: Path) -> None:
    first, second = attempt(80, None), attempt(80, True)
    events = [first, (80.2, *second[1:]), verdict(100)]
    assert due(workspace, 100, events, cooldown_hours=0) == (True, "declined: a reason")


def test_without_a_verdict_the_monitor_is_asked_and_its_verdict_is_kept(workspace: Path) -> None:
    due(workspace, 1, [])
    assert [event["verdict"] for event in noted(workspace, "monitor")] == ["unknown"]


class Passing(VirtualClock):
    """A clock that goes on between two looks, as the system's does."""

    def now(self) -> float:
        self._now += 0.25
        return self._now


def test_the_verdict_that_was_just_made_decides_though_time_passes(workspace: Path) -> None:
    with Workspace.open(workspace, environ={}, clock=Passing(NOW + HOUR)) as ws:
        facts = workflow.look(ws)
    assert facts.verdict["verdict"] == "unknown"
    assert facts.verdict["reason"]


def test_where_it_is_not_needed_nothing_happens(workspace: Path) -> None:
    before = deployed(workspace)
    rows = counts(workspace)
    done = run("retrain", "--if-needed", "--flush", "-w", workspace, "--as-of", NEXT)
    assert (done.code, done.out.split()) == (0, f"Not renewed: {as_typed(UNKNOWN)}".split())
    data = good("retrain", "--if-needed", "-w", workspace, "--as-of", NEXT)
    assert data["decision"] == {
        "promoted": False,
        "version": "2",
        "model": "lstm",
        "reason": UNKNOWN,
    }
    assert (data["finding"], data["flushed"], noted(workspace)) == (None, None, [])
    assert deployed(workspace) == before
    assert counts(workspace)["candles"] == rows["candles"]


def test_a_dry_run_says_what_would_be_renewed_and_does_none_of_it(workspace: Path) -> None:
    where = ("--dry-run", "-w", workspace, "--as-of", NEXT)
    good("retrain", "--if-needed", *where)  # a new verdict is kept, as by monitor
    before = state(workspace)
    data = good("retrain", "--trials", "7", "--flush", *where)
    assert data == {
        "dry_run": True,
        "would": True,
        "reason": "asked for",
        "models": [["file:BTC/EUR:5m"]],
        "days": 7,
        "trials": 7,
        "production": "2",
        "flush": True,
    }
    assert run("retrain", *where).out.startswith("Would renew 1 model (BTC/EUR): asked for\n")
    done = run("retrain", "--if-needed", *where)
    assert done.out.split() == f"Would renew nothing: {as_typed(UNKNOWN)}".split()
    assert state(workspace) == before


@pytest.mark.usefixtures("walking")
def test_on_a_decline_it_renews_and_tells_why(workspace: Path) -> None:
    with Store(workspace / "cryptocast.duckdb", 60).write() as writer:
        writer.put_event(NOW, "monitor", None, verdict(0)[2])
    data = good("retrain", "--if-needed", "-w", workspace, "--as-of", NEXT)
    assert data["reason"] == "declined: a reason"
    begun, ended = noted(workspace)
    assert begun == {
        "started": NEXT,
        "reason": "declined: a reason",
        "promoted": False,
        "finding": None,
        "told": "it did not end",
    }
    assert ended == begun | {
        "promoted": data["decision"]["promoted"],
        "finding": data["finding"],
        "told": data["decision"]["reason"],
    }


# What it finds.


def against(opponent: str, skill: float, p_value: float | None, n: int = 300) -> Comparison:
    return Comparison(opponent, skill, skill, skill, skill, n, None, p_value)


def found(
    *comparisons: Comparison, promoted: bool = True, new: int = 48, declined: bool = False
) -> str | None:
    decision = Decision(promoted, "3", "lstm", "", Verdict(promoted, "", comparisons))
    return workflow._finding(decision, Settings(), new, declined=declined)


WALK_LOST = against("the random walk", 0.5, 0.001)
AGED = "the model has aged: a fresh one does better (skill +1.00% on 300 origins, p = 0.03)"
CHANGED = (
    "the market has changed: the forecasts declined, a fresh model is no better "
    "(skill {} on 300 origins)"
)


@pytest.mark.parametrize(
    ("skill", "p_value", "declined", "finding"),
    [
        (0.01, 0.03, False, AGED),
        (0.01, 0.03, True, AGED),
        (0.01, 0.3, False, None),
        (0.0, None, False, None),
        (-0.01, 0.9, False, None),
        (0.01, 0.3, True, CHANGED.format("+1.00%")),
        (0.0, None, True, CHANGED.format("0.00%")),
        (-0.01, 0.9, True, CHANGED.format("-1.00%")),
    ],
)
def test_a_finding_is_what_a_test_says(
    skill: float, p_value: float | None, declined: bool, finding: str | None
) -> None:
    comparisons = WALK_LOST, against("production version 2", skill, p_value)
    assert found(*comparisons, declined=declined) == finding


def test_few_new_origins_say_nothing_of_the_market() -> None:
    yet = (
        "nothing new to learn from yet: 47 origins since production version 2 was promoted, "
        "48 are needed"
    )
    assert found(against("production version 2", 0.01, 0.001), new=47, declined=True) == yet


def test_few_common_origins_do_not_say_that_the_model_has_aged() -> None:
    assert found(against("production version 2", 0.01, 0.001, n=23)) is None


def test_a_fresh_model_that_is_better_and_yet_refused_is_told_so() -> None:
    refused = found(against("production version 2", 0.01, 0.03), promoted=False)
    assert refused == f"{AGED}, though not well enough to serve"


def test_without_production_there_is_no_finding() -> None:
    assert found(WALK_LOST, declined=True) is None


@pytest.mark.usefixtures("walking")
def test_a_fresh_model_that_is_no_better_is_not_promoted_and_that_is_told(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_GATE__LEAST_SKILL", "0.5")
    before = deployed(workspace)
    done = run("retrain", "-w", workspace, "--as-of", NEXT)
    assert done.code == 0
    assert "Version 2 (lstm) stays production, promised skill " in done.out
    assert "  version 3 is not promoted: " in done.out
    assert "nothing new to learn from yet: 1 origin since production version 2" in done.out
    assert deployed(workspace) == before


@pytest.mark.usefixtures("walking")
@pytest.mark.parametrize("insisted", [False, True])
def test_the_random_walk_replaces_a_version_that_the_newest_candles_speak_against(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, insisted: bool
) -> None:
    against_it = "worse than the random walk here: skill -2.00% on 312 origins (p = 0.99)"
    lost = replace(against("the random walk", -0.02, 0.99), high_here=-0.001)
    verdict = Verdict(False, against_it, (lost,))
    monkeypatch.setattr(selection, "against_walk", lambda *_: verdict)
    monkeypatch.setenv("CRYPTOCAST_GATE__LEAST_SKILL", "0.5")
    at = ("-w", workspace, "--as-of", AS_OF)
    good("promote", "1", "--force", "--reason", "I know", *at)
    if insisted:
        good("promote", "2", "--force", "--reason", "what a person insists on stays", *at)
    else:
        good("rollback", *at)
    decision = good("retrain", "-w", workspace, "--as-of", NEXT)["decision"]
    if insisted:
        assert (decision["promoted"], decision["version"]) == (False, "2")
    else:
        assert (decision["promoted"], decision["model"]) == (True, "random_walk")
        assert decision["reason"].endswith(f"; production version 2 is {against_it}")
        assert decision["promised_skill"] is None


# Flush.


def test_a_flush_archives_what_is_old_then_trains_and_ticks_go_on_throughout(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, WALK | LENIENT)
    served: list[str] = []

    def ticking(module: ModuleType, name: str, after: int) -> None:
        work = getattr(module, name)

        def both(*arguments: Any, **named: Any) -> Any:
            when = iso(NOW + after * INTERVAL)
            (told,) = good("forecast", "--once", "-w", old, "--as-of", when)["forecasts"]
            assert told["model"]["fallback"] is None
            served.append(told["model"]["version"])
            return work(*arguments, **named)

        monkeypatch.setattr(module, name, both)

    ticking(preparing, "gather", 1)
    ticking(selection, "deploy", 2)
    ((_, production),) = deployed(old)
    rows = counts(old)
    data = good("retrain", "--flush", "-w", old, "--as-of", AS_OF)
    assert data["flushed"] == {
        "folder": str(archives(old)[0]),
        "rows": {"candles": GONE - LONGER, "forecast_sets": SETS_GONE - LONGER},
    }
    assert served == [production] * 2
    assert data["decision"]["promoted"] is True
    assert deployed(old)[-1] == (2, data["decision"]["version"])
    left = query(old, f"SELECT count(*) FROM forecast_sets WHERE epoch(origin) < {NOW}")
    assert left == [(rows["forecast_sets"] - SETS_GONE + LONGER,)]
    assert counts(old)["ticks"] > rows["ticks"]
    done = run("retrain", "--flush", "-w", old, "--as-of", AS_OF, "--quiet")
    assert done.code == 0
    assert len(archives(old)) == 1  # nothing more was old enough


def test_a_dead_source_loses_nothing_and_is_no_attempt(
    old: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    with Loopback({}) as server:
        dead = server.base_url("bitvavo")
    setting(
        monkeypatch, {"CRYPTOCAST_SOURCE__NAME": "bitvavo", "CRYPTOCAST_SOURCE__BASE_URL": dead}
    )
    rows = counts(old)
    done = run("retrain", "--flush", "-w", old, "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (4, "source.unreachable")
    assert counts(old) == rows
    assert (noted(old), archives(old)) == ([], [])


# What goes wrong.


@pytest.mark.usefixtures("walking")
def test_a_market_that_is_delisted_fails_alone_and_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    both = {"BTC/EUR": candles(), "GONE/EUR": candles("GONE/EUR")}
    with Loopback(both) as server:
        server.now = NOW
        source = {
            "CRYPTOCAST_SOURCE__NAME": "bitvavo",
            "CRYPTOCAST_SOURCE__BASE_URL": server.base_url("bitvavo"),
            "CRYPTOCAST_MARKET__SYMBOLS": '["GONE/EUR", "BTC/EUR"]',
        }
        setting(monkeypatch, source | LENIENT)
        good("fetch", "-w", workspace, "--as-of", AS_OF)
        del server.candles["GONE/EUR"]
        server.now = None
        done = run("retrain", "-w", workspace, "--as-of", NEXT, "--json")
    assert done.code == 2
    gone, all_others = done.data["decisions"]
    assert (gone["market"], gone["promoted"]) == ("bitvavo:GONE/EUR:5m", False)
    assert (all_others["market"], all_others["promoted"]) == ("*", True)
    assert "warning: bitvavo:GONE/EUR:5m: bitvavo does not know this market" in done.err
    assert "check [market] symbols" in done.err


@pytest.mark.usefixtures("walking")
def test_a_training_that_fails_leaves_production_and_the_next_attempt_is_clean(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise ModelError("the loss is not finite")

    before = deployed(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "train_on", diverge)
        done = run("retrain", "-w", workspace, "--as-of", NEXT, "--json")
    assert (done.code, done.error["message"]) == (5, "the loss is not finite")
    assert deployed(workspace) == before
    assert [event["told"] for event in noted(workspace)] == [
        "it did not end",
        "failed: the loss is not finite",
    ]
    monkeypatch.delenv("CRYPTOCAST_MODEL__KIND")
    (told,) = good("forecast", "--once", "-w", workspace, "--as-of", NEXT)["forecasts"]
    assert told["model"] == {"version": "2", "kind": "lstm", "fallback": None}
    setting(monkeypatch, WALK | LENIENT)
    data = good("retrain", "-w", workspace, "--as-of", NEXT)
    assert (data["decision"]["promoted"], data["decision"]["version"]) == (True, "3")
    assert aliases(workspace) == {"3": ["production"], "2": ["previous"], "1": []}


@pytest.mark.usefixtures("walking")
def test_a_promotion_that_did_not_count_leaves_no_wrong_alias_behind(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = deployed(workspace)
    with monkeypatch.context() as patch:
        setting(patch, LENIENT)
        patch.setattr("cryptocast.store.writer.Writer.put_deployment", killed)
        assert run("retrain", "-w", workspace, "--as-of", NEXT).code == 130
    assert deployed(workspace) == before
    assert "production" in aliases(workspace)["3"]
    monkeypatch.setenv("CRYPTOCAST_GATE__LEAST_SKILL", "0.5")
    later = iso(NOW + 2 * INTERVAL)
    assert good("retrain", "-w", workspace, "--as-of", later)["decision"]["promoted"] is False
    now = aliases(workspace)
    assert (now["1"], now["2"]) == (["previous"], ["production"])


def test_of_two_at_once_the_second_leaves(workspace: Path) -> None:
    with FileLock(workspace / "logs" / "retrain.lock"):
        done = run("retrain", "-w", workspace, "--as-of", NEXT, "--json")
    assert done.code == 4
    assert done.error == {
        "code": "retrain.running",
        "message": f"another retrain of {workspace} is under way",
        "hint": "try again when it is done",
    }


def test_make_retrain_drives_it() -> None:
    done = subprocess.run(
        ["make", "-n", "retrain", "WORKSPACE=btc", "OPTIONS=--flush"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cryptocast retrain -w 'btc' --flush\n" in done.stdout
